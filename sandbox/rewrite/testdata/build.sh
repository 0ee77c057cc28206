#!/bin/sh
# Builds loops.wasm as compilers do by default, and rolled.wasm with each loop left as it is written: build.sh [DIRECTORY for the .wasm files].
# Needs clang-14 and wasm-ld-14. clang does not link: it would run whatever wasm-opt it finds.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
c() { # c NAME FLAGS...
	name=$1
	shift
	(cd "$here" && clang-14 --target=wasm32 -O2 -std=gnu11 -ffreestanding -fno-builtin -fvisibility=hidden -Wall -Werror "$@" -c -o "$work/$name.o" loops.c)
	wasm-ld-14 --no-entry --gc-sections -o "$out/$name.wasm" "$work/$name.o"
}
c loops
c rolled -fno-unroll-loops
