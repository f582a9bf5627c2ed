#!/usr/bin/env bash
# Runs the drills of a release check and prints a Markdown table: what each fault cost, and whether everything promised was kept.
# The exit status is 1 when a drill failed; what it said goes to standard error.
#
#   scripts/drills.sh [full|quick] [JOURNAL...]     full: about 75 minutes a journal mode; quick: about five
#
# JOURNAL is sync, async or off; by default sync and off. A power cut is drilled with sync alone: nothing else promises to survive it.
set -euo pipefail
cd "$(dirname "$0")/.."
extent=${1:-full}
shift || true
journals=("$@")
[ ${#journals[@]} -gt 0 ] || journals=(sync off)
case $extent in
  full)
    times=10 cuts=20 pause=30s soak=20m every=1m quiet=10m settle=2s ;;
  quick)
    times=3 cuts=3 pause=3s soak=1m every=5s quiet=30s settle=1s ;;
  *)
    sed -n '2,6s/^# \{0,1\}//p' "$0" >&2
    exit 2 ;;
esac
cargo build --quiet --release
program=target/release/logothete
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
failed=0

# number FIELD: the first number of that field of the report, or of a line of its own below it.
number() { sed -n "s/.*\"$1\": *\(-\{0,1\}[0-9.]*\).*/\1/p" "$results/report" | head -n 1; }

# list FIELD: the numbers of a list, one a line.
list() { sed -n "/\"$1\": \[\$/,/\]/p" "$results/report" | sed -n 's/^ *\([0-9.]*\),\{0,1\}$/\1/p'; }

# most < NUMBERS: the largest, or nothing.
most() { sort -g | tail -n 1; }

# milliseconds [NANOSECONDS]
milliseconds() { if [ -n "${1:-}" ]; then awk -v v="$1" 'BEGIN { printf "%.1f ms", v / 1e6 }'; else printf -- '-'; fi; }

# growth: the most that a replica grew, percent.
growth() { sed -n 's/^ *"replica [0-9]*": *\(-\{0,1\}[0-9.]*\),\{0,1\}$/\1/p' "$results/report" | most; }

# row JOURNAL DRILL OPTIONS...
row() {
  local journal=$1 drill=$2 verdict=passed
  shift 2
  echo "$drill, journal $journal" >&2
  rm -f "$results/report"
  if ! "$program" drill "$drill" --journal "$journal" "$@" --json "$results/report" >"$results/text" 2>"$results/errors"; then
    verdict=FAILED failed=1
    sed -n '/^logothete: /,$p' "$results/errors" >&2
  fi
  if [ ! -s "$results/report" ]; then
    echo "| $drill | $journal | $verdict | - | - | - | - | - | - | - |"
    return
  fi
  local grown
  grown=$(growth)
  echo "| $drill | $journal | $verdict | $(milliseconds "$(number median)") | $(milliseconds "$(number worst)")" \
    "| $(milliseconds "$(list catch_up_ns | most)") | $(number view_changes)" \
    "| $(number lost), $(number duplicated), $(number out_of_order)" \
    "| ${grown:+$(printf '%+.1f %%' "$grown")} | $(awk -v v="$(number throughput_ops_per_s)" 'BEGIN { printf "%.2f M", v / 1e6 }') |"
}

echo "| drill | journal | result | longest time without acknowledgement: median | worst | back after, at worst | view changes | lost, duplicated, out of order | memory of a replica | operations/s |"
echo "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
for journal in "${journals[@]}"; do
  row "$journal" kill-primary --times "$times" --settle "$settle"
  row "$journal" stop-primary --times "$times" --settle "$settle" --pause 1s
  row "$journal" kill-backup --times "$times" --settle "$settle"
  row "$journal" stop-backup --settle "$settle" --pause "$pause"
  row "$journal" kill-driver --times "$times" --settle "$settle"
  [ "$journal" != sync ] || row "$journal" power-cut --times "$cuts" --settle "$settle"
  row "$journal" rolling-restart --settle "$settle"
  row "$journal" lost-disk --times "$times" --settle "$settle"
  row "$journal" soak --duration "$soak" --every "$every" --outstanding 256
  row "$journal" quiet --duration "$quiet" --outstanding 256
done
exit "$failed"
