// greet says hello to whoever the message names: {"name":"Ada"}, or else the message itself.
#include "spin_redis.h"

// One pass over a JSON text. A scanner that failed stays failed, so callers ask once.
struct scanner {
	const char *p, *end;
	int failed;
};

static void space(struct scanner *s) {
	while (s->p < s->end && (*s->p == ' ' || *s->p == '\t' || *s->p == '\n' || *s->p == '\r'))
		s->p++;
}

// take steps over c after white space, or answers 0 and stays.
static int take(struct scanner *s, char c) {
	space(s);
	if (s->p == s->end || *s->p != c)
		return 0;
	s->p++;
	return 1;
}

static void expect(struct scanner *s, char c) {
	if (!take(s, c))
		s->failed = 1;
}

// hex4 reads the four digits of \uXXXX, or answers -1.
static int hex4(const char *p, const char *end) {
	int n = 0;
	if (end - p < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		char c = p[i], lower = c | 0x20;
		if (c >= '0' && c <= '9')
			n = n << 4 | (c - '0');
		else if (lower >= 'a' && lower <= 'f')
			n = n << 4 | (lower - 'a' + 10);
		else
			return -1;
	}
	return n;
}

static char *utf8(char *to, u32 c) {
	if (c < 0x80) {
		*to++ = c;
		return to;
	}
	if (c < 0x800) {
		*to++ = 0xc0 | c >> 6;
	} else {
		if (c < 0x10000) {
			*to++ = 0xe0 | c >> 12;
		} else {
			*to++ = 0xf0 | c >> 18;
			*to++ = 0x80 | (c >> 12 & 0x3f);
		}
		*to++ = 0x80 | (c >> 6 & 0x3f);
	}
	*to++ = 0x80 | (c & 0x3f);
	return to;
}

// escaped decodes what follows \u, surrogate pairs included. Half a pair is U+FFFD.
static char *escaped(struct scanner *s, char *to) {
	int c = hex4(s->p, s->end);
	if (c < 0) {
		s->failed = 1;
		return to;
	}
	s->p += 4;
	if (c < 0xd800 || c > 0xdfff)
		return utf8(to, c);
	if (c < 0xdc00 && s->end - s->p >= 6 && s->p[0] == '\\' && s->p[1] == 'u') {
		int low = hex4(s->p + 2, s->end);
		if (low >= 0xdc00 && low <= 0xdfff) {
			s->p += 6;
			return utf8(to, 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00));
		}
	}
	return utf8(to, 0xfffd);
}

static char unescaped(char c) {
	switch (c) {
	case '"': case '\\': case '/': return c;
	case 'b': return '\b';
	case 'f': return '\f';
	case 'n': return '\n';
	case 'r': return '\r';
	case 't': return '\t';
	}
	return 0;
}

// string decodes a JSON string. No escape is shorter than what it stands for, so the rest of the input bounds the room.
static struct text string(struct scanner *s, char *room) {
	char *to = room;
	expect(s, '"');
	while (!s->failed) {
		if (s->p == s->end || (u8)*s->p < 0x20)
			break;
		char c = *s->p++;
		if (c == '"')
			return (struct text){room, to - room};
		if (c != '\\') {
			*to++ = c;
			continue;
		}
		if (s->p == s->end)
			break;
		c = *s->p++;
		if (c == 'u')
			to = escaped(s, to);
		else if ((*to = unescaped(c)))
			to++;
		else
			break;
	}
	s->failed = 1;
	return (struct text){room, 0};
}

static int scalar(char c) {
	char lower = c | 0x20;
	return (lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.';
}

// skip steps over one value of any kind. Depth is counted, not recursed into: the stack is small and the input is not ours.
static void skip(struct scanner *s, char *room) {
	int depth = 0;
	do {
		space(s);
		if (s->p == s->end) {
			s->failed = 1;
			return;
		}
		char c = *s->p;
		if (c == '"') {
			string(s, room);
		} else if (c == '{' || c == '[') {
			depth++, s->p++;
		} else if (c == '}' || c == ']') {
			if (--depth < 0)
				s->failed = 1;
			s->p++;
		} else if (depth > 0 && (c == ',' || c == ':')) {
			s->p++;
		} else {
			const char *start = s->p; // a number, true, false or null
			while (s->p < s->end && scalar(*s->p))
				s->p++;
			if (s->p == start)
				s->failed = 1;
		}
	} while (depth > 0 && !s->failed);
}

// name finds the string under the key "name" of a JSON object, or answers the message.
static struct text name(struct text message) {
	struct scanner s = {message.at, message.at + message.len, 0};
	char *room = allocate(1, message.len), *kept = allocate(1, message.len);
	struct text found = message;
	expect(&s, '{');
	if (take(&s, '}'))
		return message;
	do {
		int named = equal(string(&s, room), TEXT("name"));
		expect(&s, ':');
		space(&s);
		if (named && s.p < s.end && *s.p == '"')
			found = string(&s, kept); // of two, the later one, as JSON parsers do
		else
			skip(&s, room);
	} while (!s.failed && take(&s, ','));
	expect(&s, '}');
	space(&s);
	return s.failed || s.p != s.end ? message : found;
}

// printable makes control characters spaces, so that one greeting is one line.
static struct text printable(struct text t) {
	char *copy = allocate(1, t.len);
	for (u32 i = 0; i < t.len; i++)
		copy[i] = (u8)t.at[i] < 0x20 || t.at[i] == 0x7f ? ' ' : t.at[i];
	return (struct text){copy, t.len};
}

int handle_message(struct text message) {
	print(TEXT("Hello, "), printable(name(message)), TEXT("\n"));
	return OK;
}
