#!/usr/bin/env bash
# Draws a flame graph of a measured run: the replicas, the driver and the load.
#
#   scripts/flamegraph.sh [OUT.svg] [-- BENCH OPTIONS]
#   scripts/flamegraph.sh latency.svg -- --sessions 4 --outstanding 256 --duration 10s
#
# Needs perf (linux-perf) and inferno (cargo install inferno). The program is built once more, with frame pointers, which perf follows at a
# fraction of the cost of unwinding.
set -euo pipefail

out="flamegraph.svg"
if [[ $# -gt 0 && "$1" != "--" ]]; then
    out="$1"
    shift
fi
if [[ $# -gt 0 && "$1" == "--" ]]; then
    shift
fi
for tool in perf inferno-collapse-perf inferno-flamegraph; do
    if ! command -v "$tool" >/dev/null; then
        echo "flamegraph.sh: $tool is missing; install linux-perf, and inferno with: cargo install inferno" >&2
        exit 1
    fi
done

root="$(cd "$(dirname "$0")/.." && pwd)"
target="${CARGO_TARGET_DIR:-$root/target}/flamegraph"
CARGO_TARGET_DIR="$target" RUSTFLAGS="-C force-frame-pointers=yes" \
    cargo build --manifest-path "$root/Cargo.toml" --release --package logothete

data="$(mktemp -d)"
trap 'rm -rf "$data"' EXIT
# Child processes are recorded with their parent. 997 samples a second do not beat with anything periodic.
perf record --freq 997 --call-graph fp --output "$data/perf.data" -- "$target/release/logothete" bench "$@"
perf script --input "$data/perf.data" 2>/dev/null | inferno-collapse-perf 2>/dev/null >"$data/stacks"
inferno-flamegraph --title "logothete bench $*" "$data/stacks" >"$out"
echo "wrote $out"
