/*
 * Pre-tokenizers. Pieces go through the stages depth first, so that no list of them is ever made:
 * a stage hands each piece to the next one as soon as its end is known. The stages of DeepSeek-V3 are
 * known by their patterns, and run by hand in pretok-v3.c.
 */
#include "model/pretok.h"

#include <string.h>

#include "base/utf8.h"
#include "model/pretok-v3.h"

void mdl_pretok_fini(struct mdl_pretok *p)
{
	for (size_t i = 0; i < p->n; i++)
		mdl_re_close(p->stages[i].re);
	mdl_pretok_v3_close(p->v3);
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

int mdl_pretok_add_split(struct mdl_pretok *p, const char *pattern, size_t n, enum mdl_re_how how,
			 enum mdl_split split, bool invert, struct lt_err *err)
{
	struct mdl_stage stage = {.split = split, .invert = invert};
	int rc = mdl_re_open(pattern, n, how, &stage.re, err);

	stage.is_v3 = how != MDL_RE_LITERAL && split == MDL_SPLIT_ISOLATED && !invert &&
		      mdl_pretok_v3_is(p->n, pattern, n);
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

/* DeepSeek-LLM and V2: letters are those of the bicameral scripts, listed one by one. */
static const char *const deepseek_llm[] = {
	"[\\r\\n]",
	"\\s?[A-Za-z\\u00b5\\u00c0-\\u00d6\\u00d8-\\u00f6\\u00f8-\\u01ba\\u01bc-\\u01bf"
	"\\u01c4-\\u0293\\u0295-\\u02af\\u0370-\\u0373\\u0376-\\u0377\\u037b-\\u037d\\u037f\\u0386"
	"\\u0388-\\u038a\\u038c\\u038e-\\u03a1\\u03a3-\\u03f5\\u03f7-\\u0481\\u048a-\\u052f"
	"\\u0531-\\u0556\\u10a0-\\u10c5\\u13a0-\\u13f5\\u13f8-\\u13fd\\u1c90-\\u1cba\\u1cbd-\\u1cbf"
	"\\u1d00-\\u1d2b\\u1d6b-\\u1d77\\u1d79-\\u1d9a\\u1e00-\\u1f15\\u1f18-\\u1f1d\\u1f20-\\u1f45"
	"\\u1f48-\\u1f4d\\u1f50-\\u1f57\\u1f59\\u1f5b\\u1f5d\\u1f5f-\\u1f7d\\u1f80-\\u1fb4"
	"\\u1fb6-\\u1fbc\\u1fbe\\u1fc2-\\u1fc4\\u1fc6-\\u1fcc\\u1fd0-\\u1fd3\\u1fd6-\\u1fdb"
	"\\u1fe0-\\u1fec\\u1ff2-\\u1ff4\\u1ff6-\\u1ffc\\u2102\\u2107\\u210a-\\u2113\\u2115"
	"\\u2119-\\u211d\\u2124\\u2126\\u2128\\u212a-\\u212d\\u212f-\\u2134\\u2139\\u213c-\\u213f"
	"\\u2145-\\u2149\\u214e\\u2183-\\u2184\\u2c00-\\u2c7b\\u2c7e-\\u2ce4\\u2ceb-\\u2cee"
	"\\u2cf2-\\u2cf3\\ua640-\\ua66d\\ua680-\\ua69b\\ua722-\\ua76f\\ua771-\\ua787\\ua78b-\\ua78e"
	"\\uab70-\\uabbf\\ufb00-\\ufb06\\ufb13-\\ufb17\\uff21-\\uff3a\\uff41-\\uff5a"
	"\\x{10400}-\\x{1044f}\\x{104b0}-\\x{104d3}\\x{104d8}-\\x{104fb}\\x{10c80}-\\x{10cb2}"
	"\\x{10cc0}-\\x{10cf2}\\x{118a0}-\\x{118df}\\x{1e900}-\\x{1e943}]+",
	"\\s?[!-/:-~\\uff01-\\uff0f\\uff1a-\\uff5e\\u2018-\\u201f\\u3000-\\u3002]+",
	"\\s+$",
	"[\\u0800-\\u9fa5\\uac00-\\ud7ff]+",
	"\\p{N}",
	NULL,
};

int mdl_pretok_add_named(struct mdl_pretok *p, const char *name, size_t n, struct lt_err *err)
{
	const char *const *patterns = NULL;
	int rc = 0;

	if (n == strlen("deepseek-v3") && memcmp(name, "deepseek-v3", n) == 0)
		patterns = mdl_pretok_v3_patterns;
	else if (n == strlen("deepseek-llm") && memcmp(name, "deepseek-llm", n) == 0)
		patterns = deepseek_llm;
	else
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
	bool is_v3 = p->n == MDL_PRETOK_V3_STAGES;

	for (size_t i = 0; i < p->n; i++)
		is_v3 = is_v3 && p->stages[i].is_v3;
	if (is_v3 && !(p->v3 = mdl_pretok_v3_open()))
		return lt_fail(err, LT_ENOMEM, "no memory for a pre-tokenizer");
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

	if (p->v3)
		return mdl_pretok_v3_run(p->v3, text, n, piece, arg);
	mdl_re_work_begin(&w->re, n);
	if (n == 0)
		return 0;
	return p->n == 0 ? piece(arg, text, n) : run_stage(&r, 0, text, n);
}
