/*
 * Reference counts, a stack of free blocks and a doubly linked list of cached ones.
 */
#include "scheduler/blocks.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define NONE SCHED_BLOCK_NONE

int sched_blocks_init(struct sched_blocks *b, uint32_t n, struct sched_prefix *index)
{
	memset(b, 0, sizeof(*b));
	b->all = lt_alloc(n, sizeof(*b->all));
	if (!b->all)
		return LT_ENOMEM;
	b->index = index;
	b->n = n;
	b->oldest = b->newest = NONE;
	for (uint32_t i = 0; i < n; i++)
		b->all[i].next = i + 1 < n ? i + 1 : NONE;
	b->free_head = n > 0 ? 0 : NONE;
	return 0;
}

void sched_blocks_fini(struct sched_blocks *b)
{
	free(b->all);
	memset(b, 0, sizeof(*b));
}

uint32_t sched_blocks_left(const struct sched_blocks *b)
{
	return b->n - b->used;
}

static void add_free(struct sched_blocks *b, uint32_t block)
{
	b->all[block].next = b->free_head;
	b->free_head = block;
}

static void add_cached(struct sched_blocks *b, uint32_t block)
{
	struct sched_block *at = &b->all[block];

	at->prev = b->newest;
	at->next = NONE;
	if (b->newest != NONE)
		b->all[b->newest].next = block;
	else
		b->oldest = block;
	b->newest = block;
	b->cached++;
}

static void remove_cached(struct sched_blocks *b, uint32_t block)
{
	const struct sched_block *at = &b->all[block];

	if (at->prev != NONE)
		b->all[at->prev].next = at->next;
	else
		b->oldest = at->next;
	if (at->next != NONE)
		b->all[at->next].prev = at->prev;
	else
		b->newest = at->prev;
	b->cached--;
}

uint32_t sched_blocks_take(struct sched_blocks *b)
{
	uint32_t block = b->free_head;

	if (block != NONE) {
		b->free_head = b->all[block].next;
	} else if (b->oldest != NONE) {
		block = b->oldest;
		remove_cached(b, block);
		sched_prefix_drop(b->index, block);
	} else {
		return NONE;
	}
	b->all[block].refs = 1;
	b->used++;
	return block;
}

void sched_blocks_ref(struct sched_blocks *b, uint32_t block)
{
	struct sched_block *at = &b->all[block];

	if (at->refs == 0) {
		LT_ASSERT(b->index->listed[block]);
		remove_cached(b, block);
		b->used++;
	} else if (at->refs == 1) {
		b->shared++;
	}
	at->refs++;
}

void sched_blocks_unref(struct sched_blocks *b, uint32_t block)
{
	struct sched_block *at = &b->all[block];

	LT_ASSERT(at->refs > 0);
	at->refs--;
	if (at->refs == 1) {
		b->shared--;
	} else if (at->refs == 0) {
		b->used--;
		b->returns++;
		if (b->index->listed[block])
			add_cached(b, block);
		else
			add_free(b, block);
	}
}

void sched_blocks_forget(struct sched_blocks *b, uint32_t block)
{
	if (!b->index->listed[block])
		return;
	sched_prefix_drop(b->index, block);
	if (b->all[block].refs == 0) {
		remove_cached(b, block);
		add_free(b, block);
	}
}
