/*
 * Pre-tokenizers. Pieces go through the stages depth first, so that no list of them is ever made:
 * a stage hands each piece to the next one as soon as its end is known. The stages of this
 * family are known by their patterns, and run by hand (pretok-hand.h).
 */
#include "model/pretok.h"

#include <string.h>

#include "base/utf8.h"

/* Bit i of what a stage is known as. */
static const struct mdl_hand *const hands[] = {&mdl_hand_v3, &mdl_hand_llm};
#define HANDS (sizeof(hands) / sizeof(hands[0]))

void mdl_pretok_fini(struct mdl_pretok *p)
{
	for (size_t i = 0; i < p->n; i++)
		mdl_re_close(p->stages[i].re);
	mdl_classes_fini(&p->classes);
	*p = (struct mdl_pretok){0};
}

void mdl_pretok_work_fini(struct mdl_pretok_work *w)
{
	mdl_re_work_fini(&w->re);
	lt_buf_fini(&w->spaced);
}

static int add_stage(struct mdl_pretok *p, struct mdl_stage stage, struct lt_err *err)
{
	if (p->n >= MDL_PRETOK_STAGES) {
		mdl_re_close(stage.re);
		return lt_fail(err, LT_ETOOBIG, "a pre-tokenizer of more than %u stages",
			       MDL_PRETOK_STAGES);
	}
	p->stages[p->n++] = stage;
	return 0;
}

static bool is(const char *s, size_t n, const char *word)
{
	return word && n == strlen(word) && memcmp(s, word, n) == 0;
}

/* One element of a pattern: a character, and whether a backslash before it gives or takes its meaning.
 * Line ends and characters beyond ASCII mean the same by themselves and by their escapes. */
struct element {
	uint32_t cp;
	bool escaped;
};

static uint32_t hex_number(const char *s, size_t n)
{
	uint32_t x = 0;

	for (size_t i = 0; i < n; i++) {
		char c = s[i];
		uint32_t digit = c >= '0' && c <= '9'	? (uint32_t)(c - '0')
				 : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a') + 10
				 : c >= 'A' && c <= 'F' ? (uint32_t)(c - 'A') + 10
							: 16;

		if (digit > 15 || x > 0x10ffff)
			return 0;
		x = x << 4 | digit;
	}
	return x;
}

/* The element at s[0..n), n > 0; returns its bytes. */
static size_t element_at(const char *s, size_t n, struct element *e)
{
	size_t len = 0, digits;

	*e = (struct element){0};
	if (s[0] != '\\' || n < 2) {
		len = lt_utf8_decode(s, n, &e->cp);
		return len ? len : 1;
	}
	e->escaped = true;
	e->cp = (unsigned char)s[1];
	if (s[1] == 'r' || s[1] == 'n') {
		*e = (struct element){s[1] == 'r' ? '\r' : '\n', false};
	} else if (s[1] == 'u' && n >= 6 && hex_number(s + 2, 4) > 127) {
		*e = (struct element){hex_number(s + 2, 4), false};
		return 6;
	} else if (s[1] == 'x' && n >= 4 && s[2] == '{') {
		for (digits = 0; digits < 6 && 3 + digits < n && s[3 + digits] != '}';)
			digits++;
		if (3 + digits < n && s[3 + digits] == '}' && hex_number(s + 3, digits) > 127) {
			*e = (struct element){hex_number(s + 3, digits), false};
			return 4 + digits;
		}
	}
	return 2;
}

/* True if both patterns are the same but for how their characters are spelled. */
static bool same_pattern(const char *a, size_t n, const char *b)
{
	size_t m = b ? strlen(b) : 0;

	if (!b)
		return false;
	while (n && m) {
		struct element x, y;
		size_t x_len = element_at(a, n, &x), y_len = element_at(b, m, &y);

		if (x.cp != y.cp || x.escaped != y.escaped)
			return false;
		a += x_len;
		n -= x_len;
		b += y_len;
		m -= y_len;
	}
	return n == 0 && m == 0;
}

/* Which of the hands have this pattern as stage k. */
static unsigned known_as(size_t k, const char *pattern, size_t n)
{
	unsigned bits = 0;

	for (size_t i = 0; i < HANDS; i++) {
		size_t stages = 0;

		while (hands[i]->patterns[stages])
			stages++;
		if (k < stages && (same_pattern(pattern, n, hands[i]->patterns[k]) ||
				   same_pattern(pattern, n, hands[i]->published[k])))
			bits |= 1u << i;
	}
	return bits;
}

int mdl_pretok_add_split(struct mdl_pretok *p, const char *pattern, size_t n, enum mdl_re_how how,
			 enum mdl_split split, bool invert, struct lt_err *err)
{
	struct mdl_stage stage = {.split = split, .invert = invert};
	int rc = mdl_re_open(pattern, n, how, &stage.re, err);

	if (how != MDL_RE_LITERAL && split == MDL_SPLIT_ISOLATED && !invert)
		stage.known = known_as(p->n, pattern, n);
	return rc < 0 ? rc : add_stage(p, stage, err);
}

int mdl_pretok_add_space(struct mdl_pretok *p, struct lt_err *err)
{
	for (size_t i = 0; i < p->n; i++) {
		if (!p->stages[i].re)
			return lt_fail(err, LT_EUNSUPPORTED,
				       "a pre-tokenizer that adds spaces at two stages");
	}
	return add_stage(p, (struct mdl_stage){0}, err);
}

int mdl_pretok_add_named(struct mdl_pretok *p, const char *name, size_t n, struct lt_err *err)
{
	const char *const *patterns = NULL;
	int rc = 0;

	for (size_t i = 0; i < HANDS; i++) {
		if (is(name, n, hands[i]->name))
			patterns = hands[i]->patterns;
	}
	if (!patterns)
		return lt_fail(err, LT_EUNSUPPORTED,
			       "pre-tokenizer '%.*s' is not supported, only deepseek-llm and "
			       "deepseek-v3 are",
			       (int)(n < 60 ? n : 60), name);
	for (; *patterns && rc == 0; patterns++)
		rc = mdl_pretok_add_split(p, *patterns, strlen(*patterns), MDL_RE_BEST,
					  MDL_SPLIT_ISOLATED, false, err);
	return rc;
}

int mdl_pretok_seal(struct mdl_pretok *p, struct lt_err *err)
{
	unsigned known = (1u << HANDS) - 1;

	for (size_t i = 0; i < p->n; i++)
		known &= p->stages[i].known;
	for (size_t i = 0; i < HANDS; i++) {
		if (!(known >> i & 1) || p->n == 0 || hands[i]->patterns[p->n])
			continue;
		if (mdl_classes_parse(&p->classes, hands[i]->classes) < 0)
			return lt_fail(err, LT_ENOMEM, "no memory for a pre-tokenizer");
		p->hand = hands[i];
	}
	return 0;
}

/* ---- running ---- */

struct run {
	const struct mdl_pretok *p;
	struct mdl_pretok_work *w;
	int (*piece)(void *arg, const char *s, size_t n);
	void *arg;
	struct lt_err *err;
};

static int run_stage(const struct run *r, size_t k, const char *s, size_t n);

static inline int hand_on(const struct run *r, size_t k, const char *s, size_t n)
{
	if (n == 0)
		return 0;
	return k + 1 == r->p->n ? r->piece(r->arg, s, n) : run_stage(r, k + 1, s, n);
}

/* One piece of a stage whose end is not known yet: [start, end) of the text, a match or a gap. */
struct pending {
	size_t start, end;
	bool any, match;
};

/* A segment that follows directly on the one before: a match or a gap. Either joins the pending
 * piece or, when that is complete, hands it on and takes its place. */
static int add_segment(const struct run *r, size_t k, const char *s, struct pending *p,
		       size_t start, size_t end, bool match)
{
	const struct mdl_stage *stage = &r->p->stages[k];
	bool joins = false;
	int rc = 0;

	match ^= stage->invert;
	if (stage->split == MDL_SPLIT_CONTIGUOUS)
		joins = match == p->match;
	else if (stage->split == MDL_SPLIT_MERGED_PREVIOUS)
		joins = match && !p->match;
	else if (stage->split == MDL_SPLIT_MERGED_NEXT)
		joins = !match && p->match;
	if (p->any && joins) {
		p->end = end;
	} else {
		if (p->any && !(stage->split == MDL_SPLIT_REMOVED && p->match))
			rc = hand_on(r, k, s + p->start, p->end - p->start);
		p->start = start;
		p->end = end;
		p->any = true;
	}
	p->match = match;
	return rc;
}

/* The next match at or after *from; an empty match where the last one ended doesn't count. */
static int next_match(const struct run *r, const struct mdl_re *re, const char *s, size_t n,
		      size_t *from, size_t last_end, size_t *start, size_t *end)
{
	uint32_t cp;

	for (;;) {
		int rc =
			*from > n ? 0 : mdl_re_find(re, &r->w->re, s, n, *from, start, end, r->err);

		if (rc <= 0)
			return rc;
		if (*end != *start || *end != last_end) {
			*from = *end;
			return 1;
		}
		*from += *from < n ? lt_utf8_decode(s + *from, n - *from, &cp) : 1;
	}
}

/* The common case by itself: every match and every gap is handed on at once. */
static int run_isolated(const struct run *r, size_t k, const char *s, size_t n)
{
	size_t from = 0, done = 0, last_end = SIZE_MAX, start, end;
	int rc;

	while ((rc = next_match(r, r->p->stages[k].re, s, n, &from, last_end, &start, &end)) == 1) {
		rc = hand_on(r, k, s + done, start - done);
		if (rc == 0)
			rc = hand_on(r, k, s + start, end - start);
		if (rc != 0)
			return rc;
		done = last_end = end;
	}
	return rc < 0 ? rc : hand_on(r, k, s + done, n - done);
}

static int run_split(const struct run *r, size_t k, const char *s, size_t n)
{
	size_t from = 0, done = 0, last_end = SIZE_MAX, start, end;
	struct pending p = {0};
	int rc;

	while ((rc = next_match(r, r->p->stages[k].re, s, n, &from, last_end, &start, &end)) == 1) {
		rc = start > done ? add_segment(r, k, s, &p, done, start, false) : 0;
		if (rc == 0)
			rc = add_segment(r, k, s, &p, start, end, true);
		if (rc != 0)
			return rc;
		done = last_end = end;
	}
	if (rc == 0 && done < n)
		rc = add_segment(r, k, s, &p, done, n, false);
	if (rc == 0 && p.any && !(r->p->stages[k].split == MDL_SPLIT_REMOVED && p.match))
		rc = hand_on(r, k, s + p.start, p.end - p.start);
	return rc;
}

static int run_stage(const struct run *r, size_t k, const char *s, size_t n)
{
	const struct mdl_stage *stage = &r->p->stages[k];

	if (stage->re)
		return stage->split == MDL_SPLIT_ISOLATED ? run_isolated(r, k, s, n)
							  : run_split(r, k, s, n);
	if (s[0] == ' ')
		return hand_on(r, k, s, n);
	lt_buf_clear(&r->w->spaced);
	lt_buf_addc(&r->w->spaced, ' ');
	if (lt_buf_add(&r->w->spaced, s, n) < 0)
		return lt_fail(r->err, r->w->spaced.failed, "no memory for a piece of text");
	return hand_on(r, k, r->w->spaced.data, n + 1);
}

int mdl_pretok_run(const struct mdl_pretok *p, struct mdl_pretok_work *w, const char *text,
		   size_t n, int (*piece)(void *arg, const char *s, size_t n), void *arg,
		   struct lt_err *err)
{
	struct run r = {.p = p, .w = w, .piece = piece, .arg = arg, .err = err};

	if (p->hand)
		return p->hand->run(&p->classes, text, n, piece, arg);
	mdl_re_work_begin(&w->re, n);
	if (n == 0)
		return 0;
	return p->n == 0 ? piece(arg, text, n) : run_stage(&r, 0, text, n);
}
