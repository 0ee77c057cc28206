// All operations in the core ABI of Spin 2 and 3: connections and stores are resources, and errors have cases.
#define SPIN_HANDLER "fermyon:spin/inbound-redis#handle-message"
#define SPIN_REALLOC "cabi_realloc"
#include "spin_redis.h"
#define PREFIX "operations:b:"
#include "operations.h"

// A result whose payload is at 4: a handle, a count, an optional list, or the case of an error with its text.
struct result {
	u8 tag, pad[3];
	union {
		u32 number;
		struct { u8 kind, pad2[3]; struct text bytes; }; // option and error alike
		struct { const void *items; u32 len; };
		struct text value;
	};
};
// A result with an s64, which puts the payload at 8.
struct wide_result {
	u8 tag, pad[7];
	union {
		s64 number;
		struct { u8 kind, pad2[3]; struct text bytes; };
	};
};

#define CONNECTION(name) IMPORT("fermyon:spin/redis@2.0.0", name)
CONNECTION("[static]connection.open") void connection_open(const char *address, u32, struct result *);
CONNECTION("[method]connection.publish") void connection_publish(u32 self, const char *channel, u32, const char *payload, u32, struct result *);
CONNECTION("[method]connection.get") void connection_get(u32 self, const char *key, u32, struct result *);
CONNECTION("[method]connection.set") void connection_set(u32 self, const char *key, u32, const char *value, u32, struct result *);
CONNECTION("[method]connection.incr") void connection_incr(u32 self, const char *key, u32, struct wide_result *);
CONNECTION("[method]connection.del") void connection_del(u32 self, const struct text *keys, u32, struct result *);
CONNECTION("[method]connection.sadd") void connection_sadd(u32 self, const char *key, u32, const struct text *members, u32, struct result *);
CONNECTION("[method]connection.srem") void connection_srem(u32 self, const char *key, u32, const struct text *members, u32, struct result *);
CONNECTION("[method]connection.smembers") void connection_smembers(u32 self, const char *key, u32, struct result *);
CONNECTION("[method]connection.execute") void connection_execute(u32 self, const char *command, u32, const struct redis_value *arguments, u32, struct result *);
CONNECTION("[resource-drop]connection") void connection_drop(u32 self);

IMPORT("fermyon:spin/variables@2.0.0", "get") void variables_get(const char *name, u32, struct result *);

#define STORE(name) IMPORT("fermyon:spin/key-value@2.0.0", name)
STORE("[static]store.open") void kv2_open(const char *label, u32, struct result *);
STORE("[method]store.get") void kv2_get(u32 self, const char *key, u32, struct result *);
STORE("[method]store.set") void kv2_set(u32 self, const char *key, u32, const char *value, u32, struct result *);
STORE("[resource-drop]store") void kv2_drop(u32 self);

static u32 connection;

// verdict names the case of a Redis error: each has a number, and the last a text.
static int verdict(u8 tag, u8 kind, struct text detail) {
	if (tag == 0)
		return 1;
	switch (kind) {
	case 0: why = TEXT("invalid-address"); break;
	case 1: why = TEXT("too-many-connections"); break;
	case 2: why = TEXT("type-error"); break;
	default: why = detail;
	}
	return 0;
}

static int redis_verdict(const struct result *r) { return verdict(r->tag, r->kind, r->bytes); }

static int get_variable(struct text name, struct text *value) {
	struct result r = {0};
	variables_get(ARG(name), &r);
	*value = r.value;
	why = r.bytes; // all four cases have a text
	return r.tag == 0;
}

static int connect(struct text address) {
	struct result r = {0};
	connection_open(ARG(address), &r);
	connection = r.number;
	return done(TEXT("open"), redis_verdict(&r));
}

static void disconnect(void) { connection_drop(connection); }

static int op_publish(struct text channel, struct text payload) {
	struct result r = {0};
	connection_publish(connection, ARG(channel), ARG(payload), &r);
	return redis_verdict(&r);
}

static int op_get(struct text key, struct text *value) {
	struct result r = {0};
	connection_get(connection, ARG(key), &r);
	*value = r.tag == 0 && r.kind == 1 ? r.bytes : TEXT("");
	return redis_verdict(&r);
}

static int op_set(struct text key, struct text value) {
	struct result r = {0};
	connection_set(connection, ARG(key), ARG(value), &r);
	return redis_verdict(&r);
}

static int op_incr(struct text key, s64 *n) {
	struct wide_result r = {0};
	connection_incr(connection, ARG(key), &r);
	*n = r.number;
	return verdict(r.tag, r.kind, r.bytes);
}

static int counted(const struct result *r, s64 *n) {
	*n = r->number;
	return redis_verdict(r);
}

static int op_del(const struct text *keys, u32 len, s64 *n) {
	struct result r = {0};
	connection_del(connection, keys, len, &r);
	return counted(&r, n);
}

static int op_sadd(struct text key, const struct text *members, u32 len, s64 *n) {
	struct result r = {0};
	connection_sadd(connection, ARG(key), members, len, &r);
	return counted(&r, n);
}

static int op_srem(struct text key, const struct text *members, u32 len, s64 *n) {
	struct result r = {0};
	connection_srem(connection, ARG(key), members, len, &r);
	return counted(&r, n);
}

static int op_smembers(struct text key, const struct text **members, u32 *len) {
	struct result r = {0};
	connection_smembers(connection, ARG(key), &r);
	*members = r.items, *len = r.len;
	return redis_verdict(&r);
}

static int op_execute(struct text command, const struct redis_value *arguments, u32 len, const struct redis_value **results, u32 *n) {
	struct result r = {0};
	connection_execute(connection, ARG(command), arguments, len, &r);
	*results = r.items, *n = r.len;
	return redis_verdict(&r);
}

// store_verdict names the case of a key-value error.
static int store_verdict(const struct result *r) {
	if (r->tag == 0)
		return 1;
	switch (r->kind) {
	case 0: why = TEXT("store-table-full"); break;
	case 1: why = TEXT("no-such-store"); break;
	case 2: why = TEXT("access-denied"); break;
	default: why = r->bytes;
	}
	return 0;
}

static int store_open(struct text label, u32 *store) {
	struct result r = {0};
	kv2_open(ARG(label), &r);
	*store = r.number;
	return store_verdict(&r);
}

static int store_set(u32 store, struct text key, struct text value) {
	struct result r = {0};
	kv2_set(store, ARG(key), ARG(value), &r);
	return store_verdict(&r);
}

static int store_get(u32 store, struct text key, struct text *value) {
	struct result r = {0};
	kv2_get(store, ARG(key), &r);
	*value = r.tag == 0 && r.kind == 1 ? r.bytes : TEXT("");
	return store_verdict(&r);
}

static void store_close(u32 store) { kv2_drop(store); }

// What makes this core module one of shape B for tools that turn it into a component: its world, encoded from wit/ by
// "wasm-tools component embed" (1.230). The path is relative to examples/, where build.sh runs the compiler.
__asm__(".section \".custom_section.component-type:redis-handler\",\"\",@\n"
	".incbin \"operations/component-type.bin\"\n");
