#!/usr/bin/env bash
# Builds what is unsafe, and the processes made of it, with AddressSanitizer, and runs their tests: rings, pools, mapped memory, io_uring, SIMD
# lanes, shared-memory sessions, and whole clusters of processes.
#
#   scripts/sanitize.sh [CRATE...]        by default logothete-transport, logothete-crypto, logothete-client, logothete-engine
#
# The stable compiler does: RUSTC_BOOTSTRAP lets it use the flag. A target folder of its own; the first build takes some minutes.
set -euo pipefail
cd "$(dirname "$0")/.."

crates=("$@")
[ ${#crates[@]} -gt 0 ] || crates=(logothete-transport logothete-crypto logothete-client logothete-engine)
arguments=()
for crate in "${crates[@]}"; do
  arguments+=(-p "$crate")
done
host=$(rustc -vV | sed -n 's/^host: //p')
# An allocator that counts would count the sanitizer's, so those tests are another run's; doc tests take no --target.
RUSTC_BOOTSTRAP=1 \
  RUSTFLAGS="-Zsanitizer=address -Cdebuginfo=line-tables-only" \
  ASAN_OPTIONS="detect_leaks=1:abort_on_error=1:strict_string_checks=1" \
  cargo test "${arguments[@]}" --lib --bins --tests --target "$host" --target-dir target/sanitize
