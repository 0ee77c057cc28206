// Prints the message and answers ok. It counts its messages in memory, so that an instance used twice would show.
#include "guest.h"

static u8 result[2];
static u8 count = '0';

EXPORT(REALLOC) void *guest_realloc(void *old, u32 old_size, u32 align, u32 size) { return size ? allocate(align, size) : (void *)align; }

EXPORT(HANDLER) u8 *handle(const u8 *msg, u32 len) {
	count++;
	print(1, &count, 1);
	print(1, " ", 1);
	print(1, msg, len);
	print(1, "\n", 1);
	return result;
}

#ifdef SHAPE_B
EXPORT("cabi_post_" HANDLER) void post(u8 *answer) {
	if (answer != result) __builtin_trap();
	print(2, "post\n", 5);
}
#endif
