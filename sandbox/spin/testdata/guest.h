// What both test guests share: an allocator that can misbehave, the payload's fields, and printing to stdout.
//
// A payload is a sequence of fields, each a little-endian u32 length and its bytes: the allocator's mode (one digit), the operation, its
// arguments. Results are printed: "ok ...", "none" or "err <case> [text]".

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned u32;
typedef unsigned long long u64;
typedef long long s64;
typedef struct { u8 *p; u32 n; } str; // string, list<u8>, and any other list

#define EXPORT(n) __attribute__((export_name(n), used))
#define IMPORT(m, n) __attribute__((import_module(m), import_name(n)))
#define U(x) ((u32)(x))
#define S(s) U((s).p), (s).n

IMPORT("wasi_snapshot_preview1", "fd_write") u32 fd_write(u32 fd, void *iov, u32 n, void *written);
IMPORT("wasi_snapshot_preview1", "proc_exit") void proc_exit(u32 code);

// ---- allocator

extern u8 __heap_base;
static u32 heap, mode;
static volatile u32 spin;
static void reenter(void);

static u32 memory_size(void) { return __builtin_wasm_memory_size(0) << 16; }

static void *reallocate(u8 *old, u32 old_size, u32 align, u32 size) {
	if (size == 0) return (void *)align;
	switch (mode) {
	case 1: return (void *)0xfffffff0;
	case 2: return 0;
	case 3: return (void *)(memory_size() - 8);
	case 4: __builtin_trap();
	case 5: reenter(); break;
	case 6: proc_exit(3);
	case 7: return (void *)(memory_size() - 32769); // aligned to 1 only
	case 8: for (;;) spin++;
	case 9: __builtin_wasm_memory_grow(0, 1); break; // the memory may move at each allocation
	}
	if (!heap) heap = U(&__heap_base);
	heap = (heap + align - 1) & -align;
	u32 at = heap;
	heap += size;
	if (heap > memory_size() && __builtin_wasm_memory_grow(0, (heap - memory_size() + 0xffff) >> 16) == (u32)-1) __builtin_trap();
	for (u32 i = 0; i < old_size && i < size; i++) ((u8 *)at)[i] = old[i];
	return (void *)at;
}

// ---- payload

static str field[128];
static u32 fields;

static u32 le(const u8 *p) { return p[0] | p[1] << 8 | p[2] << 16 | (u32)p[3] << 24; }

static void parse(u8 *p, u32 n) {
	fields = 0;
	for (u8 *end = p + n; p + 4 <= end; p += field[fields++].n) {
		field[fields].n = le(p);
		field[fields].p = p += 4;
	}
	mode = 0;
}

static u32 raw(u32 i) { return le(field[i].p); }

static int is(const char *name) {
	u32 i = 0;
	for (; name[i]; i++)
		if (i >= field[1].n || field[1].p[i] != (u8)name[i]) return 0;
	return i == field[1].n;
}

// list makes a list of the fields from i on; they lie as the ABI wants them.
static str list(u32 i) { return (str){(u8 *)&field[i], fields - i}; }

// ---- printing

static u8 out[65536];
static u32 used;

static void byte(u8 b) {
	if (used < sizeof out) out[used++] = b;
}
static void text(const char *s) {
	while (*s) byte(*s++);
}
static void number(s64 n) {
	u8 d[20];
	u32 i = 0;
	u64 v = n < 0 ? -(u64)n : (u64)n;
	if (n < 0) byte('-');
	do d[i++] = '0' + v % 10;
	while (v /= 10);
	while (i) byte(d[--i]);
}
static void show(str s) {
	for (u32 i = 0; i < s.n; i++) {
		if (s.p[i] >= ' ' && s.p[i] <= '~') byte(s.p[i]);
		else text("\\x"), byte("0123456789abcdef"[s.p[i] >> 4]), byte("0123456789abcdef"[s.p[i] & 15]);
	}
}
static void shows(str list) { // list<string>
	str *s = (str *)list.p;
	for (u32 i = 0; i < list.n; i++) text(i ? "," : ""), show(s[i]);
}
static void flush(void) {
	struct { void *p; u32 n; } iov = {out, used};
	u32 written;
	fd_write(1, &iov, 1, &written);
	used = 0;
}

// variant with a string in some cases
struct error { u8 tag; str text; };

static void failed(u8 tag, const str *t) {
	text("err "), number(tag);
	if (t) byte(' '), show(*t);
}

// redis-parameter and redis-result
struct value { u8 tag; union { s64 i; str s; }; };

static struct value params[128];

// parameters makes a list<redis-parameter>: a field is 'i' and 8 bytes, or 'b' and the bytes.
static str parameters(u32 from) {
	for (u32 i = from; i < fields; i++) {
		struct value *v = &params[i - from];
		v->tag = field[i].p[0] == 'b';
		if (v->tag) v->s = (str){field[i].p + 1, field[i].n - 1};
		else v->i = (s64)(le(field[i].p + 1) | (u64)le(field[i].p + 5) << 32);
	}
	return (str){(u8 *)params, fields - from};
}

static void values(str list) {
	struct value *v = (struct value *)list.p;
	for (u32 i = 0; i < list.n; i++, v++) {
		text(i ? ", " : "");
		switch (v->tag) {
		case 0: text("nil"); break;
		case 1: text("status "), show(v->s); break;
		case 2: text("int64 "), number(v->i); break;
		case 3: text("binary "), show(v->s); break;
		default: text("?"), number(v->tag);
		}
	}
}

// fill makes a result area that nobody wrote to show.
static void fill(void *p, u32 n) {
	for (u32 i = 0; i < n; i++) ((u8 *)p)[i] = 0xaa;
}
#define AREA(type, name) struct type name; fill(&name, sizeof name)
