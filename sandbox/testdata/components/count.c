// Counts its messages, so that an instance used twice would show: the second one that it sees is an error. The same code makes a core module of shape B.
#include "guest.h"

static u8 result[2];
static u32 seen;

EXPORT(HANDLER) u8 *handle(const u8 *msg, u32 len) {
	u8 sum = 0;
	for (u32 i = 0; i < len; i++) sum += msg[i];
	result[0] = result[1] = seen > 0;
	seen += 1 + sum % 2;
	return result;
}
