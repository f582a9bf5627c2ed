#!/usr/bin/env bash
# Runs libFuzzer on each target, on the corpus of the tree and from there, under AddressSanitizer.
#
#   scripts/fuzz.sh [SECONDS [TARGET...]]        30 seconds each, all targets, by default
#
# What it finds is left in target/fuzz-findings, what it learns in target/fuzz-corpus. The stable compiler does when RUSTC_BOOTSTRAP lets it use
# its unstable flags, which this script sees to. Without libFuzzer's build, `cargo run --release -p logothete-fuzz -- run` plays mutations all the same.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-30}
[ $# -eq 0 ] || shift
host=$(rustc -vV | sed -n 's/^host: //p')
build=target/libfuzzer
export RUSTC_BOOTSTRAP=1
export RUSTFLAGS="--cfg fuzzing -Zsanitizer=address -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1"
if ! cargo build --quiet --release --manifest-path tools/fuzz/fuzz/Cargo.toml --target "$host" --target-dir "$build"; then
  echo "fuzz.sh: libFuzzer's program does not build: it needs a C++ compiler, and a rustc that takes -Zsanitizer=address" >&2
  echo "fuzz.sh: without it: cargo run --release -p logothete-fuzz -- run --seconds $seconds" >&2
  exit 1
fi
program=$build/$host/release/target
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
  mapfile -t targets < <(cd tools/fuzz/corpus && ls)
fi
for target in "${targets[@]}"; do
  learnt=target/fuzz-corpus/$target
  mkdir -p "$learnt" target/fuzz-findings
  echo "$target"
  LOGOTHETE_FUZZ_TARGET=$target "$program" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=4096 -verbosity=0 \
    -print_final_stats=1 -artifact_prefix="target/fuzz-findings/$target-" "$learnt" "tools/fuzz/corpus/$target" 2>&1 |
    { grep -v '^INFO' || true; }
done
