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

/* The free places of a block, and how many. */
struct room {
	uint64_t free[BLOCK / 64];
	uint32_t n;
};

struct maker {
	struct mdl_trie *t;
	const struct mdl_trie_string *strings;
	size_t nodes_cap, value_cap;
	struct room *rooms; /* [blocks] */
	size_t rooms_cap;
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
	    lt_reserve(&m->rooms, &m->rooms_cap, t->blocks + 1, sizeof(*m->rooms)) < 0)
		return LT_ENOMEM;
	for (size_t i = n - BLOCK; i < n; i++) {
		t->nodes[i] = (struct mdl_trie_node){0, MDL_TRIE_NONE};
		t->value[i] = MDL_TRIE_NONE;
	}
	m->rooms[t->blocks].n = BLOCK;
	memset(m->rooms[t->blocks++].free, 0xff, sizeof(m->rooms->free));
	return 0;
}

static bool is_free(const struct room *r, uint32_t at)
{
	return r->free[at / 64] >> at % 64 & 1;
}

static void take(struct maker *m, uint32_t node)
{
	struct room *r = &m->rooms[node / BLOCK];

	r->free[node % BLOCK / 64] &= ~(UINT64_C(1) << node % 64);
	r->n--;
}

/* Where in a block the children bytes[0..n) fit: the first goes to each free place in turn. False if
 * nowhere. */
static bool fits(const struct maker *m, size_t block, const unsigned char *bytes, size_t n,
		 uint32_t *base)
{
	const struct room *r = &m->rooms[block];

	for (uint32_t word = 0; r->n >= n && word < BLOCK / 64; word++) {
		for (uint64_t left = r->free[word]; left; left &= left - 1) {
			uint32_t b = (word * 64 + (uint32_t)__builtin_ctzll(left)) ^ bytes[0];
			size_t k = 1;

			while (k < n && is_free(r, b ^ bytes[k]))
				k++;
			if (k == n) {
				*base = (uint32_t)(block * BLOCK) + b;
				return true;
			}
		}
	}
	return false;
}

static int place(struct maker *m, const unsigned char *bytes, size_t n, uint32_t *base)
{
	size_t blocks = m->t->blocks, block;

	while (m->open < blocks && m->rooms[m->open].n == 0)
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
	for (size_t i = 0; i < n; i++) {
		m->queue[first + i].node = base ^ bytes[i];
		m->t->nodes[base ^ bytes[i]].parent = t.node;
		take(m, base ^ bytes[i]);
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
	if (rc == 0) {
		take(&m, 0); /* the root's */
		rc = expand(&m, (struct todo){0, (uint32_t)n, 0, 0});
	}
	while (rc == 0 && m.head < m.tail)
		rc = expand(&m, m.queue[m.head++]);
	free(m.rooms);
	free(m.queue);
	if (rc < 0)
		mdl_trie_fini(t);
	return rc;
}
