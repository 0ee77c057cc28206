#!/bin/sh
# Rebuilds what is committed here and built from sources: the C guests, and the SDK's archive for "tenloom new -t go".
#
#   examples/build.sh [outdir]    builds into outdir, by default beside the sources
#   examples/build.sh --check     builds into a temporary folder and compares with what is committed
#
# Ends with 0; 1 when something does not build or differs; 3 when a tool is missing. The bytes depend on the compiler's
# version, so it takes clang 14 and lld 14 and no other. Clang does not link: it would run any wasm-opt on the PATH.
set -eu
cd "$(dirname "$0")"

# Module and source, without suffix. hello is a Go package too, which may hold no C.
guests="hello/greet:hello/src/greet hello/audit:hello/src/audit c-echo/echo:c-echo/echo
operations/shape_a:operations/shape_a operations/shape_b:operations/shape_b"
archive=templates/sdk.zip

# tool NAME prints NAME-14, or NAME where that is version 14.
tool() {
	for candidate in "$1-14" "$1"; do
		if "$candidate" --version 2>/dev/null | grep -Eq '(version|LLD) 14\.'; then
			echo "$candidate"
			return
		fi
	done
	echo "build.sh: $1 of version 14 is missing; on Debian and Ubuntu: apt-get install clang-14 lld-14" >&2
	exit 3
}

build() { # build OUTDIR
	for pair in $guests; do
		guest=${pair%:*} source=${pair#*:}
		mkdir -p "$1/$(dirname "$guest")"
		"$clang" --target=wasm32 -Oz -std=gnu11 -fno-builtin -fvisibility=hidden -Wall -Wextra -Werror -Itemplates/c \
			-c -o "$objects/guest.o" "$source.c"
		"$lld" --no-entry --strip-all --gc-sections -z stack-size=16384 -o "$1/$guest.wasm" "$objects/guest.o"
		chmod 644 "$1/$guest.wasm"
	done
	# What "tenloom new -t c" writes must build too; nothing of it is kept.
	sed 's/@NAME@/template/g' templates/c/handler.c.tmpl >"$objects/handler.c"
	cp templates/c/spin_redis.h "$objects"
	CC=$clang LD=$lld sh -c 'cd "$1" && cp "$2" build.sh && sh build.sh' - "$objects" "$PWD/templates/c/build.sh.tmpl"
	mkdir -p "$1/$(dirname "$archive")"
	go run ./templates/pack ../sdk "$1/$archive"
}

clang=$(tool clang)
lld=$(tool wasm-ld)
if ! command -v go >/dev/null; then
	echo "build.sh: go is missing; see https://go.dev/dl" >&2
	exit 3
fi
objects=$(mktemp -d)
trap 'rm -rf "$objects"' EXIT

case "${1:-}" in
--check)
	build "$objects/out"
	differs=0
	for file in $(printf '%s\n' $guests | sed 's/:.*/.wasm/') "$archive"; do
		if ! cmp "$objects/out/$file" "$file"; then
			differs=1
		fi
	done
	if [ "$differs" = 1 ]; then
		echo "build.sh: what is committed is not what the sources build; run examples/build.sh and commit the result" >&2
	fi
	exit "$differs"
	;;
-*)
	echo "usage: build.sh [--check | outdir]" >&2
	exit 2
	;;
*)
	build "${1:-.}"
	;;
esac
