// Every import of the second generation: fermyon:spin 2.0.0, wasi:config and wasi:keyvalue (shape B).
#include "guest.h"

#define REDIS "fermyon:spin/redis@2.0.0"
#define KV "fermyon:spin/key-value@2.0.0"
#define STORE "wasi:keyvalue/store@0.2.0-draft2"
#define ATOMICS "wasi:keyvalue/atomics@0.2.0-draft2"
#define BATCH "wasi:keyvalue/batch@0.2.0-draft2"
#define CONFIG "wasi:config/store@0.2.0-draft-2024-09-27"

IMPORT(REDIS, "[static]connection.open") void open(u32, u32, u32);
IMPORT(REDIS, "[method]connection.publish") void publish(u32, u32, u32, u32, u32, u32);
IMPORT(REDIS, "[method]connection.get") void get(u32, u32, u32, u32);
IMPORT(REDIS, "[method]connection.set") void set(u32, u32, u32, u32, u32, u32);
IMPORT(REDIS, "[method]connection.incr") void incr(u32, u32, u32, u32);
IMPORT(REDIS, "[method]connection.del") void del(u32, u32, u32, u32);
IMPORT(REDIS, "[method]connection.sadd") void sadd(u32, u32, u32, u32, u32, u32);
IMPORT(REDIS, "[method]connection.smembers") void smembers(u32, u32, u32, u32);
IMPORT(REDIS, "[method]connection.srem") void srem(u32, u32, u32, u32, u32, u32);
IMPORT(REDIS, "[method]connection.execute") void execute(u32, u32, u32, u32, u32, u32);
IMPORT(REDIS, "[resource-drop]connection") void drop(u32);
IMPORT("fermyon:spin/variables@2.0.0", "get") void variable(u32, u32, u32);
IMPORT(KV, "[static]store.open") void kv_open(u32, u32, u32);
IMPORT(KV, "[method]store.get") void kv_get(u32, u32, u32, u32);
IMPORT(KV, "[method]store.set") void kv_set(u32, u32, u32, u32, u32, u32);
IMPORT(KV, "[method]store.delete") void kv_delete(u32, u32, u32, u32);
IMPORT(KV, "[method]store.exists") void kv_exists(u32, u32, u32, u32);
IMPORT(KV, "[method]store.get-keys") void kv_keys(u32, u32);
IMPORT(KV, "[resource-drop]store") void kv_drop(u32);
IMPORT(STORE, "open") void w_open(u32, u32, u32);
IMPORT(STORE, "[method]bucket.get") void w_get(u32, u32, u32, u32);
IMPORT(STORE, "[method]bucket.set") void w_set(u32, u32, u32, u32, u32, u32);
IMPORT(STORE, "[method]bucket.delete") void w_delete(u32, u32, u32, u32);
IMPORT(STORE, "[method]bucket.exists") void w_exists(u32, u32, u32, u32);
IMPORT(STORE, "[method]bucket.list-keys") void w_keys(u32, u32, u32, u32, u32);
IMPORT(STORE, "[resource-drop]bucket") void w_drop(u32);
IMPORT(ATOMICS, "increment") void w_increment(u32, u32, u32, s64, u32);
IMPORT(ATOMICS, "[static]cas.new") void cas_new(u32, u32, u32, u32);
IMPORT(ATOMICS, "[method]cas.current") void cas_current(u32, u32);
IMPORT(ATOMICS, "swap") void cas_swap(u32, u32, u32, u32);
IMPORT(ATOMICS, "[resource-drop]cas") void cas_drop(u32);
IMPORT(BATCH, "get-many") void get_many(u32, u32, u32, u32);
IMPORT(BATCH, "set-many") void set_many(u32, u32, u32, u32);
IMPORT(BATCH, "delete-many") void delete_many(u32, u32, u32, u32);
IMPORT(CONFIG, "get") void config_get(u32, u32, u32);
IMPORT(CONFIG, "get-all") void config_all(u32);

EXPORT("cabi_realloc") void *export_realloc(u8 *old, u32 old_size, u32 align, u32 size) { return reallocate(old, old_size, align, size); }

struct option { u8 tag; str some; };
struct unit { u8 tag; struct error err; };
struct u32r { u8 tag; union { u32 ok; u8 flag; struct error err; }; };
struct listr { u8 tag; union { str ok; struct error err; }; };
struct optr { u8 tag; union { struct option ok; struct error err; }; };
struct s64r { u8 tag; union { s64 ok; struct error err; }; };
struct keysr { u8 tag; union { struct { str keys; struct option cursor; } ok; struct error err; }; };
struct cas_error { u8 tag; union { struct error store; u32 cas; }; };
struct swapr { u8 tag; struct cas_error err; };
struct pair { str key; struct option value; };

_Static_assert(sizeof(struct unit) == 16 && sizeof(struct optr) == 16 && sizeof(struct listr) == 16, "16 bytes");
_Static_assert(sizeof(struct s64r) == 24 && sizeof(struct keysr) == 24 && sizeof(struct swapr) == 20 && sizeof(struct pair) == 20, "the rest");

static u8 texted; // the case of the error at hand that holds a string

static void reenter(void) {
	struct listr r;
	variable(U("x"), 1, U(&r));
}

static void fail(struct error *e) { failed(e->tag, e->tag == texted || texted == 9 ? &e->text : 0); }
static void show_unit(struct unit *r) {
	if (r->tag) fail(&r->err);
	else text("ok");
}
static void show_u32(struct u32r *r) {
	if (r->tag) fail(&r->err);
	else text("ok "), number(r->ok);
}
static void show_option(struct option *o) {
	if (o->tag == 0) text("none");
	else if (o->tag == 1) text("ok "), show(o->some);
	else text("option?");
}
static void show_optr(struct optr *r) {
	if (r->tag) fail(&r->err);
	else show_option(&r->ok);
}
static void show_s64(struct s64r *r) {
	if (r->tag) fail(&r->err);
	else text("ok "), number(r->ok);
}

static void redis(void) {
	texted = 3;
	AREA(u32r, c);
	open(S(field[2]), U(&c));
	if (c.tag) {
		fail(&c.err);
		return;
	}
	str a = field[3], b = field[4];
	AREA(unit, u);
	AREA(u32r, n);
	AREA(optr, o);
	AREA(listr, l);
	AREA(s64r, i);
	if (is("publish")) publish(c.ok, S(a), S(b), U(&u)), show_unit(&u);
	else if (is("set")) set(c.ok, S(a), S(b), U(&u)), show_unit(&u);
	else if (is("get")) get(c.ok, S(a), U(&o)), show_optr(&o);
	else if (is("incr")) incr(c.ok, S(a), U(&i)), show_s64(&i);
	else if (is("del")) del(c.ok, S(list(3)), U(&n)), show_u32(&n);
	else if (is("sadd")) sadd(c.ok, S(a), S(list(4)), U(&n)), show_u32(&n);
	else if (is("srem")) srem(c.ok, S(a), S(list(4)), U(&n)), show_u32(&n);
	else if (is("smembers")) {
		smembers(c.ok, S(a), U(&l));
		if (l.tag) fail(&l.err);
		else text("ok "), shows(l.ok);
	} else if (is("execute")) {
		execute(c.ok, S(a), S(parameters(4)), U(&l));
		if (l.tag) fail(&l.err);
		else text("ok "), values(l.ok);
	} else if (is("open-many")) { // a: how many, one byte times 64
		u32 opened = 1;
		for (u32 k = a.p[0] * 64; k > 1; k--, opened++) {
			open(S(field[2]), U(&c));
			if (c.tag) break;
		}
		number(opened), byte(' ');
		show_u32(&c);
		return; // left open: the host closes them
	} else if (is("use-dropped")) drop(c.ok), get(c.ok, S(a), U(&o));
	else if (is("drop-twice")) drop(c.ok), drop(c.ok);
	else if (is("foreign")) { // a store handle as a connection
		AREA(u32r, s);
		kv_open(S(b), U(&s));
		get(s.ok, S(a), U(&o));
	} else if (is("raw-publish")) publish(c.ok, raw(3), raw(4), raw(5), raw(6), raw(7));
	else if (is("raw-get")) get(c.ok, raw(3), raw(4), raw(5));
	else if (is("raw-del")) del(c.ok, raw(3), raw(4), raw(5));
	else if (is("raw-sadd")) sadd(c.ok, raw(3), raw(4), raw(5), raw(6), raw(7));
	else if (is("raw-execute")) execute(c.ok, raw(3), raw(4), raw(5), raw(6), raw(7));
	else if (is("raw-incr")) incr(c.ok, raw(3), raw(4), raw(5));
	drop(c.ok);
}

static void store(void) {
	texted = 3;
	AREA(u32r, s);
	kv_open(S(field[2]), U(&s));
	if (s.tag) {
		fail(&s.err);
		return;
	}
	AREA(unit, u);
	AREA(u32r, n);
	AREA(optr, o);
	AREA(listr, l);
	str key = field[3];
	if (is("kv-set")) kv_set(s.ok, S(key), S(field[4]), U(&u)), show_unit(&u);
	else if (is("kv-delete")) kv_delete(s.ok, S(key), U(&u)), show_unit(&u);
	else if (is("kv-exists")) {
		kv_exists(s.ok, S(key), U(&n));
		if (n.tag) fail(&n.err);
		else text("ok "), number(n.flag);
	} else if (is("kv-keys")) {
		kv_keys(s.ok, U(&l));
		if (l.tag) fail(&l.err);
		else text("ok "), shows(l.ok);
	} else if (is("kv-closed")) kv_drop(s.ok), kv_get(s.ok, S(key), U(&o));
	else kv_get(s.ok, S(key), U(&o)), show_optr(&o);
	kv_drop(s.ok);
}

static void bucket(void) {
	texted = 2;
	AREA(u32r, s);
	w_open(S(field[2]), U(&s));
	if (s.tag) {
		fail(&s.err);
		return;
	}
	AREA(unit, u);
	AREA(u32r, n);
	AREA(optr, o);
	AREA(keysr, k);
	AREA(s64r, i);
	AREA(swapr, w);
	AREA(listr, l);
	str key = field[3];
	if (is("w-set")) w_set(s.ok, S(key), S(field[4]), U(&u)), show_unit(&u);
	else if (is("w-get")) w_get(s.ok, S(key), U(&o)), show_optr(&o);
	else if (is("w-delete")) w_delete(s.ok, S(key), U(&u)), show_unit(&u);
	else if (is("w-exists")) {
		w_exists(s.ok, S(key), U(&n));
		if (n.tag) fail(&n.err);
		else text("ok "), number(n.flag);
	} else if (is("w-keys")) { // with a cursor where there is a third field
		w_keys(s.ok, fields > 3, S(key), U(&k));
		if (k.tag) fail(&k.err);
		else text("ok "), shows(k.ok.keys), text(k.ok.cursor.tag ? " cursor" : " end");
	} else if (is("w-increment")) {
		w_increment(s.ok, S(key), (s64)(le(field[4].p) | (u64)le(field[4].p + 4) << 32), U(&i)), show_s64(&i);
	} else if (is("w-swap")) { // key, new value, and where there is a fifth field: what somebody sets meanwhile
		cas_new(s.ok, S(key), U(&n));
		if (n.tag) {
			fail(&n.err);
		} else {
			cas_current(n.ok, U(&o)), show_optr(&o), text(" -> ");
			if (fields > 5) w_set(s.ok, S(key), S(field[5]), U(&u));
			cas_swap(n.ok, S(field[4]), U(&w));
			if (!w.tag) text("ok");
			else if (!w.err.tag) text("store "), fail(&w.err.store);
			else text("failed, now "), cas_current(w.err.cas, U(&o)), show_optr(&o), cas_drop(w.err.cas);
		}
	} else if (is("w-set-many")) set_many(s.ok, U(&field[3]), (fields - 3) / 2, U(&u)), show_unit(&u);
	else if (is("w-delete-many")) delete_many(s.ok, S(list(3)), U(&u)), show_unit(&u);
	else if (is("w-get-many")) {
		get_many(s.ok, S(list(3)), U(&l));
		if (l.tag) fail(&l.err);
		else {
			text("ok");
			struct pair *p = (struct pair *)l.ok.p;
			for (u32 j = 0; j < l.ok.n; j++, p++) byte(' '), show(p->key), byte('='), show_option(&p->value);
		}
	}
	w_drop(s.ok);
}

EXPORT("fermyon:spin/inbound-redis#handle-message") u8 *handle(u8 *payload, u32 n) {
	static u8 result[2];
	parse(payload, n);
	mode = field[0].p[0] - '0';
	AREA(listr, r);
	AREA(optr, o);
	texted = 9;
	if (is("config")) {
		variable(S(field[2]), U(&r));
		if (r.tag) fail(&r.err);
		else text("ok "), show(r.ok);
	} else if (is("w-config")) config_get(S(field[2]), U(&o)), show_optr(&o);
	else if (is("w-config-all")) {
		config_all(U(&r));
		if (r.tag) fail(&r.err);
		else text("ok "), shows((str){r.ok.p, r.ok.n * 2}); // tuples of two strings lie like twice as many strings
	} else if (field[1].n > 2 && field[1].p[0] == 'w') bucket();
	else if (field[1].n > 2 && field[1].p[0] == 'k') store();
	else redis();
	flush();
	return result;
}
