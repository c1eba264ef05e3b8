#!/bin/sh
# run.sh PROGRAM CORPUS OPTION...: fuzz, beginning with a corpus, which stays as it is: what
# libFuzzer finds worth keeping it writes to the first folder that it is given.
program=$1
corpus=$2
shift 2
found=$(mktemp -d) || exit 1
trap 'rm -rf "$found"' EXIT
trap 'exit 1' INT TERM
"$program" -reload=0 "$@" "$found" "$corpus"
