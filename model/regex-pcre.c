/*
 * Patterns on PCRE2: the tree is written out again with every set as explicit ranges, so that what
 * a character is does not depend on the library's version of Unicode. Compiled code is shared by
 * threads; match data and JIT stack are each thread's own (struct mdl_re_work).
 *
 * PCRE2 has no limit on the total of steps. Searches are therefore cut into windows of start
 * positions, and a clock is read between them.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "model/regex.h"

#define MATCH_LIMIT   10000000u
#define DEPTH_LIMIT   100000u
#define HEAP_KIB      65536u
#define JIT_STACK_MAX (1024u * 1024u)
#define WINDOW	      1024u
#define SECONDS	      5u

struct mdl_re_pcre {
	pcre2_code *code;
	bool jit;
};

/* Ranges as the inside of a class; surrogates can't be written, nor occur in a subject. */
static void write_set(struct lt_buf *b, const struct mdl_set *s)
{
	size_t before = b->len;

	lt_buf_addc(b, '[');
	for (size_t i = 0; i < s->n; i++) {
		uint32_t lo = s->r[i].lo, hi = s->r[i].hi;

		if (lo >= 0xd800 && lo <= 0xdfff)
			lo = 0xe000;
		if (hi >= 0xd800 && hi <= 0xdfff)
			hi = 0xd7ff;
		if (lo <= hi)
			lt_buf_addf(b, "\\x{%x}-\\x{%x}", lo, hi);
	}
	if (b->len == before + 1) {
		b->len = before;
		lt_buf_adds(b, "(?!)");
	} else {
		lt_buf_addc(b, ']');
	}
}

static void write_node(struct lt_buf *b, const struct mdl_re_tree *t, uint32_t node);

/* The children with `between` them, inside a group that begins with `open`. */
static void write_group(struct lt_buf *b, const struct mdl_re_tree *t, const char *open,
			uint32_t child, const char *between)
{
	lt_buf_adds(b, open);
	for (uint32_t c = child; c; c = t->nodes[c].next) {
		write_node(b, t, c);
		if (t->nodes[c].next)
			lt_buf_adds(b, between);
	}
	lt_buf_addc(b, ')');
}

static void write_repeat(struct lt_buf *b, const struct mdl_re_tree *t, const struct mdl_re_node *x)
{
	static const char *const greed[] = {"", "?", "+"};

	write_group(b, t, "(?:", x->child, "");
	if (x->max == MDL_RE_NO_MAX)
		lt_buf_addf(b, "{%u,}", x->min);
	else
		lt_buf_addf(b, "{%u,%u}", x->min, x->max);
	lt_buf_adds(b, greed[x->greed]);
}

static void write_node(struct lt_buf *b, const struct mdl_re_tree *t, uint32_t node)
{
	static const char *const anchors[] = {"(?m:^)", "(?m:$)", "\\A", "\\z", "\\Z"};
	static const char *const looks[] = {"(?=", "(?!", "(?<=", "(?<!"};
	const struct mdl_re_node *x = &t->nodes[node];

	switch (x->kind) {
	case MDL_RE_EMPTY: break;
	case MDL_RE_SET: write_set(b, &t->sets[x->set]); break;
	case MDL_RE_CAT: write_group(b, t, "(?:", x->child, ""); break;
	case MDL_RE_ALT: write_group(b, t, "(?:", x->child, "|"); break;
	case MDL_RE_REPEAT: write_repeat(b, t, x); break;
	case MDL_RE_ATOMIC: write_group(b, t, "(?>", x->child, ""); break;
	case MDL_RE_LOOK:
		write_group(b, t, looks[x->behind * 2 + x->negative], x->child, "");
		break;
	case MDL_RE_ANCHOR: lt_buf_adds(b, anchors[x->anchor]); break;
	}
}

int mdl_re_pcre_open(const struct mdl_re_tree *tree, struct mdl_re_pcre **out, struct lt_err *err)
{
	pcre2_compile_context *context = pcre2_compile_context_create(NULL);
	struct mdl_re_pcre *p = lt_alloc(1, sizeof(*p));
	PCRE2_SIZE offset;
	struct lt_buf b;
	int code, rc = 0;

	lt_buf_init(&b, 16u << 20);
	write_node(&b, tree, tree->root);
	lt_buf_adds(&b, "");
	if (!context || !p || b.failed) {
		rc = lt_fail(err, b.failed == LT_ETOOBIG ? LT_ETOOBIG : LT_ENOMEM,
			     "no memory for it");
		goto out;
	}
	pcre2_set_newline(context, PCRE2_NEWLINE_LF);
	p->code = pcre2_compile((PCRE2_SPTR)b.data, b.len,
				PCRE2_UTF | PCRE2_UCP | PCRE2_NO_UTF_CHECK | PCRE2_USE_OFFSET_LIMIT,
				&code, &offset, context);
	if (!p->code) {
		char text[200] = "";

		pcre2_get_error_message(code, (PCRE2_UCHAR *)text, sizeof(text));
		rc = lt_fail(err, LT_EUNSUPPORTED, "PCRE2 refuses it: %s", text);
		goto out;
	}
	p->jit = pcre2_jit_compile(p->code, PCRE2_JIT_COMPLETE) == 0;
out:
	pcre2_compile_context_free(context);
	lt_buf_fini(&b);
	if (rc < 0) {
		mdl_re_pcre_close(p);
		return rc;
	}
	*out = p;
	return 0;
}

void mdl_re_pcre_close(struct mdl_re_pcre *p)
{
	if (!p)
		return;
	pcre2_code_free(p->code);
	free(p);
}

static int work_init(struct mdl_re_work *w)
{
	if (!w->match_data)
		w->match_data = pcre2_match_data_create(1, NULL);
	if (!w->match_context)
		w->match_context = pcre2_match_context_create(NULL);
	if (!w->match_data || !w->match_context)
		return LT_ENOMEM;
	pcre2_set_match_limit(w->match_context, MATCH_LIMIT);
	pcre2_set_depth_limit(w->match_context, DEPTH_LIMIT);
	pcre2_set_heap_limit(w->match_context, HEAP_KIB);
	if (!w->jit_stack) {
		/* Without JIT support there is no stack either, and none is needed. */
		w->jit_stack = pcre2_jit_stack_create(32 * 1024, JIT_STACK_MAX, NULL);
		if (w->jit_stack)
			pcre2_jit_stack_assign(w->match_context, NULL, w->jit_stack);
	}
	return 0;
}

void mdl_re_work_fini(struct mdl_re_work *w)
{
	pcre2_match_data_free(w->match_data);
	pcre2_match_context_free(w->match_context);
	pcre2_jit_stack_free(w->jit_stack);
	*w = (struct mdl_re_work){0};
}

/* One window. The interpreter takes over where the JIT's stack is too small. */
static int match_window(const struct mdl_re_pcre *p, struct mdl_re_work *w, const char *s, size_t n,
			size_t from)
{
	uint32_t options = PCRE2_NO_UTF_CHECK;
	int rc;

	rc = pcre2_match(p->code, (PCRE2_SPTR)s, n, from, options, w->match_data, w->match_context);
	if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
		rc = pcre2_match(p->code, (PCRE2_SPTR)s, n, from, options | PCRE2_NO_JIT,
				 w->match_data, w->match_context);
	return rc;
}

int mdl_re_pcre_find(const struct mdl_re_pcre *p, struct mdl_re_work *w, const char *s, size_t n,
		     size_t from, size_t *start, size_t *end)
{
	size_t window = WINDOW;
	int rc;

	if (work_init(w) < 0)
		return LT_ENOMEM;
	for (;;) {
		size_t limit = n - from > window ? from + window : n;

		while (limit < n && ((unsigned char)s[limit] & 0xc0) == 0x80)
			limit++;
		pcre2_set_offset_limit(w->match_context, limit);
		rc = match_window(p, w, s, n, from);
		if (rc != PCRE2_ERROR_NOMATCH || limit == n)
			break;
		if (w->deadline == 0)
			w->deadline = lt_clock_ns() + SECONDS * LT_NS_PER_S;
		else if (lt_clock_ns() > w->deadline)
			return LT_ETOOBIG;
		from = limit;
	}
	if (rc >= 0) {
		PCRE2_SIZE *span = pcre2_get_ovector_pointer(w->match_data);

		*start = span[0];
		*end = span[1];
		return 1;
	}
	if (rc == PCRE2_ERROR_NOMATCH)
		return 0;
	return rc == PCRE2_ERROR_NOMEMORY ? LT_ENOMEM : LT_ETOOBIG;
}
