#!/usr/bin/env bash
# Includes point down the list of layers.txt, are written from the root of the tree, and leave
# wrapped headers (wrapped.txt) to their wrappers. Tests may include anything.
policy=$(cd "$(dirname "$0")" && pwd)
. "$policy/policy.sh"

declare -A level=()
while read -r directory; do
  level[$directory]=${#level[@]}
done < <(grep -v '^#' "$policy/layers.txt")
mapfile -t wrapped < <(grep -v '^#' "$policy/wrapped.txt")

# FILE TARGET: an include of a header of ours.
check_direction() {
  local from=${1%/*} to=${2%/*}
  if [ ! -e "$2" ]; then
    violation "$1 includes $2, which is no path from the root"
  elif [ -z "${level[$from]:-}" ]; then
    violation "$1: $from is not in tests/policy/layers.txt"
  elif [ "${level[$to]:-99}" -gt "${level[$from]}" ]; then
    violation "$1 includes $2, which is not below it"
  fi
}

# FILE TARGET: any include.
check_wrapped() {
  local rule headers files
  for rule in "${wrapped[@]}"; do
    read -r headers files <<<"$rule"
    if [[ $2 =~ ^($headers)$ && ! $1 =~ ^($files)$ ]]; then
      violation "$1 includes $2, which is left to $files"
    fi
  done
}

while IFS=: read -r file include; do
  target=${include#*[<\"]}
  target=${target%%[>\"]*}
  [[ $include != *\"* ]] || check_direction "$file" "$target"
  check_wrapped "$file" "$target"
done < <(files_named '*.cc' '*.h' '*.cu' | grep -v '^tests/' |
  xargs grep -HE '^ *# *include +[<"]')
finish
