#!/usr/bin/env bash
# Every relative link of the documentation leads to a file, and one with #PLACE to such a heading.
set -euo pipefail
cd "$(dirname "$0")/../.."

broken=0
complain() {
  echo "$1" >&2
  broken=1
}

# As GitHub names headings: lower case, no punctuation, hyphens for blanks.
headings() {
  sed -n 's/^##* //p' "$1" | tr '[:upper:]' '[:lower:]' | sed 's/[^a-z0-9 _-]//g; s/ /-/g'
}

for page in *.md docs/*.md slurm/*.md; do
  while read -r link; do
    file=${link%%#*}
    target=$(dirname "$page")/$file
    [ -n "$file" ] || target=$page
    if [ ! -e "$target" ]; then
      complain "$page links to $file, which is not there"
    elif [[ $link == *#* ]] && ! headings "$target" | grep -qxF "${link#*#}"; then
      complain "$page links to $link, but $file has no such heading"
    fi
  done < <(grep -oE '\]\([^)]+\)' "$page" | sed 's/^](//; s/)$//' | grep -vE '^[a-z]+://' || true)
done
exit "$broken"
