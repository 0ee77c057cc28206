// Prints the message and publishes it on the channel "relayed" of the Redis that the variable redis_address names.
#include "guest.h"

IMPORT("fermyon:spin/variables@2.0.0", "get") void get_variable(const char *name, u32 len, void *result);
IMPORT("fermyon:spin/redis@2.0.0", "[static]connection.open") void open_connection(const u8 *address, u32 len, void *result);
IMPORT("fermyon:spin/redis@2.0.0", "[method]connection.publish") void publish(u32 connection, const char *channel, u32 channel_len, const void *payload, u32 len, void *result);
IMPORT("fermyon:spin/redis@2.0.0", "[resource-drop]connection") void drop_connection(u32 connection);
IMPORT("wasi:cli/stdout@0.2.0", "get-stdout") u32 get_stdout(void);
IMPORT("wasi:io/streams@0.2.0", "[method]output-stream.blocking-write-and-flush") void write_and_flush(u32 stream, const void *text, u32 len, void *result);
IMPORT("wasi:io/streams@0.2.0", "[resource-drop]output-stream") void drop_stream(u32 stream);

static u8 failed[2] = {1, 1};
static u8 ok[2];
static u32 answer[6];

EXPORT(HANDLER) u8 *handle(const u8 *msg, u32 len) {
	u32 out = get_stdout();
	write_and_flush(out, msg, len, answer);
	drop_stream(out);
	get_variable("redis_address", 13, answer); // the tag, then the text
	if (*(u8 *)answer) return failed;
	open_connection((u8 *)answer[1], answer[2], answer);
	if (*(u8 *)answer) return failed;
	u32 connection = answer[1];
	publish(connection, "relayed", 7, msg, len, answer);
	drop_connection(connection);
	return *(u8 *)answer ? failed : ok;
}
