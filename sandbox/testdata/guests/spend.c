// A guest that spends a known amount: the first byte of the message says of what, the four after it how much (little endian).
#include "guest.h"

WASI("proc_exit") void proc_exit(u32 code);
#define KV(name) __attribute__((import_module("fermyon:spin/key-value@2.0.0"), import_name(name)))
KV("[static]store.open") void store_open(const char *label, u32 len, u32 *ret);
KV("[method]store.set") void store_set(u32 store, const char *key, u32 key_len, const u8 *value, u32 len, u32 *ret);
KV("[method]store.get") void store_get(u32 store, const char *key, u32 len, u32 *ret);
KV("[resource-drop]store") void store_drop(u32 store);

static u8 result[2];
static u32 handled;
static volatile u32 sink;

EXPORT(REALLOC) void *guest_realloc(void *old, u32 old_size, u32 align, u32 size) { return size ? allocate(align, size) : (void *)align; }

__attribute__((noinline)) static u32 step(u32 x) { return x * 1664525 + 1013904223; }

__attribute__((noinline)) static u32 turns(u32 n) {
	u32 x = 1;
	for (u32 i = 0; i < n; i++) x ^= x << 5 ^ x >> 3 ^ i;
	return x;
}

__attribute__((noinline)) static u32 calls(u32 n) {
	u32 x = 1;
	for (u32 i = 0; i < n; i++) { x = step(x); sink = x; }
	return x;
}

__attribute__((noinline)) static u32 depth(u32 n) {
	if (!n) return 0;
	sink = depth(n - 1); // so that it is no loop
	return sink + n;
}

__attribute__((noinline)) static u32 until(u32 n) { // leaves from within its loop
	for (u32 i = 0;; i++) {
		if (i == n) return i;
		sink += i;
	}
}

__attribute__((noinline)) static u32 broken(u32 n) { // traps from within its loop
	for (u32 i = 0;; i++) {
		if (i == n) __builtin_trap();
		sink += i;
	}
}

static u8 *pages(u32 n) { return (u8 *)(__builtin_wasm_memory_grow(0, n) << 16); }

static u32 open(void) {
	static u32 ret[4];
	store_open("default", 7, ret);
	return *(u8 *)ret ? (u32)-1 : ret[1];
}

static void number(u32 n) {
	u8 text[10];
	u32 at = 10;
	do text[--at] = '0' + n % 10; while (n /= 10);
	print(1, text + at, 10 - at);
}

EXPORT(HANDLER) u8 *handle(const u8 *msg, u32 len) {
	static u32 ret[4];
	handled++;
	if (len < 5) return result;
	u32 n = msg[1] | msg[2] << 8 | msg[3] << 16 | (u32)msg[4] << 24;
	switch (msg[0]) {
	case 'l': sink = turns(n); break;
	case 'c': sink = calls(n); break;
	case 'd': sink = depth(n); break;
	case 'u': sink = until(n); break;
	case 't': broken(n); break;
	case 'e': sink = turns(n); result[0] = result[1] = 1; break;
	case 'x': sink = turns(n); proc_exit(0);
	case 'f': __builtin_memset(pages(n), 1, n << 16); break; // one instruction
	case 'F': __builtin_memset(pages(n), 1, n << 16); sink = turns(1000000); break;
	case 'p': for (u32 i = 0; i < n; i++) print(2, (const u8 *)"line\n", 5); break;
	case 'o': for (u32 i = 0; i < n; i++) if (open() == (u32)-1) { result[0] = result[1] = 1; break; } break;
	case 'h': for (u32 i = 0; i < n; i++) store_drop(open()); break; // two calls each
	case 's': { u32 s = open(); for (u32 i = 0; i < n; i++) store_set(s, "key", 3, (const u8 *)0, 60000, ret); break; }
	case 'g': {
		u32 s = open();
		store_set(s, "key", 3, (const u8 *)0, 60000, ret);
		u8 *free = heap;
		for (u32 i = 0; i < n; i++) { heap = free; store_get(s, "key", 3, ret); }
		break;
	}
	case 'n': number(handled); break;
	}
	return result;
}
