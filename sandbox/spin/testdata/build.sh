#!/bin/sh
# Builds the test guests with Debian's clang-14 and lld-14: ./build.sh [DIRECTORY], default here. The bytes are the same each time.
# The linker is called by itself: clang would run any wasm-opt that it finds on the PATH.
set -eu
cd "$(dirname "$0")"
to=${1:-.}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
build() { # output, source, flags
	out=$1 source=$2
	shift 2
	clang-14 --target=wasm32 -Oz -std=gnu11 -fno-builtin -fvisibility=hidden -Wall -Wno-unused-function "$@" -c -o "$tmp/o.o" "$source"
	wasm-ld-14 --no-entry --strip-all --gc-sections -z stack-size=16384 -o "$to/$out" "$tmp/o.o"
}
build v1.wasm v1.c
build v1_unversioned.wasm v1.c -DUNVERSIONED
build v2.wasm v2.c
wat2wasm noalloc.wat -o "$to/noalloc.wasm"
