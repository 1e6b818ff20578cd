/*
 * The pool of cache blocks: who uses how many, which are kept for reuse, which are free.
 *
 * A block is in one of three conditions: used (reference count above 0: so many sequences have it
 * in their tables), cached (count 0, but listed in the prefix index: somebody may want it again), or
 * free. Cached blocks form a list by the time of their last use, and the oldest is given away when
 * no free one is left. A sequence gives its blocks back from the last to the first, so that a
 * cached block grows old before the block it follows. The scheduler's thread is the only user.
 */
#ifndef LT_SCHEDULER_BLOCKS_H
#define LT_SCHEDULER_BLOCKS_H

#include <stdint.h>

#include "scheduler/prefix.h"

struct sched_block {
	uint32_t refs;
	uint32_t prev,
		next; /* neighbours in the list of cached ones; next alone in that of free ones */
};

struct sched_blocks {
	struct sched_prefix *index; /* borrowed */
	struct sched_block *all;    // [n]
	uint32_t n;
	uint32_t used, cached, shared; /* counts; shared: used by two or more */
	uint32_t free_head;
	uint32_t oldest, newest; /* of the cached */
	uint64_t returns;	 /* how often a block's last user gave it back, so far */
};

/* A pool of n free blocks. 0 or LT_ENOMEM. */
int sched_blocks_init(struct sched_blocks *b, uint32_t n, struct sched_prefix *index);
void sched_blocks_fini(struct sched_blocks *b);

/* How many sched_blocks_take would give now. */
uint32_t sched_blocks_left(const struct sched_blocks *b);

/* A block with one reference and no key: a free one, or else the cached one that was used longest
 * ago. SCHED_BLOCK_NONE when all are used. */
uint32_t sched_blocks_take(struct sched_blocks *b);

/* One more user of a used or cached block. */
void sched_blocks_ref(struct sched_blocks *b, uint32_t block);

/* One user less; after the last one a listed block is cached, another one free. */
void sched_blocks_unref(struct sched_blocks *b, uint32_t block);

/* Takes a block off the prefix index for good, whoever uses it. */
void sched_blocks_forget(struct sched_blocks *b, uint32_t block);

#endif
