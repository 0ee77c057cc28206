// All operations in the ABI of Spin's first SDKs: an address with each call, and errors without a reason.
#include "spin_redis.h"
#define PREFIX "operations:a:"
#include "operations.h"

static struct text server;

static int verdict(u8 tag) {
	why = TEXT("error");
	return tag == 0;
}

static int with_detail(const struct text_result *r) {
	why = r->tag != 0 && r->detail.len > 0 ? r->detail : TEXT("error");
	return r->tag == 0;
}

static int get_variable(struct text name, struct text *value) {
	struct text_result r = {0};
	spin_get_config(ARG(name), &r);
	*value = r.value;
	return with_detail(&r);
}

static int connect(struct text address) {
	server = address;
	return 1;
}

static void disconnect(void) {}

static int op_publish(struct text channel, struct text payload) {
	struct unit_result r = {0};
	redis_publish(ARG(server), ARG(channel), ARG(payload), &r);
	return verdict(r.tag);
}

static int op_get(struct text key, struct text *value) {
	struct bytes_result r = {0};
	redis_get(ARG(server), ARG(key), &r);
	*value = r.value;
	return verdict(r.tag);
}

static int op_set(struct text key, struct text value) {
	struct unit_result r = {0};
	redis_set(ARG(server), ARG(key), ARG(value), &r);
	return verdict(r.tag);
}

static int op_incr(struct text key, s64 *n) {
	struct number_result r = {0};
	redis_incr(ARG(server), ARG(key), &r);
	*n = r.value;
	return verdict(r.tag);
}

static int op_del(const struct text *keys, u32 len, s64 *n) {
	struct number_result r = {0};
	redis_del(ARG(server), keys, len, &r);
	*n = r.value;
	return verdict(r.tag);
}

static int op_sadd(struct text key, const struct text *members, u32 len, s64 *n) {
	struct number_result r = {0};
	redis_sadd(ARG(server), ARG(key), members, len, &r);
	*n = r.value;
	return verdict(r.tag);
}

static int op_srem(struct text key, const struct text *members, u32 len, s64 *n) {
	struct number_result r = {0};
	redis_srem(ARG(server), ARG(key), members, len, &r);
	*n = r.value;
	return verdict(r.tag);
}

static int op_smembers(struct text key, const struct text **members, u32 *len) {
	struct list_result r = {0};
	redis_smembers(ARG(server), ARG(key), &r);
	*members = r.items, *len = r.len;
	return verdict(r.tag);
}

static int op_execute(struct text command, const struct redis_value *arguments, u32 len, const struct redis_value **results, u32 *n) {
	struct values_result r = {0};
	redis_execute(ARG(server), ARG(command), arguments, len, &r);
	*results = r.items, *n = r.len;
	return verdict(r.tag);
}

static int store_open(struct text label, u32 *store) {
	struct handle_result r = {0};
	kv_open(ARG(label), &r);
	why = r.tag != 0 && r.detail.len > 0 ? r.detail : TEXT("error");
	*store = r.handle;
	return r.tag == 0;
}

static int store_set(u32 store, struct text key, struct text value) {
	struct text_result r = {0};
	kv_set(store, ARG(key), ARG(value), &r);
	return with_detail(&r);
}

static int store_get(u32 store, struct text key, struct text *value) {
	struct text_result r = {0};
	kv_get(store, ARG(key), &r);
	*value = r.value;
	return with_detail(&r);
}

static void store_close(u32 store) { kv_close(store); }
