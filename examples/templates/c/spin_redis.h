// spin_redis.h: a Redis-triggered handler in C, without a C library. Copy it beside your source; it needs nothing else.
//
//	#include "spin_redis.h"
//	int handle_message(struct text message) { print(TEXT("got "), message, TEXT("\n")); return OK; }
//
//	clang --target=wasm32 -Oz -std=gnu11 -fno-builtin -fvisibility=hidden -Wall -c -o handler.o handler.c
//	wasm-ld --no-entry --strip-all --gc-sections -z stack-size=16384 -o handler.wasm handler.o
//
// It speaks the core ABI of Spin's first SDKs (tenloom: shape A), which tenloom and every version of Spin up to 4.0 run.
// Only the imports that are called end up in the module. Include it in one source file of a module.
#ifndef SPIN_REDIS_H
#define SPIN_REDIS_H

#define IMPORT(module, name) __attribute__((import_module(module), import_name(name)))
#define EXPORT(name) __attribute__((export_name(name), used))
#define MAYBE __attribute__((unused))

// A guest of another ABI generation defines these names before it includes this file.
#ifndef SPIN_HANDLER
#define SPIN_HANDLER "handle-redis-message"
#define SPIN_REALLOC "canonical_abi_realloc"
#endif

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long s64;

// Text is bytes with a length, in the layout that the ABI gives strings and lists in memory: 4 bytes of address, 4 of length.
struct text {
	const char *at;
	u32 len;
};
#define TEXT(literal) ((struct text){literal, sizeof(literal) - 1})

// What handle_message answers: whether the message was handled. The caller owns message until it returns.
enum { OK = 0, FAILED = 1 };
int handle_message(struct text message);

// ---- Memory ----------------------------------------------------------------------------------------------------------
//
//	| data | stack | __heap_base ... allocated, upwards ... | heap_top ... | end of memory, grown as needed
//
// allocate takes from the top and nothing is freed until the handler has returned; then all of it is.

extern u8 __heap_base;
static u8 *heap_top;

MAYBE static void *allocate(u32 align, u32 size) {
	u32 start = ((u32)(heap_top ? heap_top : &__heap_base) + align - 1) & -align;
	u64 end = (u64)start + size, have = (u64)__builtin_wasm_memory_size(0) << 16;
	if (end > 0xffffffff || (end > have && __builtin_wasm_memory_grow(0, (u32)((end - have + 0xffff) >> 16)) == (u32)-1))
		__builtin_trap(); // the host's memory cap
	heap_top = (u8 *)(u32)end;
	return (void *)start;
}

// The host allocates here what it hands over: the message, and the lists and strings in results.
EXPORT(SPIN_REALLOC) void *spin_realloc(u8 *old, u32 old_size, u32 align, u32 size) {
	if (size == 0)
		return (void *)align;
	u8 *to = allocate(align, size);
	for (u32 i = 0; i < old_size && i < size; i++)
		to[i] = old[i];
	return to;
}

// ---- Printing --------------------------------------------------------------------------------------------------------

IMPORT("wasi_snapshot_preview1", "fd_write") int wasi_fd_write(int fd, const struct text *parts, u32 n, u32 *written);

// write_text writes parts to stdout (1) or stderr (2); a host may take less than all of them at once.
MAYBE static void write_text(int fd, struct text *parts, u32 n) {
	while (n > 0) {
		u32 written = 0;
		if (parts->len > 0 && (wasi_fd_write(fd, parts, n, &written) != 0 || written == 0))
			return; // nowhere to say it
		while (n > 0 && written >= parts->len) {
			written -= parts->len;
			parts++, n--;
		}
		if (n > 0) {
			parts->at += written;
			parts->len -= written;
		}
	}
}
#define WRITE(fd, ...)                                                                                                     \
	do {                                                                                                                   \
		struct text parts_[] = {__VA_ARGS__};                                                                              \
		write_text(fd, parts_, sizeof(parts_) / sizeof(parts_[0]));                                                        \
	} while (0)
#define print(...) WRITE(1, __VA_ARGS__)
#define complain(...) WRITE(2, __VA_ARGS__)

// decimal spells a number; the text lives until the handler returns.
MAYBE static struct text decimal(s64 n) {
	char *end = (char *)allocate(1, 20) + 20, *p = end;
	u64 rest = n < 0 ? -(u64)n : (u64)n;
	do
		*--p = '0' + rest % 10;
	while (rest /= 10);
	if (n < 0)
		*--p = '-';
	return (struct text){p, end - p};
}

MAYBE static int equal(struct text a, struct text b) {
	if (a.len != b.len)
		return 0;
	for (u32 i = 0; i < a.len; i++)
		if (a.at[i] != b.at[i])
			return 0;
	return 1;
}

// ---- Imports ---------------------------------------------------------------------------------------------------------
//
// The last parameter is where the host writes the result: tag 0 for success or 1 for an error, then the payload.

struct unit_result { u8 tag, error; };
struct bytes_result { u8 tag, pad[3]; struct text value; };
struct number_result { u8 tag, pad[7]; s64 value; };
struct list_result { u8 tag, pad[3]; const struct text *items; u32 len; };
struct handle_result { u8 tag, pad[3]; union { u32 handle; u8 error; }; struct text detail; };
struct text_result { u8 tag, pad[3]; union { struct text value; struct { u8 error, pad2[3]; struct text detail; }; }; };

// One argument of execute (tags 0 int64, 1 binary), or one element of its answer (0 nil, 1 status, 2 int64, 3 binary).
struct redis_value { u8 tag, pad[7]; union { s64 number; struct text bytes; }; };
struct values_result { u8 tag, pad[3]; const struct redis_value *items; u32 len; };

#define REDIS(name) IMPORT("outbound-redis", name)
// Clang passes a struct of two words by reference, so every string is spelt as its two words.
#define ARG(t) (t).at, (t).len
REDIS("publish") void redis_publish(const char *, u32, const char *channel, u32, const char *payload, u32, struct unit_result *);
REDIS("get") void redis_get(const char *address, u32, const char *key, u32, struct bytes_result *);
REDIS("set") void redis_set(const char *address, u32, const char *key, u32, const char *value, u32, struct unit_result *);
REDIS("incr") void redis_incr(const char *address, u32, const char *key, u32, struct number_result *);
REDIS("del") void redis_del(const char *address, u32, const struct text *keys, u32, struct number_result *);
REDIS("sadd") void redis_sadd(const char *address, u32, const char *key, u32, const struct text *members, u32, struct number_result *);
REDIS("srem") void redis_srem(const char *address, u32, const char *key, u32, const struct text *members, u32, struct number_result *);
REDIS("smembers") void redis_smembers(const char *address, u32, const char *key, u32, struct list_result *);
REDIS("execute") void redis_execute(const char *address, u32, const char *command, u32, const struct redis_value *arguments, u32, struct values_result *);

IMPORT("spin-config", "get-config") void spin_get_config(const char *name, u32, struct text_result *);

IMPORT("key-value", "open") void kv_open(const char *label, u32, struct handle_result *);
IMPORT("key-value", "get") void kv_get(u32 store, const char *key, u32, struct text_result *);
IMPORT("key-value", "set") void kv_set(u32 store, const char *key, u32, const char *value, u32, struct text_result *);
IMPORT("key-value", "delete") void kv_delete(u32 store, const char *key, u32, struct text_result *);
IMPORT("key-value", "exists") void kv_exists(u32 store, const char *key, u32, struct text_result *);
IMPORT("key-value", "close") void kv_close(u32 store);

// variable reads a variable of the component, or answers otherwise where it is undefined.
MAYBE static struct text variable(struct text name, struct text otherwise) {
	struct text_result r = {0};
	spin_get_config(ARG(name), &r);
	return r.tag == 0 ? r.value : otherwise;
}

// ---- The export ------------------------------------------------------------------------------------------------------

// The host reads two bytes at the address this answers: 00 is success, 01 01 an error.
EXPORT(SPIN_HANDLER) const u8 *spin_handle(const char *message, u32 len) {
	static u8 result[2];
	result[0] = result[1] = handle_message((struct text){message, len}) == OK ? 0 : 1;
	heap_top = &__heap_base;
	return result;
}

#endif
