/*
 * String operations behind filters and methods.
 */
#define _GNU_SOURCE /* memmem */
#include "model/jinja-text.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "model/jinja-unicode.h"

int mdl_jarg_int(struct mdl_jrun *r, struct mdl_jval v, int64_t otherwise, int64_t *out)
{
	*out = otherwise;
	if (v.kind == MDL_J_MISSING || v.kind == MDL_J_NONE || mdl_jinteger(v, out))
		return 0;
	if (v.kind == MDL_J_UNDEF)
		return mdl_jfail_undef(r, v);
	return mdl_jfail(r, "'%s' object cannot be interpreted as an integer", mdl_jtype_name(v));
}

int mdl_jarg_str(struct mdl_jrun *r, struct mdl_jval v, const struct mdl_jstr **out)
{
	*out = NULL;
	if (v.kind == MDL_J_MISSING || v.kind == MDL_J_NONE)
		return 0;
	if (v.kind != MDL_J_STR)
		return mdl_jfail(r, "expected a string, not %s", mdl_jtype_name(v));
	*out = v.s;
	return 0;
}

/* --- case -------------------------------------------------------------------------------------- */

static bool is_cased(uint32_t cp)
{
	return mdl_juni_is_upper(cp) || mdl_juni_is_lower(cp);
}

static bool word_starts_after(uint32_t cp)
{
	return mdl_juni_is_space(cp) || cp == '-' || cp == '(' || cp == '{' || cp == '[' ||
	       cp == '<';
}

static bool wants_upper(enum mdl_jcase how, uint32_t cp, uint32_t before, bool first)
{
	switch (how) {
	case MDL_J_UPPER: return true;
	case MDL_J_LOWER: return false;
	case MDL_J_CAPITALIZE: return first;
	case MDL_J_TITLE: return first || !is_cased(before);
	case MDL_J_WORDS: return first || word_starts_after(before);
	default: return mdl_juni_is_lower(cp);
	}
}

int mdl_jtext_case(struct mdl_jrun *r, const struct mdl_jstr *s, enum mdl_jcase how,
		   struct mdl_jval *out)
{
	struct mdl_jsb sb = {0};
	uint32_t before = 0, to[2];
	size_t len, n;
	int rc = 0;

	for (size_t at = 0; rc == 0 && at < s->n; at += len) {
		uint32_t cp = mdl_juni_next(s->data + at, s->n - at, &len);
		bool trusted = mdl_jstr_trusted_at(s, at);

		n = wants_upper(how, cp, before, at == 0) ? mdl_juni_to_upper(cp, to)
							  : mdl_juni_to_lower(cp, to);
		for (size_t i = 0; rc == 0 && i < n; i++)
			rc = mdl_jsb_add_cp(r, &sb, to[i], trusted);
		before = cp;
	}
	if (rc == 0)
		rc = mdl_jsb_finish(r, &sb, out);
	if (rc == 0)
		((struct mdl_jstr *)out->s)->markup = s->markup;
	return rc;
}

/* --- strip, find, replace ---------------------------------------------------------------------- */

/* Whether the character s[0..n) is to be stripped. */
static bool strips(const struct mdl_jstr *chars, const char *s, size_t n, uint32_t cp)
{
	if (!chars)
		return mdl_juni_is_space(cp);
	return memmem(chars->data, chars->n, s, n) != NULL; /* whole characters: no false hit */
}

int mdl_jtext_strip(struct mdl_jrun *r, const struct mdl_jstr *s, const struct mdl_jstr *chars,
		    int sides, struct mdl_jval *out)
{
	size_t from = 0, to = s->n, len;
	uint32_t cp;

	while ((sides & MDL_J_LEFT) && from < to) {
		cp = mdl_juni_next(s->data + from, to - from, &len);
		if (!strips(chars, s->data + from, len, cp))
			break;
		from += len;
	}
	while ((sides & MDL_J_RIGHT) && to > from) {
		cp = mdl_juni_prev(s->data, to, &len);
		if (!strips(chars, s->data + to - len, len, cp))
			break;
		to -= len;
	}
	if (mdl_jstep_bytes(r, (s->n - (to - from)) * (chars ? 1 + chars->n / 16 : 1)) < 0)
		return LT_ETIMEOUT;
	return mdl_jstr_sub(r, s, from, to - from, out);
}

size_t mdl_jtext_find(const struct mdl_jstr *s, const struct mdl_jstr *what, size_t from, size_t to,
		      bool last)
{
	const char *hit;

	if (to > s->n)
		to = s->n;
	if (from > to || what->n > to - from)
		return SIZE_MAX;
	if (!last) {
		hit = memmem(s->data + from, to - from, what->data, what->n);
		return hit ? (size_t)(hit - s->data) : SIZE_MAX;
	}
	for (size_t at = to - what->n + 1; at-- > from;) {
		if (memcmp(s->data + at, what->data, what->n) == 0)
			return at;
	}
	return SIZE_MAX;
}

/* "new" before every character and at the end. */
static int interleave(struct mdl_jrun *r, const struct mdl_jstr *s, const struct mdl_jstr *new,
		      int64_t count, struct mdl_jsb *sb)
{
	size_t at = 0, len;
	int rc = 0;

	while (rc == 0 && count != 0) {
		count--;
		rc = mdl_jsb_add_str(r, sb, new);
		if (rc < 0 || at == s->n)
			break;
		mdl_juni_next(s->data + at, s->n - at, &len);
		rc = mdl_jsb_add_sub(r, sb, s, at, len);
		at += len;
	}
	return rc < 0 ? rc : mdl_jsb_add_sub(r, sb, s, at, s->n - at);
}

int mdl_jtext_replace(struct mdl_jrun *r, const struct mdl_jstr *s, const struct mdl_jstr *old,
		      const struct mdl_jstr *new, int64_t count, struct mdl_jval *out)
{
	struct mdl_jsb sb = {0};
	size_t at = 0, hit;
	int rc = mdl_jstep_bytes(r, s->n);

	if (rc == 0 && old->n == 0) {
		rc = interleave(r, s, new, count < 0 ? INT64_MAX : count, &sb);
		return rc < 0 ? rc : mdl_jsb_finish(r, &sb, out);
	}
	for (; rc == 0 && count != 0; count--) {
		hit = mdl_jtext_find(s, old, at, s->n, false);
		if (hit == SIZE_MAX)
			break;
		rc = mdl_jsb_add_sub(r, &sb, s, at, hit - at);
		if (rc == 0)
			rc = mdl_jsb_add_str(r, &sb, new);
		at = hit + old->n;
	}
	if (rc == 0 && at == 0) {
		*out = MDL_JSTR(s);
		return 0;
	}
	if (rc == 0)
		rc = mdl_jsb_add_sub(r, &sb, s, at, s->n - at);
	return rc < 0 ? rc : mdl_jsb_finish(r, &sb, out);
}

/* --- split and join ---------------------------------------------------------------------------- */

static int add_part(struct mdl_jrun *r, const struct mdl_jstr *s, size_t from, size_t to,
		    struct mdl_jlb *parts)
{
	struct mdl_jval part;
	int rc = mdl_jstr_sub(r, s, from, to - from, &part);

	return rc < 0 ? rc : mdl_jlb_add(r, parts, part);
}

static void reverse(struct mdl_jval *v, size_t n)
{
	for (size_t i = 0; i < n / 2; i++) {
		struct mdl_jval swap = v[i];

		v[i] = v[n - 1 - i];
		v[n - 1 - i] = swap;
	}
}

static size_t word_end(const struct mdl_jstr *s, size_t at)
{
	size_t len;

	while (at < s->n && !mdl_juni_is_space(mdl_juni_next(s->data + at, s->n - at, &len)))
		at += len;
	return at;
}

static size_t word_begin(const struct mdl_jstr *s, size_t to)
{
	size_t len;

	while (to > 0 && !mdl_juni_is_space(mdl_juni_prev(s->data, to, &len)))
		to -= len;
	return to;
}

/* Words, from the left; the last part, after `max` cuts, keeps its inner and trailing space. */
static int split_words(struct mdl_jrun *r, const struct mdl_jstr *s, int64_t max,
		       struct mdl_jlb *parts)
{
	size_t at = mdl_juni_space_prefix(s->data, s->n), end;
	int rc = 0;

	for (; rc == 0 && at < s->n; max--) {
		end = max == 0 ? s->n : word_end(s, at);
		rc = add_part(r, s, at, end, parts);
		at = end + mdl_juni_space_prefix(s->data + end, s->n - end);
	}
	return rc;
}

static int rsplit_words(struct mdl_jrun *r, const struct mdl_jstr *s, int64_t max,
			struct mdl_jlb *parts)
{
	size_t to = s->n - mdl_juni_space_suffix(s->data, s->n), from;
	int rc = 0;

	for (; rc == 0 && to > 0; max--) {
		from = max == 0 ? 0 : word_begin(s, to);
		rc = add_part(r, s, from, to, parts);
		to = from - mdl_juni_space_suffix(s->data, from);
	}
	reverse(parts->v, parts->n);
	return rc;
}

int mdl_jtext_split(struct mdl_jrun *r, const struct mdl_jstr *s, const struct mdl_jstr *sep,
		    int64_t max, bool from_right, struct mdl_jlb *parts)
{
	size_t from = 0, to = s->n, hit;
	int rc = mdl_jstep_bytes(r, s->n);

	if (rc < 0)
		return rc;
	if (!sep)
		return from_right ? rsplit_words(r, s, max, parts) : split_words(r, s, max, parts);
	if (sep->n == 0)
		return mdl_jfail(r, "empty separator");
	for (; rc == 0 && max != 0; max--) {
		hit = mdl_jtext_find(s, sep, from, to, from_right);
		if (hit == SIZE_MAX)
			break;
		if (from_right) {
			rc = add_part(r, s, hit + sep->n, to, parts);
			to = hit;
		} else {
			rc = add_part(r, s, from, hit, parts);
			from = hit + sep->n;
		}
	}
	if (rc == 0)
		rc = add_part(r, s, from, to, parts);
	if (from_right)
		reverse(parts->v, parts->n);
	return rc;
}

int mdl_jtext_lines(struct mdl_jrun *r, const struct mdl_jstr *s, bool keep_ends,
		    struct mdl_jlb *lines)
{
	size_t from = 0, at = 0, len, end;
	int rc = mdl_jstep_bytes(r, s->n);

	while (rc == 0 && at < s->n) {
		uint32_t cp = mdl_juni_next(s->data + at, s->n - at, &len);

		end = at;
		at += len;
		if (!mdl_juni_is_line_end(cp))
			continue;
		if (cp == '\r' && at < s->n && s->data[at] == '\n')
			at++;
		rc = add_part(r, s, from, keep_ends ? at : end, lines);
		from = at;
	}
	if (rc == 0 && from < s->n)
		rc = add_part(r, s, from, s->n, lines);
	return rc;
}

int mdl_jtext_join(struct mdl_jrun *r, const struct mdl_jstr *sep, struct mdl_jval items,
		   bool strict, struct mdl_jval *out)
{
	struct mdl_jiter own, *it;
	struct mdl_jsb sb = {0};
	struct mdl_jval item;
	bool more = true;
	int rc = mdl_jiter_open(r, items, &own, &it);

	for (size_t i = 0; rc == 0; i++) {
		rc = mdl_jiter_next(r, it, &item, &more);
		if (rc < 0 || !more)
			break;
		if (strict && item.kind != MDL_J_STR)
			return mdl_jfail(r, "sequence item %zu: expected str instance, %s found", i,
					 mdl_jtype_name(item));
		if (i > 0)
			rc = mdl_jsb_add_str(r, &sb, sep);
		if (rc == 0)
			rc = mdl_jprint(r, &sb, item);
	}
	return rc < 0 ? rc : mdl_jsb_finish(r, &sb, out);
}

int mdl_jtext_pad(struct mdl_jrun *r, const struct mdl_jstr *s, int64_t width,
		  const struct mdl_jstr *fill, int sides, struct mdl_jval *out)
{
	int64_t pad = width - (int64_t)mdl_jstr_chars(s), left = pad;
	struct mdl_jsb sb = {0};
	int rc = 0;

	if (fill && mdl_jstr_chars(fill) != 1)
		return mdl_jfail(r, "the fill character must be exactly one character long");
	if (pad <= 0) {
		*out = MDL_JSTR(s);
		return 0;
	}
	if (sides == (MDL_J_LEFT | MDL_J_RIGHT))
		left = pad / 2 + (pad & width & 1);
	else if (sides == MDL_J_RIGHT)
		left = 0;
	for (int64_t i = 0; rc == 0 && i <= pad; i++) {
		if (i == left)
			rc = mdl_jsb_add_str(r, &sb, s);
		if (rc == 0 && i < pad)
			rc = fill ? mdl_jsb_add_str(r, &sb, fill) : mdl_jsb_adds(r, &sb, " ");
	}
	return rc < 0 ? rc : mdl_jsb_finish(r, &sb, out);
}

/* --- numbers in text --------------------------------------------------------------------------- */

/* s without white space round it and without single underscores between digits, in buf; false if
 * it is empty, too long or has an underscore elsewhere. */
static bool clean_number(const struct mdl_jstr *s, char *buf, size_t size)
{
	size_t from = mdl_juni_space_prefix(s->data, s->n), n = 0;
	size_t to = s->n - mdl_juni_space_suffix(s->data + from, s->n - from);

	for (size_t i = from; i < to; i++) {
		bool inner = i > from && i + 1 < to && s->data[i - 1] != '_' &&
			     s->data[i + 1] != '_' && s->data[i - 1] != '+' &&
			     s->data[i - 1] != '-';

		if (s->data[i] == '_' && inner)
			continue;
		if (s->data[i] == '_' || s->data[i] == '\0' || n + 1 >= size)
			return false;
		buf[n++] = s->data[i];
	}
	buf[n] = '\0';
	return n > 0;
}

static int digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 32;
	return c >= 'a' && c <= 'z' ? c - 'a' + 10 : 99;
}

bool mdl_jtext_to_int(const struct mdl_jstr *s, int base, int64_t *out, bool *too_big)
{
	char buf[128], *p = buf;
	bool minus, zero_prefix;
	int of_prefix = 0;
	uint64_t v = 0;

	*too_big = false;
	if (base < 0 || base == 1 || base > 36 || !clean_number(s, buf, sizeof(buf)))
		return false;
	minus = *p == '-';
	p += *p == '-' || *p == '+';
	zero_prefix = p[0] == '0' && p[1] != '\0';
	if (zero_prefix)
		of_prefix = (p[1] | 32) == 'x'	 ? 16
			    : (p[1] | 32) == 'o' ? 8
			    : (p[1] | 32) == 'b' ? 2
						 : 0;
	if (of_prefix && (base == 0 || base == of_prefix)) {
		base = of_prefix;
		p += 2;
	} else if (base == 0) {
		base = 10;
		if (zero_prefix && strspn(p, "0") != strlen(p))
			return false;
	}
	if (*p == '\0')
		return false;
	for (; *p; p++) {
		if (digit_value(*p) >= base)
			return false;
		*too_big |= __builtin_mul_overflow(v, (uint64_t)base, &v) ||
			    __builtin_add_overflow(v, (uint64_t)digit_value(*p), &v);
	}
	*too_big |= v > (uint64_t)INT64_MAX + minus;
	*out = minus ? (int64_t)(0 - v) : (int64_t)v;
	return true;
}

bool mdl_jtext_to_float(const struct mdl_jstr *s, double *out)
{
	char buf[512], *p = buf, *end;
	size_t digits, fraction = 0;

	if (!clean_number(s, buf, sizeof(buf)))
		return false;
	p += *p == '-' || *p == '+';
	if (strcasecmp(p, "inf") == 0 || strcasecmp(p, "infinity") == 0 ||
	    strcasecmp(p, "nan") == 0) {
		*out = strtod(buf, NULL);
		return true;
	}
	digits = strspn(p, "0123456789");
	p += digits;
	if (*p == '.') {
		fraction = strspn(p + 1, "0123456789");
		p += 1 + fraction;
	}
	if (digits + fraction == 0)
		return false;
	if (*p == 'e' || *p == 'E') {
		p += 1 + (p[1] == '+' || p[1] == '-');
		if (strspn(p, "0123456789") == 0)
			return false;
		p += strspn(p, "0123456789");
	}
	if (*p)
		return false;
	*out = strtod(buf, &end);
	return true;
}
