/*
 * The longest of many byte strings that a text begins with, private to model/: a trie whose nodes are
 * places in one array, so that a byte costs one look-up ("double array"). Made by one thread, then
 * immutable.
 */
#ifndef LT_MODEL_TRIE_H
#define LT_MODEL_TRIE_H

#include <stddef.h>
#include <stdint.h>

#define MDL_TRIE_NONE UINT32_MAX
#define MDL_TRIE_END  (1u << 31)

/* The child for byte c stands at (base ^ c), and its `parent` says whose it is. */
struct mdl_trie_node {
	uint32_t base; /* with MDL_TRIE_END where a string ends */
	uint32_t parent;
};

/* {0} is a valid one without strings. */
struct mdl_trie {
	struct mdl_trie_node *nodes; /* [256 * blocks] the root is node 0 */
	uint32_t *value;	     /* [256 * blocks] of the strings that end here */
	size_t blocks;
};

/* A string of at least one byte, and what mdl_trie_longest shall give for it. */
struct mdl_trie_string {
	const char *s;
	uint32_t n, value;
};

/* Sorts `strings`, which are distinct, and makes a trie of them. LT_ENOMEM; t is {0} then. */
int mdl_trie_make(struct mdl_trie *t, struct mdl_trie_string *strings, size_t n);
void mdl_trie_fini(struct mdl_trie *t);

/* The value of the longest string that s[0..n) begins with, and its length; MDL_TRIE_NONE and 0 when
 * there is none. Not for the trie without strings. */
static inline uint32_t mdl_trie_longest(const struct mdl_trie *t, const char *s, size_t n,
					size_t *len)
{
	uint32_t node = 0, base = t->nodes[0].base, best = 0;
	size_t best_n = 0;

	for (size_t i = 0; i < n; i++) {
		uint32_t next = (base & ~MDL_TRIE_END) ^ (unsigned char)s[i];

		if (t->nodes[next].parent != node)
			break;
		node = next;
		base = t->nodes[node].base;
		if (base & MDL_TRIE_END) {
			best = node;
			best_n = i + 1;
		}
	}
	*len = best_n;
	return best ? t->value[best] : MDL_TRIE_NONE;
}

#endif
