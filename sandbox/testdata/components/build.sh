#!/bin/sh
# Builds the components beside their sources: build.sh [DIRECTORY for the .wasm files]. Needs clang-14 and wasm-ld-14, and wasm-tools, which comes from
# Go's module proxy as a tool of a module in the cache (${XDG_CACHE_HOME:-~/.cache}/tenloom); later.wasm needs Node and npm's jco-transpile. The same
# tools give the same bytes. What cannot be made for want of a tool is named as left out. clang does not link: it would run whatever wasm-opt it finds.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here}
cache="${XDG_CACHE_HOME:-$HOME/.cache}/tenloom"
tools="$cache/wasm-tools"
version=0.14.0
npm="$cache/wast/npm-$version"
jco="$npm/node_modules/@bytecodealliance/jco-transpile"
if ! [ -f "$tools/go.sum" ]; then
	mkdir -p "$tools"
	(cd "$tools" && rm -f go.mod && go mod init tools && go get -tool go.bytecodealliance.org/internal/cmd/wasm-tools@v0.7.0) >/dev/null 2>&1 || {
		echo "left out: prebuilt components, because wasm-tools is not to be had from Go's module proxy"
		exit 0
	}
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r "$here/wit" "$tools/go.mod" "$tools/go.sum" "$work" # the tool reads below its working directory and no further
core() { # core NAME SOURCE
	(cd "$here" && clang-14 --target=wasm32 -Oz -std=gnu11 -fno-builtin -fvisibility=hidden -Wall -Werror -c -o "$work/$1.o" "$2")
	wasm-ld-14 --no-entry --gc-sections -z stack-size=16384 -o "$work/$1.core.wasm" "$work/$1.o"
}
component() { # component NAME WIT WORLD
	(cd "$work" && go tool wasm-tools component embed "$2" "$1.core.wasm" --world "$3" >"$1.embedded.wasm" && go tool wasm-tools component new "$1.embedded.wasm" >"$1.wasm")
	cp "$work/$1.wasm" "$out/$1.wasm"
}
core count count.c
component count wit handler
cp "$work/count.core.wasm" "$out/count-core.wasm"
chmod 644 "$out/count-core.wasm"
core evil evil.c
component evil wit evil
core relay relay.c
component relay wit relay
core later later.c
if ! [ -d "$jco" ] && ! { mkdir -p "$npm" && npm install --prefix "$npm" --no-audit --no-fund --ignore-scripts --omit=optional "@bytecodealliance/jco-transpile@$version" >/dev/null 2>&1; }; then
	echo "left out: later.wasm, because npm, or its registry, is not to be had"
	exit 0
fi
node "$here/later.mjs" "$jco" "$work/later.core.wasm" "$here/later.wit" "$out/later.wasm"
