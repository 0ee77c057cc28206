// Loops as C programs have them, for the benchmarks: each takes how often to do its work and gives something that depends on all of it.
// Build with build.sh.
typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;
#define EXPORT(name) __attribute__((export_name(name), noinline))

static u8 bytes[1 << 16], others[1 << 16];
static u64 words[1 << 13], copies[1 << 13];

EXPORT("empty") u32 empty(u32 n) {
	for (u32 i = n * 1000; i != 0; i--)
		__asm__ volatile("");
	return n;
}

EXPORT("lcg") u32 lcg(u32 n) {
	u32 x = n;
	for (u32 i = 0; i < n * 1000; i++)
		x = x * 1664525u + 1013904223u;
	return x;
}

EXPORT("xorshift") u64 xorshift(u32 n) {
	u64 x = 88172645463325252ull;
	for (u32 i = 0; i < n * 1000; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
	}
	return x;
}

EXPORT("sieve") u32 sieve(u32 n) {
	u32 primes = 0;
	while (n--) {
		primes = 0;
		for (u32 i = 2; i < 8192; i++)
			bytes[i] = 1;
		for (u32 i = 2; i < 8192; i++) {
			if (!bytes[i])
				continue;
			primes++;
			for (u32 j = i + i; j < 8192; j += i)
				bytes[j] = 0;
		}
	}
	return primes;
}

EXPORT("bytecopy") u32 bytecopy(u32 n) {
	while (n--)
		for (u32 i = 0; i < 4096; i++)
			others[i] = bytes[i];
	return others[17];
}

EXPORT("wordcopy") u64 wordcopy(u32 n) {
	while (n--)
		for (u32 i = 0; i < 4096; i++)
			copies[i] = words[i];
	return copies[17];
}

EXPORT("sum") u64 sum(u32 n) {
	u64 s = 0;
	while (n--)
		for (u32 i = 0; i < 4096; i++)
			s += words[i];
	return s;
}

static __attribute__((noinline)) u32 fibonacci(u32 n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }
EXPORT("fib") u32 fib(u32 n) {
	u32 s = 0;
	while (n--)
		s += fibonacci(8 + (n & 7));
	return s;
}

static __attribute__((noinline)) u32 hash(const u8 *p, u32 n) {
	u32 h = 2166136261u;
	for (u32 i = 0; i < n; i++)
		h = (h ^ p[i]) * 16777619u;
	return h;
}

static u32 table[256];
static __attribute__((noinline)) void count(u32 h) {
	u32 i = h & 255;
	while (table[i] && (table[i] >> 8) != (h >> 8))
		i = (i + 1) & 255;
	table[i] = (h & ~255u) | 1;
}

EXPORT("mixed") u32 mixed(u32 n) {
	u32 s = 0;
	while (n--) {
		for (u32 i = 0; i < 256; i++)
			table[i] = 0;
		for (u32 i = 0; i < 128; i++) {
			bytes[i] = (u8)(n + i * 7);
			u32 h = hash(bytes, 8 + (i & 31));
			if (h & 1)
				count(h);
			else
				s ^= h >> 3;
		}
	}
	return s;
}
