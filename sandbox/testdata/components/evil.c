// One mode for each first word of the message; without one it prints the message behind how many it has seen.
#include "guest.h"

IMPORT("wasi:cli/stdout@0.2.0", "get-stdout") u32 get_stdout(void);
IMPORT("wasi:cli/stderr@0.2.0", "get-stderr") u32 get_stderr(void);
IMPORT("wasi:io/streams@0.2.0", "[method]output-stream.blocking-write-and-flush") void write_and_flush(u32 stream, const void *text, u32 len, void *result);
IMPORT("wasi:io/streams@0.2.0", "[resource-drop]output-stream") void drop_stream(u32 stream);
IMPORT("wasi:cli/environment@0.2.0", "get-environment") void get_environment(void *result);
IMPORT("wasi:cli/exit@0.2.0", "exit") void exit_with(u32 failed);
IMPORT("wasi:clocks/monotonic-clock@0.2.0", "subscribe-duration") u32 subscribe_duration(u64 nanoseconds);
IMPORT("wasi:io/poll@0.2.0", "[method]pollable.block") void block(u32 pollable);
IMPORT("wasi:random/random@0.2.0", "get-random-u64") u64 get_random(void);

static u8 result[2];
static u8 count = '0';
static u32 answer[4];

static void print(u32 stream, const void *text, u32 len) { write_and_flush(stream, text, len, answer); }

static void print_number(u32 stream, u64 n) {
	u8 digits[20];
	u32 at = 20;
	do digits[--at] = '0' + n % 10;
	while (n /= 10);
	print(stream, digits + at, 20 - at);
}

static u32 grow(void) {
	while (__builtin_wasm_memory_grow(0, 1) != (u32)-1) *(volatile u8 *)((__builtin_wasm_memory_size(0) << 16) - 1) = 1;
	return __builtin_wasm_memory_size(0);
}

__attribute__((noinline)) static u32 recurse(volatile u32 *n) {
	volatile u32 deeper = *n + 1;
	return deeper ? recurse(&deeper) + deeper : 0; // volatile: nobody can know that it goes on until the stack ends
}

EXPORT(HANDLER) u8 *handle(const u8 *msg, u32 len) {
	count++;
	result[0] = result[1] = 0;
	u32 out = get_stdout();
	if (begins(msg, len, "loop"))
		for (volatile u32 n = 0;; n++) {}
	if (begins(msg, len, "recurse")) {
		volatile u32 n = 0;
		recurse(&n);
	}
	if (begins(msg, len, "trap")) {
		print(out, "half", 4);
		__builtin_trap();
	}
	if (begins(msg, len, "exit")) exit_with(begins(msg, len, "exit1"));
	if (begins(msg, len, "sleep")) block(subscribe_duration(3600000000000ull));
	if (begins(msg, len, "grow")) print_number(out, grow());
	if (begins(msg, len, "hungry")) {
		grow();
		result[0] = result[1] = 1;
		return result;
	}
	if (begins(msg, len, "random")) print_number(out, get_random());
	if (begins(msg, len, "env")) {
		get_environment(answer);
		u32 *pairs = (u32 *)answer[0], n = answer[1];
		for (u32 i = 0; i < n; i++, pairs += 4) {
			print(out, (void *)pairs[0], pairs[1]);
			print(out, "=", 1);
			print(out, (void *)pairs[2], pairs[3]);
			print(out, "\n", 1);
		}
		return result;
	}
	if (begins(msg, len, "error")) result[0] = result[1] = 1;
	if (begins(msg, len, "success")) result[0] = 1;
	if (begins(msg, len, "odd")) result[0] = 7;
	if (begins(msg, len, "pointer")) return (u8 *)0xfffffff0u;
	if (begins(msg, len, "handle")) drop_stream(77);
	if (begins(msg, len, "wrong")) drop_stream(subscribe_duration(1));
	if (begins(msg, len, "twice")) {
		drop_stream(out);
		drop_stream(out);
	}
	if (begins(msg, len, "many"))
		for (;;) get_stderr();
	print(out, &count, 1);
	print(out, " ", 1);
	print_number(out, out);
	print(out, " ", 1);
	print(out, msg, len);
	print(out, "\n", 1);
	return result;
}

EXPORT("cabi_post_" HANDLER) void post(u8 *got) {
	if (got != result) __builtin_trap();
	count++;
}
