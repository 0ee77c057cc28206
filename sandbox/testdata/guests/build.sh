#!/bin/sh
# Builds the guests beside their sources: build.sh [DIRECTORY for the .wasm files]. Needs clang-14, wasm-ld-14 and wat2wasm (wabt).
# The same tools give the same bytes. clang does not link: it would run whatever wasm-opt it finds.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
c() { # c NAME SOURCE FLAGS...
	name=$1 source=$2
	shift 2
	(cd "$here" && clang-14 --target=wasm32 -Oz -std=gnu11 -fno-builtin -fvisibility=hidden -Wall -Werror "$@" -c -o "$work/$name.o" "$source")
	wasm-ld-14 --no-entry --gc-sections -z stack-size=16384 -o "$out/$name.wasm" "$work/$name.o"
}
c echo-a echo.c
c echo-b echo.c -DSHAPE_B
c evil evil.c
c reader reader.c
c spend spend.c -mbulk-memory
for source in "$here"/*.wat; do
	wat2wasm --debug-names -o "$out/$(basename "$source" .wat).wasm" "$source"
done
