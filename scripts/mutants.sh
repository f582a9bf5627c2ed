#!/usr/bin/env bash
# Changes the engine at one place after the other, and says which changes no test sees: first the unit tests are run, then, on what they did not
# catch, the scenarios and 200 seeds of the simulator. engine/docs/planted-bugs.md says what is left, and why.
#
#   scripts/mutants.sh [SHARD [FILES]]      SHARD: K/N, the K-th of N parts, by default 0/20; FILES: a glob, by default the rooms below
#
# A part of 20 takes some hours on two cores. What was found is left in target/mutants/mutants.out.
set -euo pipefail
cd "$(dirname "$0")/.."
shard=${1:-0/20}
# What a client believes, and not the operator's commands beside it, which talk to real clusters only.
files=(engine/src/replica/quorum.rs engine/src/replica/log.rs 'engine/src/replica/view_change/*.rs' 'engine/src/wire/*.rs' engine/src/driver/session.rs
  engine/src/client/{requests,outstanding,queries,result_parts,full_results}.rs)
[ $# -lt 2 ] || files=("$2")

command -v cargo-mutants >/dev/null || cargo install --quiet --locked cargo-mutants
mutants() {
  cargo mutants --package logothete-engine "${files[@]/#/--file=}" --shard "$shard" --sharding round-robin --output target/mutants "$@"
}
# Status 2: some were missed; 3: some took too long. The baseline would be that of the engine's own tests, which the first run has tried.
status=0
mutants -- --lib || status=$?
if [ "$status" -eq 2 ] || [ "$status" -eq 3 ]; then
  SEEDS=0..200 mutants --iterate --baseline skip --timeout 600 --test-package logothete-simulator -- \
    --test scenarios --test swarm -- chance_breaks_nothing the_files_tell_what_happens
else
  exit "$status"
fi
