// echo publishes each message again, to the channel that its variable "to" names.
#include "spin_redis.h"

int handle_message(struct text message) {
	struct text address = variable(TEXT("redis_address"), TEXT(""));
	struct text to = variable(TEXT("to"), TEXT(""));
	struct unit_result published = {FAILED, 1};
	redis_publish(ARG(address), ARG(to), ARG(message), &published);
	if (published.tag == OK)
		return OK;
	complain(TEXT("echo: could not publish to "), to, TEXT("; the component's log has the host's reason\n"));
	return FAILED;
}
