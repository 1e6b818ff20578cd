/*
 * Regular expressions of pre-tokenizers, private to model/. The dialect is that of the reference
 * library (Oniguruma, Ruby syntax): classes with && and nesting, \p{...}, \s \w \d \h, greedy, lazy
 * and possessive repeats, groups, look-around, (?i) for ASCII; no captures that are referred to.
 *
 * A pattern is parsed into a tree whose leaves are sets of characters (regex-parse.c). The shapes
 * that pre-tokenizers are made of run on a small matcher of our own (regex-run.c), which looks a
 * character up once for all sets of the pattern and counts its steps; whatever else there is goes
 * to PCRE2 (regex-pcre.c). Both read the same sets, so they mean the same.
 *
 * A mdl_re is immutable once open. A mdl_re_work is what one thread needs while it matches.
 */
#ifndef LT_MODEL_REGEX_H
#define LT_MODEL_REGEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "model/charset.h"

struct mdl_re;

/* {0} is a valid empty one. */
struct mdl_re_work {
	uint64_t steps;	   /* left to this text, see mdl_re_work_begin */
	uint64_t deadline; /* of this text in PCRE2, lt_clock_ns; 0: not begun */
	void *match_data, *match_context, *jit_stack;
};

enum mdl_re_how {
	MDL_RE_BEST,	/* our own matcher where the pattern allows */
	MDL_RE_PCRE,	/* PCRE2 always: for tests */
	MDL_RE_LITERAL, /* the pattern is plain text */
};

/* Compiles pattern[0..n), UTF-8. LT_EFORMAT (malformed), LT_EUNSUPPORTED (a construct that isn't
 * understood, by name), LT_ENOMEM; err quotes the pattern. */
int mdl_re_open(const char *pattern, size_t n, enum mdl_re_how how, struct mdl_re **out,
		struct lt_err *err);
void mdl_re_close(struct mdl_re *re); /* NULL is fine */

/* True if PCRE2 runs it. */
bool mdl_re_is_pcre(const struct mdl_re *re);

/* The leftmost match in s[0..n), well-formed UTF-8, that begins at or after `from`; look-behind and
 * anchors see all of s. Returns 1 and [*start, *end), 0 when there is none; LT_ETOOBIG when the
 * pattern takes too many steps on this text, LT_ENOMEM. */
int mdl_re_find(const struct mdl_re *re, struct mdl_re_work *w, const char *s, size_t n,
		size_t from, size_t *start, size_t *end, struct lt_err *err);

/* To be called before the first find on a text of n bytes: allots its steps, so that no pattern can
 * hold a thread for more than a few seconds whatever the text is. */
void mdl_re_work_begin(struct mdl_re_work *w, size_t n);
void mdl_re_work_fini(struct mdl_re_work *w);

/* ---- the parts of the implementation ---- */

enum mdl_re_kind {
	MDL_RE_EMPTY,
	MDL_RE_SET,    /* one character of sets[set] */
	MDL_RE_CAT,    /* children one after the other */
	MDL_RE_ALT,    /* the first child that matches */
	MDL_RE_REPEAT, /* its one child min..max times */
	MDL_RE_ATOMIC, /* its one child, no way back into it */
	MDL_RE_LOOK,   /* its one child matches here (behind: ends here), or not (negative) */
	MDL_RE_ANCHOR, /* see enum mdl_re_anchor */
};

enum mdl_re_anchor {
	MDL_RE_LINE_START,
	MDL_RE_LINE_END,
	MDL_RE_TEXT_START,
	MDL_RE_TEXT_END,
	MDL_RE_LAST_LINE_END, /* the end, or before a newline that ends the text */
};

enum mdl_re_greed { MDL_RE_GREEDY, MDL_RE_LAZY, MDL_RE_POSSESSIVE };

#define MDL_RE_NO_MAX 0xffffffffu

struct mdl_re_node {
	enum mdl_re_kind kind;
	uint32_t child, next; /* nodes; 0: none */
	uint32_t set;
	uint32_t min, max;
	enum mdl_re_greed greed;
	enum mdl_re_anchor anchor;
	bool behind, negative;
};

/* Node 0 is unused. Equal sets are one. */
struct mdl_re_tree {
	struct mdl_re_node *nodes;
	size_t n_nodes, nodes_cap;
	struct mdl_set *sets;
	size_t n_sets, sets_cap;
	uint32_t root;
};

int mdl_re_parse(const char *pattern, size_t n, bool literal, struct mdl_re_tree *tree,
		 struct lt_err *err);
void mdl_re_tree_fini(struct mdl_re_tree *tree);

/* Our own matcher. `open` gives LT_EUNSUPPORTED for a tree that it can't run. */
struct mdl_re_prog;
int mdl_re_prog_open(const struct mdl_re_tree *tree, struct mdl_re_prog **out);
void mdl_re_prog_close(struct mdl_re_prog *p);
int mdl_re_prog_find(const struct mdl_re_prog *p, struct mdl_re_work *w, const char *s, size_t n,
		     size_t from, size_t *start, size_t *end);

/* PCRE2. */
struct mdl_re_pcre;
int mdl_re_pcre_open(const struct mdl_re_tree *tree, struct mdl_re_pcre **out, struct lt_err *err);
void mdl_re_pcre_close(struct mdl_re_pcre *p);
int mdl_re_pcre_find(const struct mdl_re_pcre *p, struct mdl_re_work *w, const char *s, size_t n,
		     size_t from, size_t *start, size_t *end);

#endif
