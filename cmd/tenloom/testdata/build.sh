#!/bin/sh
# Rebuilds the guests of this folder; --check builds into a temporary folder and compares. Ends with 3 where a tool is missing.
set -eu
cd "$(dirname "$0")"
for tool in wat2wasm:wabt clang-14:clang-14 wasm-ld-14:lld-14; do
	if ! command -v "${tool%:*}" >/dev/null; then
		echo "build.sh: ${tool%:*} is missing; on Debian and Ubuntu: apt-get install ${tool#*:}" >&2
		exit 3
	fi
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
out=.
if [ "${1:-}" = --check ]; then
	out=$work
fi
differs=0
for guest in sum sleep compute endless; do
	mkdir -p "$out/$guest"
	wat2wasm "$guest/$guest.wat" -o "$out/$guest/$guest.wasm"
	cmp "$out/$guest/$guest.wasm" "$guest/$guest.wasm" || differs=1
done
mkdir -p "$out/pages" # clang does not link: it would run whatever wasm-opt it finds
(cd pages && clang-14 --target=wasm32 -O2 -std=gnu11 -ffreestanding -fvisibility=hidden -Wall -Wextra -Werror -c -o "$work/pages.o" pages.c)
for size in 64k:65536 1m:1048576 16m:16777216; do
	wasm-ld-14 --no-entry --gc-sections --strip-all -z stack-size=4096 --initial-memory="${size#*:}" -o "$out/pages/${size%:*}.wasm" "$work/pages.o"
	chmod 644 "$out/pages/${size%:*}.wasm"
	cmp "$out/pages/${size%:*}.wasm" "pages/${size%:*}.wasm" || differs=1
done
exit "$differs"
