/*
 * The JSON cursor (model/scan.h). No recursion: mdl_scan_skip keeps the closing brackets that it
 * still expects on a small stack.
 */
#include "model/scan.h"

#include <string.h>

#define MAX_DEPTH 32

int mdl_scan_fail(const struct mdl_scan *s, struct lt_err *err, const char *what)
{
	return lt_fail(err, LT_EFORMAT, "%s: JSON, byte %zu: %s", s->file, s->at, what);
}

static void skip_space(struct mdl_scan *s)
{
	while (s->at < s->n && (s->text[s->at] == ' ' || s->text[s->at] == '\n' ||
				s->text[s->at] == '\t' || s->text[s->at] == '\r'))
		s->at++;
}

bool mdl_scan_eat(struct mdl_scan *s, char c)
{
	skip_space(s);
	if (s->at == s->n || s->text[s->at] != c)
		return false;
	s->at++;
	return true;
}

bool mdl_scan_end(struct mdl_scan *s)
{
	skip_space(s);
	return s->at == s->n;
}

int mdl_scan_expect(struct mdl_scan *s, char c, struct lt_err *err)
{
	if (mdl_scan_eat(s, c))
		return 0;
	return lt_fail(err, LT_EFORMAT, "%s: JSON, byte %zu: '%c' is missing", s->file, s->at, c);
}

int mdl_scan_next(struct mdl_scan *s, char close, bool *more, struct lt_err *err)
{
	*more = mdl_scan_eat(s, ',');
	if (*more || mdl_scan_eat(s, close))
		return 0;
	return lt_fail(err, LT_EFORMAT, "%s: JSON, byte %zu: ',' or '%c' is missing", s->file,
		       s->at, close);
}

static bool is_hex(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* Moves over the escape that begins at the backslash. */
static bool skip_escape(struct mdl_scan *s)
{
	char c;

	if (s->n - s->at < 2)
		return false;
	c = s->text[s->at + 1];
	if (c != 'u') {
		s->at += 2;
		return c && strchr("\"\\/bfnrt", c);
	}
	if (s->n - s->at < 6)
		return false;
	for (int i = 2; i < 6; i++) {
		if (!is_hex(s->text[s->at + (size_t)i]))
			return false;
	}
	s->at += 6;
	return true;
}

int mdl_scan_string(struct mdl_scan *s, const char **str, size_t *n, bool *escaped,
		    struct lt_err *err)
{
	if (!mdl_scan_eat(s, '"'))
		return mdl_scan_fail(s, err, "a string is missing");
	*str = s->text + s->at;
	*escaped = false;
	while (s->at < s->n && s->text[s->at] != '"') {
		if ((unsigned char)s->text[s->at] < 0x20)
			return mdl_scan_fail(s, err, "control character in a string");
		if (s->text[s->at] == '\\') {
			*escaped = true;
			if (!skip_escape(s))
				return mdl_scan_fail(s, err, "malformed escape in a string");
		} else {
			s->at++;
		}
	}
	if (s->at == s->n)
		return mdl_scan_fail(s, err, "a string has no end");
	*n = (size_t)(s->text + s->at - *str);
	s->at++;
	return 0;
}

int mdl_scan_u64(struct mdl_scan *s, uint64_t *v, struct lt_err *err)
{
	size_t start;

	skip_space(s);
	start = s->at;
	*v = 0;
	while (s->at < s->n && s->text[s->at] >= '0' && s->text[s->at] <= '9') {
		if (__builtin_mul_overflow(*v, 10, v) ||
		    __builtin_add_overflow(*v, (uint64_t)(s->text[s->at] - '0'), v))
			return mdl_scan_fail(s, err, "number too large");
		s->at++;
	}
	if (s->at == start || (s->at - start > 1 && s->text[start] == '0') ||
	    (s->at < s->n && s->text[s->at] && strchr(".eE", s->text[s->at])))
		return mdl_scan_fail(s, err, "a plain unsigned integer is needed");
	return 0;
}

/* A number or one of the three words, loosely: what stands there is not used. */
static int skip_scalar(struct mdl_scan *s, struct lt_err *err)
{
	static const char *const words[] = {"true", "false", "null"};
	size_t start = s->at;

	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
		size_t n = strlen(words[i]);
		if (s->n - s->at >= n && memcmp(s->text + s->at, words[i], n) == 0) {
			s->at += n;
			return 0;
		}
	}
	while (s->at < s->n && s->text[s->at] && strchr("+-.0123456789eE", s->text[s->at]))
		s->at++;
	return s->at > start ? 0 : mdl_scan_fail(s, err, "a value is missing");
}

/* The key and colon before an object's value. */
static int skip_key(struct mdl_scan *s, struct lt_err *err)
{
	const char *str;
	size_t n;
	bool escaped;
	int rc = mdl_scan_string(s, &str, &n, &escaped, err);

	return rc < 0 ? rc : mdl_scan_expect(s, ':', err);
}

/* One value, or the opening of one: then its closing bracket goes on the stack. *open: a container
 * was opened and is not empty. */
static int skip_one(struct mdl_scan *s, char *stack, size_t *depth, bool *open, struct lt_err *err)
{
	const char *str;
	size_t n;
	bool escaped;
	char close;

	*open = false;
	skip_space(s);
	if (s->at < s->n && s->text[s->at] == '"')
		return mdl_scan_string(s, &str, &n, &escaped, err);
	if (s->at == s->n || (s->text[s->at] != '{' && s->text[s->at] != '['))
		return skip_scalar(s, err);
	close = s->text[s->at] == '{' ? '}' : ']';
	s->at++;
	if (mdl_scan_eat(s, close))
		return 0;
	if (*depth == MAX_DEPTH)
		return mdl_scan_fail(s, err, "nested too deep, 32 levels are allowed");
	stack[(*depth)++] = close;
	*open = true;
	return 0;
}

int mdl_scan_skip(struct mdl_scan *s, struct lt_err *err)
{
	char stack[MAX_DEPTH];
	size_t depth = 0;
	bool more = true;
	int rc = 0;

	do {
		if (more && depth && stack[depth - 1] == '}')
			rc = skip_key(s, err);
		if (rc == 0)
			rc = skip_one(s, stack, &depth, &more, err);
		/* After a complete value: close what ends here. */
		while (rc == 0 && !more && depth) {
			rc = mdl_scan_next(s, stack[depth - 1], &more, err);
			if (rc == 0 && !more)
				depth--;
		}
	} while (rc == 0 && depth);
	return rc;
}
