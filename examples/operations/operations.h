// The sequence that both guests run, whatever their ABI: every outbound Redis operation, a variable and a key-value store.
// It includes spin_redis.h's vocabulary; the guest defines the functions declared first, which answer 1 for success and
// set why otherwise, and PREFIX, under which its keys live, so that both guests may run at once on one server.

static struct text why;

static int get_variable(struct text name, struct text *value);
static int connect(struct text address); // shape A has nothing to connect
static void disconnect(void);
static int op_publish(struct text channel, struct text payload);
static int op_get(struct text key, struct text *value); // a missing key is ""
static int op_set(struct text key, struct text value);
static int op_incr(struct text key, s64 *n);
static int op_del(const struct text *keys, u32 len, s64 *n);
static int op_sadd(struct text key, const struct text *members, u32 len, s64 *n);
static int op_srem(struct text key, const struct text *members, u32 len, s64 *n);
static int op_smembers(struct text key, const struct text **members, u32 *len);
static int op_execute(struct text command, const struct redis_value *arguments, u32 len, const struct redis_value **results, u32 *n);
static int store_open(struct text label, u32 *store);
static int store_set(u32 store, struct text key, struct text value);
static int store_get(u32 store, struct text key, struct text *value);
static void store_close(u32 store);

#define KEY(name) TEXT(PREFIX name)

// say prints one line, name=result, and answers 1, so that checks can be chained.
static int say(struct text name, struct text result) {
	print(name, TEXT("="), result, TEXT("\n"));
	return 1;
}

static int wrong(struct text name, struct text reason) {
	print(name, TEXT("=failed: "), reason, TEXT("\n"));
	return 0;
}

// Each of these prints what an operation answered, if it is what it should be.
static int done(struct text name, int ok) { return ok ? say(name, TEXT("ok")) : wrong(name, why); }

static int number(struct text name, int ok, s64 got, s64 want) {
	if (!ok)
		return wrong(name, why);
	return got == want ? say(name, decimal(got)) : wrong(name, decimal(got));
}

static int bytes(struct text name, int ok, struct text got, struct text want) {
	if (!ok)
		return wrong(name, why);
	return equal(got, want) ? say(name, got) : wrong(name, got);
}

static int publish(struct text message) { return done(TEXT("publish"), op_publish(KEY("done"), message)); }

static int strings(void) {
	struct text value = TEXT("");
	s64 n = 0;
	struct text keys[] = {KEY("text"), KEY("count"), KEY("set"), KEY("int")};
	if (!op_del(keys, 4, &n)) // what an earlier run left
		return wrong(TEXT("del"), why);
	if (!done(TEXT("set"), op_set(KEY("text"), TEXT("hello")) && op_set(KEY("count"), TEXT("41"))))
		return 0;
	int ok = op_get(KEY("text"), &value);
	if (!bytes(TEXT("get"), ok, value, TEXT("hello")))
		return 0;
	ok = op_get(KEY("missing"), &value);
	if (!ok || value.len != 0)
		return bytes(TEXT("get_missing"), ok, value, TEXT(""));
	ok = op_incr(KEY("count"), &n);
	if (!number(TEXT("incr"), ok, n, 42))
		return 0;
	keys[2] = KEY("missing");
	ok = op_del(keys, 3, &n);
	return number(TEXT("del"), ok, n, 2);
}

static int sets(void) {
	struct text members[] = {TEXT("bar"), TEXT("baz"), TEXT("bar")};
	const struct text *got = 0;
	u32 len = 0;
	s64 n = 0;
	int ok = op_sadd(KEY("set"), members, 3, &n);
	if (!number(TEXT("sadd"), ok, n, 2))
		return 0;
	if (!op_smembers(KEY("set"), &got, &len))
		return wrong(TEXT("smembers"), why);
	if (len != 2)
		return wrong(TEXT("smembers"), decimal(len));
	u32 first = equal(got[0], TEXT("bar")) ? 0 : 1; // a set has no order
	if (!equal(got[first], TEXT("bar")) || !equal(got[1 - first], TEXT("baz")))
		return wrong(TEXT("smembers"), got[0]);
	say(TEXT("smembers"), TEXT("bar,baz"));
	ok = op_srem(KEY("set"), members, 1, &n);
	return number(TEXT("srem"), ok, n, 1);
}

static struct redis_value binary(struct text t) { return (struct redis_value){.tag = 1, .bytes = t}; }

// execute sees every kind of argument and, but for an array, every kind of result.
static int execute(void) {
	struct redis_value set[] = {binary(KEY("int")), {.tag = 0, .number = -7}};
	struct redis_value missing[] = {binary(KEY("missing"))};
	const struct redis_value *r = 0;
	struct text name = TEXT("execute");
	u32 n = 0;
	if (!op_execute(TEXT("SET"), set, 2, &r, &n))
		return wrong(name, why);
	if (n != 1 || r->tag != 1 || !equal(r->bytes, TEXT("OK")))
		return wrong(name, TEXT("SET did not answer status OK"));
	if (!op_execute(TEXT("GET"), set, 1, &r, &n))
		return wrong(name, why);
	if (n != 1 || r->tag != 3 || !equal(r->bytes, TEXT("-7")))
		return wrong(name, TEXT("GET did not answer binary -7"));
	if (!op_execute(TEXT("INCR"), set, 1, &r, &n))
		return wrong(name, why);
	if (n != 1 || r->tag != 2 || r->number != -6)
		return wrong(name, TEXT("INCR did not answer int64 -6"));
	if (!op_execute(TEXT("GET"), missing, 1, &r, &n))
		return wrong(name, why);
	if (n != 1 || r->tag != 0)
		return wrong(name, TEXT("GET of a missing key did not answer nil"));
	return say(name, TEXT("OK,-7,-6,nil"));
}

static int key_value(void) {
	struct text value = TEXT("");
	u32 store = 0;
	if (!done(TEXT("kv_open"), store_open(TEXT("default"), &store)))
		return 0;
	if (!done(TEXT("kv_set"), store_set(store, KEY("text"), TEXT("kept"))))
		return 0;
	int ok = store_get(store, KEY("text"), &value);
	if (!bytes(TEXT("kv_get"), ok, value, TEXT("kept")))
		return 0;
	store_close(store);
	return 1;
}

int handle_message(struct text message) {
	struct text address;
	if (!done(TEXT("variable"), get_variable(TEXT("redis_address"), &address)))
		return FAILED;
	if (!connect(address))
		return FAILED;
	int ok = publish(message) && strings() && sets() && execute();
	disconnect();
	return ok && key_value() ? OK : FAILED;
}
