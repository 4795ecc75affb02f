#!/usr/bin/env bash
# Every test source is named by a build file of its directory.
. "$(dirname "$0")/policy.sh"

while read -r file; do
  directory=${file%/*}
  find "$directory" -maxdepth 1 \( -name CMakeLists.txt -o -name '*.cmake' \) \
    -exec grep -hwF "${file##*/}" {} + | grep -qv '^ *#' ||
    violation "$file is in no target of $directory/CMakeLists.txt"
done < <(files_named '*_test.cc' '*_test.cu')
finish
