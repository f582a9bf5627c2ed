#!/usr/bin/env bash
# Plays seeds of the simulator: many once, one in a hundred of them twice, a few in a debug build as well, and a canary, which must fail.
#
#   scripts/swarm.sh [FROM..TO]     by default 0..5000: some seven minutes on two cores, beside the build
set -euo pipefail
cd "$(dirname "$0")/.."
seeds=${1:-0..5000}
# Fewer seeds need not come through everything.
marks=$([ $# -gt 0 ] || echo --marks)

cargo build --quiet --profile swarm -p logothete
program=target/swarm/logothete
"$program" simulate --seeds "$seeds" $marks

# An alarm that never rings says nothing.
if "$program" simulate --seed 42 --canary >/dev/null 2>&1; then
    echo "swarm.sh: a run with a planted violation passes" >&2
    exit 1
fi

# What a run does is the same however it was compiled.
cargo build --quiet -p logothete
fingerprint() { "$1" simulate --seed "$2" | sed -n 's/.*fingerprint //p'; }
for seed in 0 14 22 23; do
    if [ "$(fingerprint "$program" "$seed")" != "$(fingerprint target/debug/logothete "$seed")" ]; then
        echo "swarm.sh: seed $seed does something else in a debug build" >&2
        exit 1
    fi
done
