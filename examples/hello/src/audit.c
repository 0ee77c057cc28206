// audit notes which channel each message came by, and its size. On Spin, which does not tell the channel, it says so.
#include "spin_redis.h"

int handle_message(struct text message) {
	struct text channel = variable(TEXT("tenloom_channel"), TEXT("(a channel the host does not tell)"));
	print(channel, TEXT(": "), decimal(message.len), message.len == 1 ? TEXT(" byte\n") : TEXT(" bytes\n"));
	return OK;
}
