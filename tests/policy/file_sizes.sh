#!/usr/bin/env bash
# A file has one reason to change; one of more than 400 lines has two.
. "$(dirname "$0")/policy.sh"

while read -r lines file; do
  [ "$file" = total ] || [ "$lines" -le 400 ] || violation "$file has $lines lines"
done < <(files_named '*.cc' '*.h' '*.cu' '*.sh' '*.cmake' CMakeLists.txt | xargs wc -l)
finish
