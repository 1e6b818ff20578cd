/*
 * Linear probing with backward-shift deletion. The keys are output of a keyed hash, so their first
 * bytes serve as the table's hash as they are.
 */
#include "scheduler/prefix.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"

int sched_prefix_init(struct sched_prefix *p, uint32_t n)
{
	uint64_t size = 16;

	memset(p, 0, sizeof(*p));
	while (size < (uint64_t)n * 2)
		size *= 2;
	lt_random(p->secret, sizeof(p->secret));
	p->keys = lt_alloc(n, sizeof(*p->keys));
	p->listed = lt_alloc(n, sizeof(*p->listed));
	p->table = lt_alloc(size, sizeof(*p->table));
	if (!p->keys || !p->listed || !p->table) {
		sched_prefix_fini(p);
		return LT_ENOMEM;
	}
	memset(p->table, 0xff, size * sizeof(*p->table));
	p->mask = size - 1;
	return 0;
}

void sched_prefix_fini(struct sched_prefix *p)
{
	free(p->keys);
	free(p->listed);
	free(p->table);
	memset(p, 0, sizeof(*p));
}

void sched_prefix_root(const struct sched_prefix *p, const unsigned char salt[SCHED_SALT_BYTES],
		       unsigned char out[SCHED_KEY_BYTES])
{
	/* Shorter than parent + tokens, so no block's key can be equal by construction. */
	lt_hash(p->secret, sizeof(p->secret), salt, SCHED_SALT_BYTES, out, SCHED_KEY_BYTES);
}

void sched_prefix_child(const struct sched_prefix *p, const unsigned char parent[SCHED_KEY_BYTES],
			const int32_t *tokens, unsigned char out[SCHED_KEY_BYTES])
{
	lt_hash2(p->secret, sizeof(p->secret), parent, SCHED_KEY_BYTES, tokens,
		 ENG_BLOCK_TOKENS * sizeof(*tokens), out, SCHED_KEY_BYTES);
}

static uint64_t home(const struct sched_prefix *p, const unsigned char key[SCHED_KEY_BYTES])
{
	uint64_t h;

	memcpy(&h, key, sizeof(h));
	return h & p->mask;
}

/* Where `key` is, or the free place where it would go. The table is at most half full. */
static uint64_t place(const struct sched_prefix *p, const unsigned char key[SCHED_KEY_BYTES])
{
	for (uint64_t i = home(p, key);; i = (i + 1) & p->mask) {
		uint32_t block = p->table[i];
		if (block == SCHED_BLOCK_NONE || memcmp(p->keys[block], key, SCHED_KEY_BYTES) == 0)
			return i;
	}
}

uint32_t sched_prefix_find(const struct sched_prefix *p, const unsigned char key[SCHED_KEY_BYTES])
{
	return p->table[place(p, key)];
}

bool sched_prefix_put(struct sched_prefix *p, const unsigned char key[SCHED_KEY_BYTES],
		      uint32_t block)
{
	uint64_t i = place(p, key);

	LT_ASSERT(!p->listed[block]);
	if (p->table[i] != SCHED_BLOCK_NONE)
		return false;
	memcpy(p->keys[block], key, SCHED_KEY_BYTES);
	p->listed[block] = true;
	p->table[i] = block;
	return true;
}

void sched_prefix_drop(struct sched_prefix *p, uint32_t block)
{
	uint64_t hole, i;

	if (!p->listed[block])
		return;
	hole = place(p, p->keys[block]);
	LT_ASSERT(p->table[hole] == block);
	p->listed[block] = false;
	/* Move back each later entry of the run whose home lies at or before the hole. */
	for (i = (hole + 1) & p->mask; p->table[i] != SCHED_BLOCK_NONE; i = (i + 1) & p->mask) {
		uint64_t from = home(p, p->keys[p->table[i]]);
		if (((i - from) & p->mask) >= ((i - hole) & p->mask)) {
			p->table[hole] = p->table[i];
			hole = i;
		}
	}
	p->table[hole] = SCHED_BLOCK_NONE;
}
