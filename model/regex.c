/*
 * The front of the regular expressions: parse, then choose who runs the pattern. See regex.h.
 */
#include "model/regex.h"

#include <stdlib.h>

#include "base/mem.h"

/* Steps that a text of n bytes may take: generous for any linear pattern, a few seconds at most. */
#define STEPS_BASE	1000000000ull
#define STEPS_EACH_BYTE 256ull

struct mdl_re {
	struct mdl_re_prog *prog; /* or */
	struct mdl_re_pcre *pcre;
	char *pattern; /* its beginning, for messages */
};

static int compile(struct mdl_re *re, const struct mdl_re_tree *tree, enum mdl_re_how how,
		   struct lt_err *err)
{
	int rc = how == MDL_RE_PCRE ? LT_EUNSUPPORTED : mdl_re_prog_open(tree, &re->prog);

	if (rc == LT_ENOMEM)
		return lt_fail(err, rc, "no memory for it");
	if (rc == LT_EUNSUPPORTED)
		rc = mdl_re_pcre_open(tree, &re->pcre, err);
	return rc;
}

int mdl_re_open(const char *pattern, size_t n, enum mdl_re_how how, struct mdl_re **out,
		struct lt_err *err)
{
	struct mdl_re_tree tree = {0};
	struct mdl_re *re = lt_alloc(1, sizeof(*re));
	size_t shown = n < 200 ? n : 200;
	int rc;

	if (!re)
		return lt_fail(err, LT_ENOMEM, "no memory for a pattern");
	rc = mdl_re_parse(pattern, n, how == MDL_RE_LITERAL, &tree, err);
	if (rc == 0)
		rc = compile(re, &tree, how, err);
	mdl_re_tree_fini(&tree);
	re->pattern = lt_strndup(pattern, shown);
	if (rc == 0 && !re->pattern)
		rc = lt_fail(err, LT_ENOMEM, "no memory for a pattern");
	if (rc < 0) {
		mdl_re_close(re);
		return lt_fail_in(err, rc, "pattern '%.*s'%s", (int)shown, pattern,
				  shown < n ? "..." : "");
	}
	*out = re;
	return 0;
}

void mdl_re_close(struct mdl_re *re)
{
	if (!re)
		return;
	mdl_re_prog_close(re->prog);
	mdl_re_pcre_close(re->pcre);
	free(re->pattern);
	free(re);
}

bool mdl_re_is_pcre(const struct mdl_re *re)
{
	return re->pcre != NULL;
}

void mdl_re_work_begin(struct mdl_re_work *w, size_t n)
{
	w->steps = STEPS_BASE + STEPS_EACH_BYTE * n;
	w->deadline = 0;
}

int mdl_re_find(const struct mdl_re *re, struct mdl_re_work *w, const char *s, size_t n,
		size_t from, size_t *start, size_t *end, struct lt_err *err)
{
	int rc = re->prog ? mdl_re_prog_find(re->prog, w, s, n, from, start, end)
			  : mdl_re_pcre_find(re->pcre, w, s, n, from, start, end);

	if (rc == LT_ETOOBIG)
		return lt_fail(err, rc,
			       "the tokenizer's pattern '%s' takes too many steps on this text",
			       re->pattern);
	if (rc == LT_ENOMEM)
		return lt_fail(err, rc, "no memory to match a pattern");
	return rc;
}
