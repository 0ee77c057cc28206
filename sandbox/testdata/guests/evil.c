// One bad guest, by the first word of its message; see README.md for the modes.
#include "guest.h"

struct subscription { u64 user; u8 tag; u64 clock, timeout, precision; unsigned short flags; };
WASI("proc_exit") void proc_exit(u32 code);
WASI("poll_oneoff") u32 poll_oneoff(const struct subscription *in, void *out, u32 count, u32 *ready);

static u8 result[2];
static volatile u32 spin;
static u8 buffer[65536];

EXPORT(REALLOC) void *guest_realloc(void *old, u32 old_size, u32 align, u32 size) {
	if (size == 4242) for (;;) spin++;
	if (size == 4243) return (void *)0xfffffff0;
	return size ? allocate(align, size) : (void *)align;
}

static u32 recurse(u32 n);
static u32 (*volatile again)(u32) = recurse;
static u32 recurse(u32 n) { return again(n + 1) + 1; }

static u32 grow(void) {
	for (u32 step = 1024; step; step /= 2)
		while (__builtin_wasm_memory_grow(0, step) != (u32)-1);
	u32 pages = __builtin_wasm_memory_size(0);
	for (u32 i = 1; i < pages; i++) *(volatile u8 *)(i << 16) |= 0;
	return pages;
}

static void number(u32 n) {
	u8 text[10];
	u32 at = 10;
	do text[--at] = '0' + n % 10; while (n /= 10);
	print(1, text + at, 10 - at);
}

EXPORT(HANDLER) u8 *handle(const u8 *msg, u32 len) {
	if (begins(msg, len, "loop")) for (;;) spin++;
	if (begins(msg, len, "recurse")) result[1] = again(0);
	if (begins(msg, len, "grow")) number(grow());
	if (begins(msg, len, "starve")) { grow(); __builtin_trap(); }
	if (begins(msg, len, "hungry")) { grow(); result[0] = result[1] = 1; }
	if (begins(msg, len, "trap")) { print(1, "half way", 8); __builtin_trap(); }
	if (begins(msg, len, "exit0")) proc_exit(0);
	if (begins(msg, len, "exit3")) proc_exit(3);
	if (begins(msg, len, "exittimeout")) proc_exit(0xefffffff);
	if (begins(msg, len, "print")) {
		for (u32 i = 0; i < sizeof buffer; i++) buffer[i] = i % 100 == 99 ? '\n' : 'x';
		for (u32 i = 0; i < 160; i++) print(1, buffer, sizeof buffer);
	}
	if (begins(msg, len, "lines")) for (u32 i = 0; i < 100000; i++) print(2, ".\n", 2);
	if (begins(msg, len, "long")) {
		for (u32 i = 0; i < 20000; i++) buffer[i] = 'a';
		buffer[20000] = '\n';
		print(1, buffer, 20001);
		print(1, "unfinished", 10);
	}
	if (begins(msg, len, "sleep")) {
		static struct subscription s = {.clock = 1, .timeout = 3600000000000ull};
		u32 ready;
		poll_oneoff(&s, buffer, 1, &ready);
	}
	if (begins(msg, len, "poll")) { u32 ready; number(poll_oneoff((void *)buffer, buffer, 0x05555556, &ready)); }
	if (begins(msg, len, "success")) result[0] = 1;
	if (begins(msg, len, "error")) result[0] = result[1] = 1;
	if (begins(msg, len, "odd")) result[0] = 7;
	if (begins(msg, len, "pointer")) return (u8 *)0xffffffff;
	return result;
}
