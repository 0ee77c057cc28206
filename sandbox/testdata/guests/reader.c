// Prints what it is given: "env" its environment, one per line, "file NAME" the beginning of a file below /, "write NAME" the error number of
// creating one, "clock" whether time moves and randomness is random.
#include "guest.h"

WASI("environ_sizes_get") u32 environ_sizes_get(u32 *count, u32 *size);
WASI("environ_get") u32 environ_get(char **environ, char *buffer);
WASI("path_open") u32 path_open(u32 dir, u32 dirflags, const void *path, u32 len, u32 oflags, u64 rights, u64 inheriting, u32 fdflags, u32 *fd);
WASI("fd_read") u32 fd_read(u32 fd, const struct iovec *iov, u32 count, u32 *read);
WASI("random_get") u32 random_get(void *p, u32 len);
WASI("clock_time_get") u32 clock_time_get(u32 id, u64 precision, u64 *time);

static u8 result[2];
static char *environ[64], buffer[4096];

EXPORT(REALLOC) void *guest_realloc(void *old, u32 old_size, u32 align, u32 size) { return size ? allocate(align, size) : (void *)align; }

static void hex(u64 v) {
	u8 text[17];
	for (u32 i = 0; i < 16; i++) text[i] = "0123456789abcdef"[v >> (60 - 4 * i) & 15];
	text[16] = '\n';
	print(1, text, 17);
}

static void file(const u8 *name, u32 len, u32 oflags, u64 rights) {
	u32 fd, n = 0;
	u32 errno = path_open(3, 0, name, len, oflags, rights, 0, 0, &fd);
	if (errno) {
		u8 text[2] = {'0' + errno / 10, '0' + errno % 10};
		print(1, "errno ", 6);
		print(1, text, 2);
		return;
	}
	struct iovec iov = {buffer, sizeof buffer};
	fd_read(fd, &iov, 1, &n);
	print(1, buffer, n);
}

EXPORT(HANDLER) u8 *handle(const u8 *msg, u32 len) {
	if (begins(msg, len, "env")) {
		u32 count, size;
		environ_sizes_get(&count, &size);
		if (count > 64 || size > sizeof buffer) __builtin_trap();
		environ_get(environ, buffer);
		for (u32 i = 0; i < count; i++) {
			print(1, environ[i], length(environ[i]));
			print(1, "\n", 1);
		}
	}
	if (begins(msg, len, "file ")) file(msg + 5, len - 5, 0, 2);
	if (begins(msg, len, "write ")) file(msg + 6, len - 6, 1, 64);
	if (begins(msg, len, "clock")) {
		u64 v;
		random_get(&v, 8);
		hex(v);
		clock_time_get(0, 1, &v);
		hex(v);
		clock_time_get(1, 1, &v);
		hex(v);
	}
	return result;
}
