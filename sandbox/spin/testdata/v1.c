// Every import of the first generation: spin 1's names (shape A), or with -DUNVERSIONED the same shapes as fermyon:spin packages (shape B).
#include "guest.h"

#ifdef UNVERSIONED
#define REDIS "fermyon:spin/redis"
#define CONFIG "fermyon:spin/config"
#define KV "fermyon:spin/key-value"
#define HTTP "fermyon:spin/http"
#define REQUEST "send-request"
#define REALLOC "cabi_realloc"
#define HANDLE "fermyon:spin/inbound-redis#handle-message"
#else
#define REDIS "outbound-redis"
#define CONFIG "spin-config"
#define KV "key-value"
#define HTTP "wasi-outbound-http"
#define REQUEST "request"
#define REALLOC "canonical_abi_realloc"
#define HANDLE "handle-redis-message"
#endif

IMPORT(REDIS, "publish") void publish(u32, u32, u32, u32, u32, u32, u32);
IMPORT(REDIS, "get") void get(u32, u32, u32, u32, u32);
IMPORT(REDIS, "set") void set(u32, u32, u32, u32, u32, u32, u32);
IMPORT(REDIS, "incr") void incr(u32, u32, u32, u32, u32);
IMPORT(REDIS, "del") void del(u32, u32, u32, u32, u32);
IMPORT(REDIS, "sadd") void sadd(u32, u32, u32, u32, u32, u32, u32);
IMPORT(REDIS, "smembers") void smembers(u32, u32, u32, u32, u32);
IMPORT(REDIS, "srem") void srem(u32, u32, u32, u32, u32, u32, u32);
IMPORT(REDIS, "execute") void execute(u32, u32, u32, u32, u32, u32, u32);
IMPORT(CONFIG, "get-config") void get_config(u32, u32, u32);
IMPORT(HTTP, REQUEST) void request(u32, u32, u32, u32, u32, u32, u32, u32, u32, u32, u32);
IMPORT(KV, "open") void kv_open(u32, u32, u32);
IMPORT(KV, "get") void kv_get(u32, u32, u32, u32);
IMPORT(KV, "set") void kv_set(u32, u32, u32, u32, u32, u32);
IMPORT(KV, "delete") void kv_delete(u32, u32, u32, u32);
IMPORT(KV, "exists") void kv_exists(u32, u32, u32, u32);
IMPORT(KV, "get-keys") void kv_keys(u32, u32);
IMPORT(KV, "close") void kv_close(u32);

EXPORT(REALLOC) void *export_realloc(u8 *old, u32 old_size, u32 align, u32 size) { return reallocate(old, old_size, align, size); }

struct unit { u8 tag, err; };
struct list { u8 tag; union { str ok; u8 err; }; };
struct s64r { u8 tag; union { s64 ok; u8 err; }; };
struct strr { u8 tag; union { str ok; struct error err; }; };
struct u32r { u8 tag; union { u32 ok; u8 flag; struct error err; }; };
struct option { u8 tag; str some; };
struct response { u16 status; struct option headers, body; };
struct http { u8 tag; union { struct response ok; u8 err; }; };

static void reenter(void) {
	struct strr r;
	get_config(U("x"), 1, U(&r));
}

static void show_unit(struct unit *r) {
	if (r->tag) failed(r->err, 0);
	else text("ok");
}
static int show_list(struct list *r) {
	if (r->tag) failed(r->err, 0);
	else text("ok ");
	return !r->tag;
}
static void show_s64(struct s64r *r) {
	if (r->tag) failed(r->err, 0);
	else text("ok "), number(r->ok);
}
static void show_error(struct error *e, u8 with) { failed(e->tag, e->tag == with || with == 9 ? &e->text : 0); }

static void redis(void) {
	str a = field[2], b = field[3], c = field[4];
	AREA(unit, u);
	AREA(list, l);
	AREA(s64r, n);
	if (is("publish")) publish(S(a), S(b), S(c), U(&u)), show_unit(&u);
	else if (is("set")) set(S(a), S(b), S(c), U(&u)), show_unit(&u);
	else if (is("get")) {
		get(S(a), S(b), U(&l));
		if (show_list(&l)) show(l.ok);
	} else if (is("incr")) incr(S(a), S(b), U(&n)), show_s64(&n);
	else if (is("del")) del(S(a), S(list(3)), U(&n)), show_s64(&n);
	else if (is("sadd")) sadd(S(a), S(b), S(list(4)), U(&n)), show_s64(&n);
	else if (is("srem")) srem(S(a), S(b), S(list(4)), U(&n)), show_s64(&n);
	else if (is("smembers")) {
		smembers(S(a), S(b), U(&l));
		if (show_list(&l)) shows(l.ok);
	} else if (is("execute")) {
		execute(S(a), S(b), S(parameters(4)), U(&l));
		if (show_list(&l)) values(l.ok);
	}
}

static void store(void) { // label, then what the operation takes
	AREA(u32r, o);
	kv_open(S(field[2]), U(&o));
	if (o.tag) {
		show_error(&o.err, 5);
		return;
	}
	str key = field[3];
	AREA(u32r, r);
	AREA(strr, v);
	if (is("kv-closed")) kv_close(o.ok), kv_close(o.ok), kv_close(777);
	if (is("kv-set")) {
		kv_set(o.ok, S(key), S(field[4]), U(&r));
		if (r.tag) show_error(&r.err, 5);
		else text("ok");
	} else if (is("kv-delete")) {
		kv_delete(o.ok, S(key), U(&r));
		if (r.tag) show_error(&r.err, 5);
		else text("ok");
	} else if (is("kv-exists")) {
		kv_exists(o.ok, S(key), U(&r));
		if (r.tag) show_error(&r.err, 5);
		else text("ok "), number(r.flag);
	} else if (is("kv-keys")) {
		kv_keys(o.ok, U(&v));
		if (v.tag) show_error(&v.err, 5);
		else text("ok "), shows(v.ok);
	} else {
		kv_get(o.ok, S(key), U(&v));
		if (v.tag) show_error(&v.err, 5);
		else text("ok "), show(v.ok);
	}
	kv_close(o.ok);
}

static void fetch(void) { // method, uri, "b" and the body or nothing, then header names and values
	AREA(http, r);
	u32 headers = (fields - 5) / 2;
	request(field[2].p[0] - '0', S(field[3]), U(&field[5]), headers, 0, 0, field[4].n > 0, U(field[4].p + 1), field[4].n - 1, U(&r));
	if (r.tag) {
		failed(r.err, 0);
		return;
	}
	text("ok "), number(r.ok.status);
	str *h = (str *)r.ok.headers.some.p;
	for (u32 i = 0; r.ok.headers.tag == 1 && i < r.ok.headers.some.n; i++) {
		if (h[2 * i].n && h[2 * i].p[0] == 'x') byte(' '), show(h[2 * i]), byte('='), show(h[2 * i + 1]);
	}
	if (r.ok.body.tag == 1) text(" body "), show(r.ok.body.some);
}

EXPORT(HANDLE) u8 *handle(u8 *payload, u32 n) {
	static u8 result[2];
	parse(payload, n);
	mode = field[0].p[0] - '0';
	if (is("raw-publish")) publish(raw(2), raw(3), raw(4), raw(5), raw(6), raw(7), raw(8));
	else if (is("raw-get")) get(raw(2), raw(3), raw(4), raw(5), raw(6));
	else if (is("raw-del")) del(raw(2), raw(3), raw(4), raw(5), raw(6));
	else if (is("raw-execute")) execute(raw(2), raw(3), raw(4), raw(5), raw(6), raw(7), raw(8));
	else if (is("raw-request")) request(raw(2), 0, 0, 0, 0, 0, 0, raw(3), 0, 0, U(result));
	else if (is("raw-incr")) incr(raw(2), raw(3), raw(4), raw(5), raw(6));
	else if (is("config")) {
		AREA(strr, r);
		get_config(S(field[2]), U(&r));
		if (r.tag) show_error(&r.err, 9);
		else text("ok "), show(r.ok);
	} else if (is("http")) fetch();
	else if (field[1].n > 3 && field[1].p[0] == 'k' && field[1].p[1] == 'v') store();
	else redis();
	flush();
	return result;
}
