/*
 * Strings of the template language and texts being written. Each byte keeps whether it is trusted;
 * as nearly every string is of one kind throughout, flags for single bytes exist only where both
 * kinds meet.
 */
#include <string.h>

#include "base/utf8.h"
#include "model/jinja-run.h"
#include "model/jinja-unicode.h"

/* The bytes of a concatenation, with room to go on. Strings that begin in it end at or before
 * `used`; the one that ends at `used` may be extended in place. */
struct mdl_jtail {
	char *data;	      // [cap]
	unsigned char *trust; // [cap] or NULL: all as `trusted`
	size_t cap, used;
	bool trusted;
};

int mdl_jstr_new(struct mdl_jrun *r, const char *s, size_t n, bool trusted, struct mdl_jval *out)
{
	struct mdl_jstr *str = mdl_jarena_alloc(&r->arena, 1, sizeof(*str));

	if (!str)
		return mdl_jno_memory(r);
	*str = (struct mdl_jstr){.data = s, .n = n, .chars = MDL_J_UNCOUNTED, .trusted = trusted};
	*out = MDL_JSTR(str);
	return 0;
}

int mdl_jstr_lit(struct mdl_jrun *r, const char *s, struct mdl_jval *out)
{
	return mdl_jstr_new(r, s, strlen(s), false, out);
}

int mdl_jstr_sub(struct mdl_jrun *r, const struct mdl_jstr *s, size_t from, size_t n,
		 struct mdl_jval *out)
{
	struct mdl_jstr *sub;

	if (from == 0 && n == s->n) {
		*out = MDL_JSTR(s);
		return 0;
	}
	sub = mdl_jarena_alloc(&r->arena, 1, sizeof(*sub));
	if (!sub)
		return mdl_jno_memory(r);
	*sub = *s;
	sub->data += from;
	if (sub->trust)
		sub->trust += from;
	sub->n = n;
	sub->chars = s->chars == s->n ? n : MDL_J_UNCOUNTED;
	*out = MDL_JSTR(sub);
	return 0;
}

size_t mdl_jstr_chars(const struct mdl_jstr *s)
{
	/* Literals are shared between threads, but come counted; all others are this rendering's. */
	if (s->chars == MDL_J_UNCOUNTED)
		((struct mdl_jstr *)s)->chars = mdl_juni_count(s->data, s->n);
	return s->chars;
}

bool mdl_jstr_eq(const struct mdl_jstr *a, const struct mdl_jstr *b)
{
	return a->n == b->n && memcmp(a->data, b->data, a->n) == 0;
}

bool mdl_jstr_is(const struct mdl_jstr *s, const char *text)
{
	return s->n == strlen(text) && memcmp(s->data, text, s->n) == 0;
}

int mdl_jstr_cmp(const struct mdl_jstr *a, const struct mdl_jstr *b)
{
	int c = memcmp(a->data, b->data, a->n < b->n ? a->n : b->n);

	return c ? c : (a->n > b->n) - (a->n < b->n);
}

bool mdl_jstr_trusted_at(const struct mdl_jstr *s, size_t i)
{
	return s->trust ? s->trust[i] : s->trusted;
}

/* --- concatenation ----------------------------------------------------------------------------- */

static void copy_flags(unsigned char *dst, const struct mdl_jstr *s, size_t from, size_t n)
{
	if (s->trust)
		memcpy(dst, s->trust + from, n);
	else
		memset(dst, s->trusted, n);
}

/* Puts b behind what the tail holds; there is room. */
static int tail_add(struct mdl_jrun *r, struct mdl_jtail *t, const struct mdl_jstr *b)
{
	if (!t->trust && (b->trust || b->trusted != t->trusted)) {
		t->trust = mdl_jarena_alloc(&r->arena, t->cap, 1);
		if (!t->trust)
			return mdl_jno_memory(r);
		memset(t->trust, t->trusted, t->used);
	}
	memcpy(t->data + t->used, b->data, b->n);
	if (t->trust)
		copy_flags(t->trust + t->used, b, 0, b->n);
	t->used += b->n;
	return 0;
}

/* A tail that begins with a. A second concatenation shows that more will come: room for it. */
static int tail_new(struct mdl_jrun *r, const struct mdl_jstr *a, size_t n, struct mdl_jtail **out)
{
	struct mdl_jtail *t = mdl_jarena_alloc(&r->arena, 1, sizeof(*t));

	if (!t)
		return mdl_jno_memory(r);
	*t = (struct mdl_jtail){.cap = a->tail ? 2 * n : n, .trusted = a->trusted};
	t->data = mdl_jarena_alloc(&r->arena, t->cap, 1);
	if (!t->data)
		return mdl_jno_memory(r);
	if (a->trust) {
		t->trust = mdl_jarena_alloc(&r->arena, t->cap, 1);
		if (!t->trust)
			return mdl_jno_memory(r);
	}
	*out = t;
	return tail_add(r, t, a);
}

int mdl_jstr_concat(struct mdl_jrun *r, const struct mdl_jstr *a, const struct mdl_jstr *b,
		    struct mdl_jval *out)
{
	struct mdl_jtail *t = a->tail;
	struct mdl_jstr *sum;
	bool fits = t && a->data + a->n == t->data + t->used && t->cap - t->used >= b->n;
	int rc = 0;

	if (b->n == 0 || a->n == 0) {
		*out = MDL_JSTR(b->n == 0 ? a : b);
		return 0;
	}
	rc = mdl_jstep_bytes(r, fits ? b->n : a->n + b->n);
	if (rc == 0 && !fits)
		rc = tail_new(r, a, a->n + b->n, &t);
	if (rc == 0)
		rc = tail_add(r, t, b);
	if (rc < 0)
		return rc;
	sum = mdl_jarena_alloc(&r->arena, 1, sizeof(*sum));
	if (!sum)
		return mdl_jno_memory(r);
	*sum = (struct mdl_jstr){.n = a->n + b->n,
				 .data = t->data + t->used - a->n - b->n,
				 .chars = MDL_J_UNCOUNTED,
				 .trusted = t->trusted,
				 .markup = a->markup,
				 .tail = t};
	if (t->trust)
		sum->trust = t->trust + (sum->data - t->data);
	if (a->chars != MDL_J_UNCOUNTED && b->chars != MDL_J_UNCOUNTED)
		sum->chars = a->chars + b->chars;
	*out = MDL_JSTR(sum);
	return 0;
}

/* --- texts being written ----------------------------------------------------------------------- */

/* Room for n more bytes, and flags if they exist. */
static int sb_reserve(struct mdl_jrun *r, struct mdl_jsb *sb, size_t n)
{
	size_t want = sb->cap ? sb->cap * 2 : 64;
	void *p;

	if (sb == r->result && r->limits.output - sb->n < n)
		return lt_fail(r->err, LT_ETOOBIG,
			       "line %u: the rendered text is longer than %llu bytes", r->line,
			       (unsigned long long)r->limits.output);
	if (sb->cap - sb->n < n) {
		while (want - sb->n < n)
			want *= 2;
		p = mdl_jarena_grow(&r->arena, sb->data, sb->cap, want);
		if (!p)
			return mdl_jno_memory(r);
		sb->data = p;
		sb->cap = want;
	}
	if (sb->trust && sb->cap_trust < sb->cap) {
		p = mdl_jarena_grow(&r->arena, sb->trust, sb->cap_trust, sb->cap);
		if (!p)
			return mdl_jno_memory(r);
		sb->trust = p;
		sb->cap_trust = sb->cap;
	}
	return 0;
}

/* Makes flags for single bytes if `trusted` differs from what the text is so far. */
static int sb_mix(struct mdl_jrun *r, struct mdl_jsb *sb, bool trusted)
{
	if (sb->n == 0)
		sb->trusted = trusted;
	if (sb->trust || sb->trusted == trusted)
		return 0;
	sb->trust = mdl_jarena_alloc(&r->arena, sb->cap, 1);
	if (!sb->trust)
		return mdl_jno_memory(r);
	sb->cap_trust = sb->cap;
	memset(sb->trust, sb->trusted, sb->n);
	return 0;
}

int mdl_jsb_add(struct mdl_jrun *r, struct mdl_jsb *sb, const char *s, size_t n, bool trusted)
{
	int rc;

	if (n == 0)
		return 0;
	if ((rc = mdl_jstep_bytes(r, n)) < 0 || (rc = sb_reserve(r, sb, n)) < 0 ||
	    (rc = sb_mix(r, sb, trusted)) < 0)
		return rc;
	memcpy(sb->data + sb->n, s, n);
	if (sb->trust)
		memset(sb->trust + sb->n, trusted, n);
	sb->n += n;
	return 0;
}

int mdl_jsb_adds(struct mdl_jrun *r, struct mdl_jsb *sb, const char *s)
{
	return mdl_jsb_add(r, sb, s, strlen(s), false);
}

int mdl_jsb_add_sub(struct mdl_jrun *r, struct mdl_jsb *sb, const struct mdl_jstr *s, size_t from,
		    size_t n)
{
	size_t at = sb->n;
	int rc;

	if (!s->trust)
		return mdl_jsb_add(r, sb, s->data + from, n, s->trusted);
	for (size_t i = from, run; i < from + n; i += run) {
		for (run = 1; i + run < from + n && s->trust[i + run] == s->trust[i]; run++)
			;
		rc = mdl_jsb_add(r, sb, s->data + i, run, s->trust[i]);
		if (rc < 0) {
			sb->n = at;
			return rc;
		}
	}
	return 0;
}

int mdl_jsb_add_str(struct mdl_jrun *r, struct mdl_jsb *sb, const struct mdl_jstr *s)
{
	return mdl_jsb_add_sub(r, sb, s, 0, s->n);
}

int mdl_jsb_add_cp(struct mdl_jrun *r, struct mdl_jsb *sb, uint32_t cp, bool trusted)
{
	char buf[4];
	size_t n = lt_utf8_encode(cp, buf);

	if (n == 0)
		n = lt_utf8_encode(0xfffd, buf);
	return mdl_jsb_add(r, sb, buf, n, trusted);
}

int mdl_jsb_finish(struct mdl_jrun *r, struct mdl_jsb *sb, struct mdl_jval *out)
{
	struct mdl_jstr *s = mdl_jarena_alloc(&r->arena, 1, sizeof(*s));

	if (!s)
		return mdl_jno_memory(r);
	*s = (struct mdl_jstr){.data = sb->data ? sb->data : "",
			       .trust = sb->trust,
			       .n = sb->n,
			       .chars = MDL_J_UNCOUNTED,
			       .trusted = sb->n > 0 && sb->trusted};
	*out = MDL_JSTR(s);
	return 0;
}
