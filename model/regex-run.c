/*
 * Our own matcher: backtracking over a short program without loops back, whose repeats are over
 * single characters only. That is what pre-tokenizers consist of, and it makes things simple: the
 * recursion is never deeper than the program is long, and a character is looked up once, in a table
 * that gives a bit for each set of the pattern.
 *
 * Time: a repeat that what follows it can't take over from is never given back, and where a pattern
 * begins with an unbounded repeat that failed, no start inside the same run is tried (what ends it
 * could reach, the first start reached). What remains superlinear runs out of steps.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/classes.h"
#include "model/regex.h"

#define MAX_CODE 1024u

enum op {
	OP_SET,	   /* one character of the set */
	OP_LOOP,   /* min..max of them */
	OP_SPLIT,  /* go on here; where that fails, at target */
	OP_JUMP,   /* at target */
	OP_LOOK,   /* what follows, up to its OP_MATCH, matches (or not); then at target */
	OP_ANCHOR, /* see enum mdl_re_anchor */
	OP_MATCH,
};

struct instr {
	uint8_t op;
	uint8_t greed;
	uint8_t anchor;
	bool negative; /* LOOK */
	bool keeps;    /* LOOP: giving back can't help */
	bool nullable; /* SPLIT: the branch here may begin without a character */
	uint32_t bits; /* SET, LOOP: the set's bit; SPLIT: what the branch here may begin with */
	uint32_t min, max;
	uint32_t target;
};

struct mdl_re_prog {
	struct instr *code;
	uint32_t n;
	uint32_t first;		    /* sets that a match may begin with */
	bool nullable;		    /* a match may begin without a character */
	uint32_t skip;		    /* not 0: the set whose runs need but one try */
	struct mdl_classes classes; /* a bit for each set */
};

/* ---- the compiler ---- */

/* What a node may begin with, and whether it may match without a character. */
struct begin {
	uint32_t bits;
	bool nullable;
};

static struct begin begin_of(const struct mdl_re_tree *t, uint32_t node)
{
	const struct mdl_re_node *x = &t->nodes[node];
	struct begin out = {0, true}, b;

	switch (x->kind) {
	case MDL_RE_SET: return (struct begin){1u << x->set, false};
	case MDL_RE_CAT:
		for (uint32_t c = x->child; c && out.nullable; c = t->nodes[c].next) {
			b = begin_of(t, c);
			out.bits |= b.bits;
			out.nullable = b.nullable;
		}
		return out;
	case MDL_RE_ALT:
		out.nullable = false;
		for (uint32_t c = x->child; c; c = t->nodes[c].next) {
			b = begin_of(t, c);
			out.bits |= b.bits;
			out.nullable |= b.nullable;
		}
		return out;
	case MDL_RE_REPEAT:
		out = begin_of(t, x->child);
		out.nullable |= x->min == 0;
		return out;
	case MDL_RE_ATOMIC: return begin_of(t, x->child);
	case MDL_RE_EMPTY:
	case MDL_RE_LOOK:
	case MDL_RE_ANCHOR: break;
	}
	return out;
}

struct compiler {
	const struct mdl_re_tree *t;
	struct mdl_re_prog *p;
	size_t cap;
};

static int compile(struct compiler *c, uint32_t node);

static int emit(struct compiler *c, struct instr i, uint32_t *at)
{
	if (c->p->n >= MAX_CODE)
		return LT_EUNSUPPORTED;
	if (lt_reserve(&c->p->code, &c->cap, c->p->n + 1, sizeof(i)) < 0)
		return LT_ENOMEM;
	*at = c->p->n;
	c->p->code[c->p->n++] = i;
	return 0;
}

static int compile_alt(struct compiler *c, const struct mdl_re_node *x)
{
	uint32_t split, jump, end = UINT32_MAX;
	int rc = 0;

	for (uint32_t k = x->child; k && rc == 0; k = c->t->nodes[k].next) {
		struct begin b = begin_of(c->t, k);
		bool last = c->t->nodes[k].next == 0;

		if (!last)
			rc = emit(c,
				  (struct instr){
					  .op = OP_SPLIT, .bits = b.bits, .nullable = b.nullable},
				  &split);
		if (rc == 0)
			rc = compile(c, k);
		/* The jumps to the end are threaded through their targets until it is known. */
		if (rc == 0 && !last)
			rc = emit(c, (struct instr){.op = OP_JUMP, .target = end}, &jump);
		if (rc == 0 && !last) {
			end = jump;
			c->p->code[split].target = c->p->n;
		}
	}
	while (rc == 0 && end != UINT32_MAX) {
		uint32_t next = c->p->code[end].target;

		c->p->code[end].target = c->p->n;
		end = next;
	}
	return rc;
}

static int compile_repeat(struct compiler *c, const struct mdl_re_node *x)
{
	const struct mdl_re_node *child = &c->t->nodes[x->child];
	struct begin b;
	uint32_t at;
	int rc;

	if (child->kind == MDL_RE_SET)
		return emit(c,
			    (struct instr){.op = OP_LOOP,
					   .bits = 1u << child->set,
					   .min = x->min,
					   .max = x->max,
					   .greed = (uint8_t)x->greed,
					   .keeps = x->greed == MDL_RE_POSSESSIVE},
			    &at);
	if (x->max != 1 || x->greed != MDL_RE_GREEDY)
		return LT_EUNSUPPORTED;
	if (x->min == 1)
		return compile(c, x->child);
	b = begin_of(c->t, x->child);
	rc = emit(c, (struct instr){.op = OP_SPLIT, .bits = b.bits, .nullable = b.nullable}, &at);
	if (rc == 0)
		rc = compile(c, x->child);
	if (rc == 0)
		c->p->code[at].target = c->p->n;
	return rc;
}

static int compile_look(struct compiler *c, const struct mdl_re_node *x)
{
	uint32_t at, end;
	int rc;

	if (x->behind)
		return LT_EUNSUPPORTED;
	rc = emit(c, (struct instr){.op = OP_LOOK, .negative = x->negative}, &at);
	if (rc == 0)
		rc = compile(c, x->child);
	if (rc == 0)
		rc = emit(c, (struct instr){.op = OP_MATCH}, &end);
	if (rc == 0)
		c->p->code[at].target = c->p->n;
	return rc;
}

static int compile(struct compiler *c, uint32_t node)
{
	const struct mdl_re_node *x = &c->t->nodes[node];
	uint32_t at;
	int rc = 0;

	switch (x->kind) {
	case MDL_RE_EMPTY: return 0;
	case MDL_RE_SET: return emit(c, (struct instr){.op = OP_SET, .bits = 1u << x->set}, &at);
	case MDL_RE_CAT:
		for (uint32_t k = x->child; k && rc == 0; k = c->t->nodes[k].next)
			rc = compile(c, k);
		return rc;
	case MDL_RE_ALT: return compile_alt(c, x);
	case MDL_RE_REPEAT: return compile_repeat(c, x);
	case MDL_RE_LOOK: return compile_look(c, x);
	case MDL_RE_ANCHOR:
		return emit(c, (struct instr){.op = OP_ANCHOR, .anchor = (uint8_t)x->anchor}, &at);
	case MDL_RE_ATOMIC: break;
	}
	return LT_EUNSUPPORTED;
}

static uint32_t bit_index(uint32_t bits)
{
	return (uint32_t)__builtin_ctz(bits);
}

/* Marks the repeats that need no giving back: followed by the end, or by a character that the
 * repeat itself can't have taken. */
static void mark_keeps(struct mdl_re_prog *p, const struct mdl_re_tree *t)
{
	for (uint32_t i = 0; i < p->n; i++) {
		struct instr *x = &p->code[i], *next = x + 1;

		if (x->op != OP_LOOP || x->greed == MDL_RE_LAZY)
			continue;
		while (next->op == OP_JUMP)
			next = &p->code[next->target];
		if (next->op == OP_MATCH)
			x->keeps = true;
		if (next->op == OP_SET || (next->op == OP_LOOP && next->min > 0))
			x->keeps |= mdl_set_disjoint(&t->sets[bit_index(x->bits)],
						     &t->sets[bit_index(next->bits)]);
	}
}

int mdl_re_prog_open(const struct mdl_re_tree *tree, struct mdl_re_prog **out)
{
	struct compiler c = {.t = tree};
	struct begin b;
	uint32_t at;
	int rc;

	if (tree->n_sets > MDL_CLASSES_MAX)
		return LT_EUNSUPPORTED;
	c.p = lt_alloc(1, sizeof(*c.p));
	if (!c.p)
		return LT_ENOMEM;
	rc = compile(&c, tree->root);
	if (rc == 0)
		rc = emit(&c, (struct instr){.op = OP_MATCH}, &at);
	if (rc == 0)
		rc = mdl_classes_make(&c.p->classes, tree->sets, tree->n_sets);
	if (rc < 0) {
		mdl_re_prog_close(c.p);
		return rc;
	}
	mark_keeps(c.p, tree);
	b = begin_of(tree, tree->root);
	c.p->first = b.bits;
	c.p->nullable = b.nullable;
	if (c.p->code[0].op == OP_LOOP && c.p->code[0].min > 0 && c.p->code[0].max == MDL_RE_NO_MAX)
		c.p->skip = c.p->code[0].bits;
	*out = c.p;
	return 0;
}

void mdl_re_prog_close(struct mdl_re_prog *p)
{
	if (!p)
		return;
	free(p->code);
	mdl_classes_fini(&p->classes);
	free(p);
}

/* ---- the matcher ---- */

struct match {
	const struct mdl_re_prog *p;
	const unsigned char *begin, *end; /* the subject */
	uint64_t steps;			  /* left */
	bool over;			  /* they ran out */
};

static bool anchored(const struct match *m, unsigned anchor, const unsigned char *at)
{
	switch (anchor) {
	case MDL_RE_LINE_START: return at == m->begin || (at[-1] == '\n' && at < m->end);
	case MDL_RE_LINE_END: return at == m->end || *at == '\n';
	case MDL_RE_TEXT_START: return at == m->begin;
	case MDL_RE_TEXT_END: return at == m->end;
	default: return at == m->end || (at + 1 == m->end && *at == '\n');
	}
}

/* Counts n steps; false when they run out. */
static inline bool spend(struct match *m, uint64_t n)
{
	if (m->steps >= n) {
		m->steps -= n;
		return true;
	}
	m->over = true;
	return false;
}

static bool run(struct match *m, uint32_t pc, const unsigned char *at, const unsigned char **end);

/* Takes up to `most` more characters of the set. */
static inline const unsigned char *take_run(const struct match *m, const struct instr *x,
					    uint32_t most, const unsigned char *at, uint32_t *taken)
{
	uint32_t n = 0;
	size_t len;

	while (n < most && at < m->end && mdl_classes_at(&m->p->classes, at, &len) & x->bits) {
		at += len;
		n += n < MDL_RE_NO_MAX - 1;
	}
	*taken = n;
	return at;
}

/* The rest of the program after a greedy repeat that may have to give back: at its longest first. */
static bool give_back(struct match *m, uint32_t pc, const unsigned char *low,
		      const unsigned char *at, const unsigned char **end)
{
	for (;;) {
		if (run(m, pc, at, end))
			return true;
		if (at == low || !spend(m, 1))
			return false;
		do
			at--;
		while ((*at & 0xc0) == 0x80);
	}
}

static bool take_lazily(struct match *m, uint32_t pc, const struct instr *x, uint32_t most,
			const unsigned char *at, const unsigned char **end)
{
	uint32_t taken;

	for (;;) {
		if (run(m, pc, at, end))
			return true;
		if (most == 0 || !spend(m, 1))
			return false;
		at = take_run(m, x, 1, at, &taken);
		if (taken == 0)
			return false;
		most -= most != MDL_RE_NO_MAX;
	}
}

/* A repeat and, unless it keeps what it takes, the rest of the program: *done then says that the
 * answer is final; otherwise *at moves on. False: no match. */
static bool run_loop(struct match *m, uint32_t pc, const unsigned char **at, bool *done,
		     const unsigned char **end)
{
	const struct instr *x = &m->p->code[pc];
	const unsigned char *low = *at, *high;
	uint32_t taken = 0, most = x->max == MDL_RE_NO_MAX ? MDL_RE_NO_MAX : x->max - x->min;

	*done = false;
	if (x->min) {
		low = take_run(m, x, x->min, low, &taken);
		if (taken < x->min)
			return false;
	}
	if (x->greed == MDL_RE_LAZY) {
		*done = true;
		return take_lazily(m, pc + 1, x, most, low, end);
	}
	high = take_run(m, x, most, low, &taken);
	if (!spend(m, (uint64_t)(high - *at)))
		return false;
	if (x->keeps || high == low) {
		*at = high;
		return true;
	}
	*done = true;
	return give_back(m, pc + 1, low, high, end);
}

static bool run(struct match *m, uint32_t pc, const unsigned char *at, const unsigned char **end)
{
	const struct mdl_re_prog *p = m->p;
	const unsigned char *unused;
	size_t len;
	bool done, ok;

	for (;;) {
		const struct instr *x = &p->code[pc];

		if (!spend(m, 1))
			return false;
		switch (x->op) {
		case OP_SET:
			if (at == m->end || !(mdl_classes_at(&p->classes, at, &len) & x->bits))
				return false;
			at += len;
			pc++;
			break;
		case OP_LOOP:
			ok = run_loop(m, pc, &at, &done, end);
			if (!ok || done)
				return ok;
			pc++;
			break;
		case OP_SPLIT:
			ok = x->nullable ||
			     (at < m->end && mdl_classes_at(&p->classes, at, &len) & x->bits);
			if (ok && run(m, pc + 1, at, end))
				return true;
			pc = x->target;
			break;
		case OP_JUMP: pc = x->target; break;
		case OP_LOOK:
			if (run(m, pc + 1, at, &unused) == x->negative || m->over)
				return false;
			pc = x->target;
			break;
		case OP_ANCHOR:
			if (!anchored(m, x->anchor, at))
				return false;
			pc++;
			break;
		default: *end = at; return true;
		}
	}
}

int mdl_re_prog_find(const struct mdl_re_prog *p, struct mdl_re_work *w, const char *s, size_t n,
		     size_t from, size_t *start, size_t *end)
{
	const unsigned char *begin = (const unsigned char *)s, *at = begin + from, *stop;
	struct match m = {.p = p, .begin = begin, .end = begin + n, .steps = w->steps};
	size_t len = 0;
	bool found;

	for (;;) {
		while (!p->nullable && at < m.end &&
		       !(mdl_classes_at(&p->classes, at, &len) & p->first))
			at += len;
		if (at == m.end && !p->nullable) {
			found = false;
			break;
		}
		found = run(&m, 0, at, &stop);
		if (found || m.over || at == m.end)
			break;
		mdl_classes_at(&p->classes, at, &len);
		at += len;
		while (p->skip && at < m.end && mdl_classes_at(&p->classes, at, &len) & p->skip)
			at += len;
	}
	w->steps = m.steps;
	if (m.over)
		return LT_ETOOBIG;
	if (found) {
		*start = (size_t)(at - begin);
		*end = (size_t)(stop - begin);
	}
	return found;
}
