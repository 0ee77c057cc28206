// What the C guests share: preview 1's imports, the allocator under either name, printing.
#define EXPORT(n) __attribute__((export_name(n), used))
#define WASI(n) __attribute__((import_module("wasi_snapshot_preview1"), import_name(n)))

#ifdef SHAPE_B
#define HANDLER "fermyon:spin/inbound-redis#handle-message"
#define REALLOC "cabi_realloc"
#else
#define HANDLER "handle-redis-message"
#define REALLOC "canonical_abi_realloc"
#endif

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;
struct iovec { const void *base; u32 len; };

WASI("fd_write") u32 fd_write(u32 fd, const struct iovec *iov, u32 count, u32 *written);

extern u8 __heap_base;
static u8 *heap = &__heap_base;

static void *allocate(u32 align, u32 size) {
	u8 *p = (u8 *)(((u32)heap + align - 1) & -align);
	heap = p + size;
	u32 have = __builtin_wasm_memory_size(0) << 16;
	if ((u32)heap > have && __builtin_wasm_memory_grow(0, ((u32)heap - have + 65535) >> 16) == (u32)-1) __builtin_trap();
	return p;
}

static void print(u32 fd, const void *text, u32 len) {
	struct iovec iov = {text, len};
	u32 written;
	fd_write(fd, &iov, 1, &written);
}

static inline u32 length(const char *s) {
	u32 n = 0;
	while (s[n]) n++;
	return n;
}

static inline int begins(const u8 *msg, u32 len, const char *word) {
	u32 n = length(word);
	if (n > len) return 0;
	for (u32 i = 0; i < n; i++)
		if (msg[i] != word[i]) return 0;
	return 1;
}
