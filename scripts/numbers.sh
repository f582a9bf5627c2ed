#!/usr/bin/env bash
# Measures what the README's table says: the replicated log, the same service unreplicated, and the null protocol, in turn within the same
# minutes, since one machine's speed drifts. Prints medians and ratios as a Markdown table.
#
#   scripts/numbers.sh [ROUNDS] [DURATION]        5 rounds of 3s by default: about five minutes
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-5}
duration=${2:-3s}
cargo build --quiet --release
program=target/release/logothete
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT

# number FIELD < JSON: the first number of that field.
number() { sed -n "s/.*\"$1\": *\([0-9.]*\).*/\1/p" | head -n 1; }

# measure NAME FIELD ARGUMENTS...
measure() {
  local name=$1 field=$2 json
  shift 2
  json=$("$program" bench --payload 8 --warmup 1s --duration "$duration" "$@" --json - 2>"$results/errors") ||
    { cat "$results/errors" >&2; exit 1; }
  printf '%s' "$json" | grep -q '"orders_agree": true' || { echo "$name: the replicas do not agree" >&2; exit 1; }
  printf '%s' "$json" | number "$field" >>"$results/$name"
}

for round in $(seq "$rounds"); do
  printf '\rround %s of %s' "$round" "$rounds" >&2
  one=(--sessions 1 --outstanding 1)
  many=(--sessions 4 --outstanding 256)
  measure one_replicated p50 "${one[@]}"
  measure one_null p50 "${one[@]}" --null
  measure one_null_tentative p50 "${one[@]}" --null --tentative
  measure one_unreplicated p50 "${one[@]}" --unreplicated
  measure many_replicated throughput_ops_per_s "${many[@]}"
  measure many_null throughput_ops_per_s "${many[@]}" --null --pack 256
  measure many_null_tentative throughput_ops_per_s "${many[@]}" --null --pack 256 --tentative
  measure many_unreplicated throughput_ops_per_s "${many[@]}" --unreplicated
done
printf '\r\033[K' >&2

median() { sort -n "$results/$1" | awk '{ v[NR] = $1 } END { print (NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2) }'; }

# row LABEL NAME BASE SCALE UNIT: a median, and its ratio to the replicated one.
row() { awk -v l="$1" -v v="$(median "$2")" -v b="$(median "$3")" -v s="$4" -v u="$5" 'BEGIN { printf "| %s | %.*f %s | %.2f |\n", l, (v / s < 10 ? 2 : 1), v / s, u, b / v }'; }

echo "| one operation at a time, 8 bytes | p50 | replicated is so many times it |"
echo "| --- | --- | --- |"
row "replicated, 4 replicas" one_replicated one_replicated 1000 µs
row "null protocol, five delays" one_null one_replicated 1000 µs
row "null protocol, tentative (four delays)" one_null_tentative one_replicated 1000 µs
row "unreplicated" one_unreplicated one_replicated 1000 µs
echo
echo "| 4 sessions of 256 outstanding, 8 bytes | operations/s | replicated is so many times it |"
echo "| --- | --- | --- |"
row "replicated, 4 replicas" many_replicated many_replicated 1000000 M
row "null protocol, five delays, 256 a request" many_null many_replicated 1000000 M
row "null protocol, tentative, 256 a request" many_null_tentative many_replicated 1000000 M
row "unreplicated" many_unreplicated many_replicated 1000000 M
