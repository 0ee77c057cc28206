// What the C guests share: exports, imports, the allocator.
#define EXPORT(n) __attribute__((export_name(n), used))
#define IMPORT(m, n) __attribute__((import_module(m), import_name(n)))
#define HANDLER "fermyon:spin/inbound-redis#handle-message"

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;

extern u8 __heap_base;
static u8 *heap = &__heap_base;

EXPORT("cabi_realloc") void *cabi_realloc(void *old, u32 old_size, u32 align, u32 size) {
	u8 *p = (u8 *)(((u32)heap + align - 1) & -align);
	heap = p + size;
	u32 have = __builtin_wasm_memory_size(0) << 16;
	if ((u32)heap > have && __builtin_wasm_memory_grow(0, ((u32)heap - have + 65535) >> 16) == (u32)-1) __builtin_trap();
	return p;
}

static inline int begins(const u8 *msg, u32 len, const char *word) {
	u32 n = 0;
	for (; word[n]; n++)
		if (n >= len || msg[n] != word[n]) return 0;
	return 1;
}
