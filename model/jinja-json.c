/*
 * The reader of the rendering's input: JSON (RFC 8259) to values. Integers and floats stay apart,
 * keys keep their order, of equal keys the last value holds. Strings without escapes are not
 * copied: they lie in the input. Nesting is bounded; nothing recurses deeper than that.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "model/jinja-run.h"

enum { MAX_NESTING = 128, MAX_DIGITS = 4300 };

struct reader {
	struct mdl_jrun *r;
	const char *s; // [n]
	size_t n, at;
	int depth;
};

static int read_value(struct reader *x, struct mdl_jval *out);

static int fail(struct reader *x, const char *what)
{
	return lt_fail(x->r->err, LT_EFORMAT, "input JSON, byte %zu: %s", x->at, what);
}

static char peek(const struct reader *x)
{
	return x->at < x->n ? x->s[x->at] : '\0';
}

static void skip_space(struct reader *x)
{
	while (x->at < x->n && (x->s[x->at] == ' ' || x->s[x->at] == '\t' || x->s[x->at] == '\n' ||
				x->s[x->at] == '\r'))
		x->at++;
}

static int hex4(const struct reader *x, size_t at, uint32_t *out)
{
	*out = 0;
	if (at + 4 > x->n)
		return -1;
	for (size_t i = at; i < at + 4; i++) {
		char c = (char)(x->s[i] | 32);

		if (x->s[i] >= '0' && x->s[i] <= '9')
			*out = *out * 16 + (uint32_t)(x->s[i] - '0');
		else if (c >= 'a' && c <= 'f')
			*out = *out * 16 + (uint32_t)(c - 'a' + 10);
		else
			return -1;
	}
	return 0;
}

/* \uXXXX, with a second one if it is the first half of a pair; a half alone is U+FFFD. */
static int read_unicode(struct reader *x, struct mdl_jsb *sb)
{
	uint32_t cp, low;

	if (hex4(x, x->at + 1, &cp) < 0)
		return fail(x, "malformed \\u escape");
	x->at += 5;
	if (cp >= 0xd800 && cp < 0xdc00 && x->at + 1 < x->n && x->s[x->at] == '\\' &&
	    x->s[x->at + 1] == 'u' && hex4(x, x->at + 2, &low) == 0 && low >= 0xdc00 &&
	    low < 0xe000) {
		cp = 0x10000 + ((cp - 0xd800) << 10) + (low - 0xdc00);
		x->at += 6;
	}
	return mdl_jsb_add_cp(x->r, sb, cp, false);
}

static int read_escape(struct reader *x, struct mdl_jsb *sb)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	const char *found;

	x->at++;
	if (peek(x) == 'u')
		return read_unicode(x, sb);
	found = peek(x) ? strchr(from, peek(x)) : NULL;
	if (!found)
		return fail(x, "unknown escape in a string");
	x->at++;
	return mdl_jsb_add(x->r, sb, &to[found - from], 1, false);
}

static int read_string(struct reader *x, struct mdl_jval *out)
{
	struct mdl_jsb sb = {0};
	size_t from = ++x->at;
	bool escaped = false;
	int rc = 0;

	while (rc == 0 && x->at < x->n && x->s[x->at] != '"') {
		if ((unsigned char)x->s[x->at] < 0x20)
			return fail(x, "control character in a string");
		if (x->s[x->at] != '\\') {
			x->at++;
			continue;
		}
		escaped = true;
		rc = mdl_jsb_add(x->r, &sb, x->s + from, x->at - from, false);
		if (rc == 0)
			rc = read_escape(x, &sb);
		from = x->at;
	}
	if (rc < 0)
		return rc;
	if (x->at >= x->n)
		return fail(x, "string without closing quote");
	x->at++;
	if (!escaped)
		return mdl_jstr_new(x->r, x->s + from, x->at - 1 - from, false, out);
	rc = mdl_jsb_add(x->r, &sb, x->s + from, x->at - 1 - from, false);
	return rc < 0 ? rc : mdl_jsb_finish(x->r, &sb, out);
}

static size_t skip_digits(struct reader *x)
{
	size_t from = x->at;

	while (peek(x) >= '0' && peek(x) <= '9')
		x->at++;
	return x->at - from;
}

/* An integer beyond 64 bits is kept as its text. */
static int finish_integer(struct reader *x, size_t from, struct mdl_jval *out)
{
	char buf[24];
	size_t n = x->at - from;
	int rc;

	if (n < sizeof(buf)) {
		memcpy(buf, x->s + from, n);
		buf[n] = '\0';
		errno = 0;
		*out = MDL_JINT(strtoll(buf, NULL, 10));
		if (errno != ERANGE)
			return 0;
	}
	if (n > MAX_DIGITS)
		return fail(x, "integer with more than 4300 digits");
	rc = mdl_jstr_new(x->r, x->s + from, n, false, out);
	out->kind = MDL_J_BIGINT;
	return rc;
}

static int read_number(struct reader *x, struct mdl_jval *out)
{
	size_t from = x->at, n;
	bool is_float = false;
	char *copy;

	x->at += peek(x) == '-';
	if (peek(x) == '0')
		x->at++;
	else if (skip_digits(x) == 0)
		return fail(x, "expected a value");
	if (peek(x) == '.') {
		is_float = true;
		x->at++;
		if (skip_digits(x) == 0)
			return fail(x, "expected digits after '.'");
	}
	if (peek(x) == 'e' || peek(x) == 'E') {
		is_float = true;
		x->at++;
		x->at += peek(x) == '+' || peek(x) == '-';
		if (skip_digits(x) == 0)
			return fail(x, "expected digits of an exponent");
	}
	if (!is_float)
		return finish_integer(x, from, out);
	n = x->at - from;
	copy = mdl_jarena_alloc(&x->r->arena, n + 1, 1);
	if (!copy)
		return mdl_jno_memory(x->r);
	memcpy(copy, x->s + from, n);
	copy[n] = '\0';
	*out = MDL_JFLOAT(strtod(copy, NULL));
	return 0;
}

static int read_word(struct reader *x, const char *word, struct mdl_jval value,
		     struct mdl_jval *out)
{
	size_t n = strlen(word);

	if (x->n - x->at < n || memcmp(x->s + x->at, word, n) != 0)
		return fail(x, "expected a value");
	x->at += n;
	*out = value;
	return 0;
}

static int read_array(struct reader *x, struct mdl_jval *out)
{
	struct mdl_jlb lb = {0};
	struct mdl_jval item;
	int rc = 0;

	x->at++;
	skip_space(x);
	if (peek(x) == ']') {
		x->at++;
		return mdl_jlb_finish(x->r, &lb, MDL_J_LIST, out);
	}
	for (;;) {
		rc = read_value(x, &item);
		if (rc < 0 || (rc = mdl_jlb_add(x->r, &lb, item)) < 0)
			return rc;
		skip_space(x);
		if (peek(x) != ',')
			break;
		x->at++;
	}
	if (peek(x) != ']')
		return fail(x, "expected ',' or ']'");
	x->at++;
	return mdl_jlb_finish(x->r, &lb, MDL_J_LIST, out);
}

static int add_pair(struct reader *x, struct mdl_jpair **v, size_t *n, size_t *cap)
{
	struct mdl_jpair pair;
	int rc;

	skip_space(x);
	if (peek(x) != '"')
		return fail(x, "expected a key in quotes");
	rc = read_string(x, &pair.key);
	if (rc < 0)
		return rc;
	skip_space(x);
	if (peek(x) != ':')
		return fail(x, "expected ':'");
	x->at++;
	rc = read_value(x, &pair.value);
	if (rc < 0)
		return rc;
	if (*n == *cap) {
		size_t want = *cap ? *cap * 2 : 8;
		void *p =
			mdl_jarena_grow(&x->r->arena, *v, *cap * sizeof(pair), want * sizeof(pair));

		if (!p)
			return mdl_jno_memory(x->r);
		*v = p;
		*cap = want;
	}
	(*v)[(*n)++] = pair;
	return 0;
}

static int read_object(struct reader *x, struct mdl_jval *out)
{
	struct mdl_jpair *v = NULL;
	size_t n = 0, cap = 0;
	int rc;

	x->at++;
	skip_space(x);
	if (peek(x) == '}') {
		x->at++;
		return mdl_jdict_new(x->r, NULL, 0, out);
	}
	for (;;) {
		rc = add_pair(x, &v, &n, &cap);
		if (rc < 0)
			return rc;
		skip_space(x);
		if (peek(x) != ',')
			break;
		x->at++;
	}
	if (peek(x) != '}')
		return fail(x, "expected ',' or '}'");
	x->at++;
	return mdl_jdict_new(x->r, v, n, out);
}

static int read_value(struct reader *x, struct mdl_jval *out)
{
	int rc;

	skip_space(x);
	switch (peek(x)) {
	case '"': return read_string(x, out);
	case 't': return read_word(x, "true", MDL_JBOOL(true), out);
	case 'f': return read_word(x, "false", MDL_JBOOL(false), out);
	case 'n': return read_word(x, "null", MDL_JNONE, out);
	case '{':
	case '[':
		if (x->depth == MAX_NESTING)
			return fail(x, "nested more than 128 deep");
		x->depth++;
		rc = peek(x) == '{' ? read_object(x, out) : read_array(x, out);
		x->depth--;
		return rc;
	default: return read_number(x, out);
	}
}

int mdl_jjson_read(struct mdl_jrun *r, const char *json, size_t n, struct mdl_jval *out)
{
	struct reader x = {.r = r, .s = json, .n = n};
	int rc;

	if (!lt_utf8_valid(json, n, &x.at))
		return fail(&x, "not valid UTF-8");
	x.at = 0;
	rc = read_value(&x, out);
	if (rc < 0)
		return rc;
	skip_space(&x);
	return x.at == n ? 0 : fail(&x, "text after the end of the value");
}
