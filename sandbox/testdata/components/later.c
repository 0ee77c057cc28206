// A handler of the asynchronous interface. The first word of the message says how it goes on.
#include "guest.h"

#define INBOUND "spin:redis/inbound-redis@3.0.0"
#define LIFT "[async-lift]" INBOUND "#handle-message"

IMPORT("[export]" INBOUND, "[task-return]handle-message") void task_return(u32 failed, u32 which, const void *text, u32 len);
IMPORT("$root", "[context-get-0]") u32 context_get(void);
IMPORT("$root", "[context-set-0]") void context_set(u32 value);
IMPORT("$root", "[waitable-set-new]") u32 waitable_set_new(void);

enum { EXIT, YIELD, WAIT };

static u32 seen;

EXPORT(LIFT) u32 handle(const u8 *msg, u32 len) {
	if (context_get() || seen++) __builtin_trap();
	if (begins(msg, len, "never")) return EXIT;
	if (begins(msg, len, "deadlock")) return WAIT | waitable_set_new() << 4;
	if (begins(msg, len, "odd")) return 9;
	if (begins(msg, len, "yield")) {
		context_set(3);
		return YIELD;
	}
	if (begins(msg, len, "error"))
		task_return(1, 3, "no such thing", 13);
	else if (begins(msg, len, "invalid"))
		task_return(1, 0, 0, 0);
	else
		task_return(0, 0, 0, 0);
	if (begins(msg, len, "twice")) task_return(0, 0, 0, 0);
	if (begins(msg, len, "trap")) __builtin_trap();
	if (begins(msg, len, "loop"))
		for (volatile u32 n = 0;; n++) {}
	return EXIT;
}

EXPORT("[callback]" LIFT) u32 callback(u32 event, u32 index, u32 payload) {
	if (event || index || payload) __builtin_trap();
	u32 left = context_get();
	if (left == 0) {
		task_return(0, 0, 0, 0);
		return EXIT;
	}
	context_set(left - 1);
	return YIELD;
}
