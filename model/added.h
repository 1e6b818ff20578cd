/*
 * Added tokens, private to model/: texts that are cut out before anything else looks at the text,
 * the longest at the leftmost place. Filled by one thread, sealed, then immutable.
 */
#ifndef LT_MODEL_ADDED_H
#define LT_MODEL_ADDED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define MDL_ADDED_MAX_TEXT 512u /* bytes; bounds the work for each byte of text */

struct mdl_added_token {
	char *text; /* n bytes */
	size_t n;
	int32_t id;
	bool special;	     /* a control token */
	bool lstrip, rstrip; /* takes the white space before, after it along */
	bool single_word;    /* not next to a word character */
	bool normalized;     /* looked for only where those without it were not found */
};

/* Bytes of the texts as a trie: children of a node stand together, in the order of their bytes. */
struct mdl_added_node {
	uint64_t has[4]; /* which bytes lead on */
	uint32_t first;	 /* child of the lowest one */
	int32_t token;	 /* that ends here, -1: none */
};

struct mdl_added {
	struct mdl_added_token *tokens; /* [n], sorted by id once sealed */
	size_t n, cap;
	struct mdl_added_node *tries[2]; /* without and with `normalized`; NULL: no such token */
	size_t n_nodes[2], nodes_cap[2];
};

void mdl_added_fini(struct mdl_added *a); /* {0} is a valid empty one */

/* Adds a token; its text is copied. LT_EFORMAT (empty or malformed text), LT_ETOOBIG (longer than
 * MDL_ADDED_MAX_TEXT), LT_ENOMEM. */
int mdl_added_add(struct mdl_added *a, const struct mdl_added_token *t, struct lt_err *err);

/* LT_EFORMAT when an id or a text stands there twice, LT_ENOMEM. */
int mdl_added_seal(struct mdl_added *a, struct lt_err *err);

/* The token of that id or text, NULL if there is none. Sealed only. */
const struct mdl_added_token *mdl_added_by_id(const struct mdl_added *a, int32_t id);
const struct mdl_added_token *mdl_added_by_text(const struct mdl_added *a, const char *text,
						size_t n);

/* A stretch of text in which added tokens may be found. */
struct mdl_span {
	size_t start, end;
};

/* Finds the first token of text[begin..n) at or after `from` that lies wholly in one of `trusted`
 * (sorted, not touching). Sets [*start, *end) to what it takes: its text and stripped white space,
 * but nothing before `from`. NULL: no more. */
const struct mdl_added_token *mdl_added_find(const struct mdl_added *a, bool normalized,
					     const char *text, size_t begin, size_t n, size_t from,
					     const struct mdl_span *trusted, size_t n_trusted,
					     size_t *start, size_t *end);

#endif
