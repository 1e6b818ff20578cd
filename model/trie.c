/*
 * Making a trie: nodes in the order of their depth, the children of each put where all of them find
 * their places free. Places come in blocks of 256, and the children of a node share a block. A single
 * child, which is what most nodes have, fits anywhere, and so fills what larger families left.
 */
#include "model/trie.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"

#define BLOCK 256u
#define TRIES 16u /* blocks that a family is tried in */

/* Strings [lo, hi) share the first `depth` bytes, which lead to `node`. */
struct todo {
	uint32_t lo, hi, depth, node;
};

struct maker {
	struct mdl_trie *t;
	const struct mdl_trie_string *strings;
	size_t nodes_cap, value_cap;
	uint16_t *room; /* [blocks] free places */
	size_t room_cap;
	size_t open; /* blocks before it are full */
	struct todo *queue;
	size_t head, tail, queue_cap;
};

void mdl_trie_fini(struct mdl_trie *t)
{
	free(t->nodes);
	free(t->value);
	*t = (struct mdl_trie){0};
}

static int by_bytes(const void *pa, const void *pb)
{
	const struct mdl_trie_string *a = pa, *b = pb;
	int order = memcmp(a->s, b->s, a->n < b->n ? a->n : b->n);

	return order ? order : a->n < b->n ? -1 : a->n > b->n;
}

static int add_block(struct maker *m)
{
	struct mdl_trie *t = m->t;
	size_t n = (t->blocks + 1) * BLOCK;

	if (n > MDL_TRIE_END || lt_reserve(&t->nodes, &m->nodes_cap, n, sizeof(*t->nodes)) < 0 ||
	    lt_reserve(&t->value, &m->value_cap, n, sizeof(*t->value)) < 0 ||
	    lt_reserve(&m->room, &m->room_cap, t->blocks + 1, sizeof(*m->room)) < 0)
		return LT_ENOMEM;
	for (size_t i = n - BLOCK; i < n; i++) {
		t->nodes[i] = (struct mdl_trie_node){0, MDL_TRIE_NONE};
		t->value[i] = MDL_TRIE_NONE;
	}
	m->room[t->blocks++] = BLOCK;
	return 0;
}

static bool is_free(const struct mdl_trie *t, size_t at)
{
	return at && t->nodes[at].parent == MDL_TRIE_NONE;
}

/* Where in a block the children bytes[0..n) fit; false if nowhere. */
static bool fits(const struct maker *m, size_t block, const unsigned char *bytes, size_t n,
		 uint32_t *base)
{
	for (uint32_t i = 0; m->room[block] >= n && i < BLOCK; i++) {
		uint32_t b = (uint32_t)(block * BLOCK) + (i ^ bytes[0]);
		size_t k = 0;

		while (k < n && is_free(m->t, b ^ bytes[k]))
			k++;
		if (k == n) {
			*base = b;
			return true;
		}
	}
	return false;
}

static int place(struct maker *m, const unsigned char *bytes, size_t n, uint32_t *base)
{
	size_t blocks = m->t->blocks, block;

	while (m->open < blocks && m->room[m->open] == 0)
		m->open++;
	block = n == 1 || blocks - m->open < TRIES ? m->open : blocks - TRIES;
	for (; block < blocks; block++) {
		if (fits(m, block, bytes, n, base))
			return 0;
	}
	if (add_block(m) < 0)
		return LT_ENOMEM;
	*base = (uint32_t)(block * BLOCK);
	return fits(m, block, bytes, n, base) ? 0 : LT_ENOMEM;
}

/* Gives a node its value and its children, which are to be done later. */
static int expand(struct maker *m, struct todo t)
{
	size_t first = m->tail, n;
	unsigned char bytes[BLOCK];
	uint32_t base;

	if (m->strings[t.lo].n == t.depth) {
		m->t->value[t.node] = m->strings[t.lo++].value;
		m->t->nodes[t.node].base = MDL_TRIE_END;
	}
	if (t.lo == t.hi)
		return 0;
	if (lt_reserve(&m->queue, &m->queue_cap, m->tail + BLOCK, sizeof(*m->queue)) < 0)
		return LT_ENOMEM;
	for (uint32_t i = t.lo; i < t.hi; i++) {
		unsigned char c = (unsigned char)m->strings[i].s[t.depth];

		if (i == t.lo || bytes[m->tail - first - 1] != c) {
			bytes[m->tail - first] = c;
			m->queue[m->tail++] = (struct todo){i, i, t.depth + 1, 0};
		}
		m->queue[m->tail - 1].hi = i + 1;
	}
	n = m->tail - first;
	if (place(m, bytes, n, &base) < 0)
		return LT_ENOMEM;
	m->t->nodes[t.node].base |= base;
	m->room[base / BLOCK] = (uint16_t)(m->room[base / BLOCK] - n);
	for (size_t i = 0; i < n; i++) {
		m->queue[first + i].node = base ^ bytes[i];
		m->t->nodes[base ^ bytes[i]].parent = t.node;
	}
	return 0;
}

int mdl_trie_make(struct mdl_trie *t, struct mdl_trie_string *strings, size_t n)
{
	struct maker m = {.t = t, .strings = strings};
	int rc;

	*t = (struct mdl_trie){0};
	if (n == 0)
		return 0;
	qsort(strings, n, sizeof(*strings), by_bytes);
	rc = add_block(&m);
	if (rc == 0)
		m.room[0]--; /* the root's */
	if (rc == 0)
		rc = expand(&m, (struct todo){0, (uint32_t)n, 0, 0});
	while (rc == 0 && m.head < m.tail)
		rc = expand(&m, m.queue[m.head++]);
	free(m.room);
	free(m.queue);
	if (rc < 0)
		mdl_trie_fini(t);
	return rc;
}
