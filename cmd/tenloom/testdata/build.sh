#!/bin/sh
# Rebuilds the WAT guests of this folder; --check builds into a temporary folder and compares. Ends with 3 where wat2wasm is missing.
set -eu
cd "$(dirname "$0")"
if ! command -v wat2wasm >/dev/null; then
	echo "build.sh: wat2wasm is missing; on Debian and Ubuntu: apt-get install wabt" >&2
	exit 3
fi
out=.
if [ "${1:-}" = --check ]; then
	out=$(mktemp -d)
	trap 'rm -rf "$out"' EXIT
fi
differs=0
for guest in sum sleep compute; do
	mkdir -p "$out/$guest"
	wat2wasm "$guest/$guest.wat" -o "$out/$guest/$guest.wasm"
	cmp "$out/$guest/$guest.wasm" "$guest/$guest.wasm" || differs=1
done
exit "$differs"
