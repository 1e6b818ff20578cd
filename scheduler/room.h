/*
 * Blocks for sequences: what the prefix cache has, what must be found, copied, listed and given
 * back. All functions leave reference counts consistent when they fail.
 */
#ifndef LT_SCHEDULER_ROOM_H
#define LT_SCHEDULER_ROOM_H

#include "scheduler/core.h"

enum sched_room {
	SCHED_ROOM_OK,
	SCHED_ROOM_BLOCKS, /* too few blocks now */
	SCHED_ROOM_MEMORY, /* no memory for the block table */
};

/* Fills the table of a waiting sequence: blocks with its text from the prefix index, and fresh ones
 * for all other tokens known so far. Sets n_done to where computing starts: always before the last
 * token, whose logits are needed. `spare` more blocks must be left over, for sequences that run. */
enum sched_room sched_room_open(struct sched_core *c, struct sched_seq *q, uint32_t spare);

/* Lets q write position n_done: a new block if the last one is full, a copy if it is shared. */
enum sched_room sched_room_grow(struct sched_core *c, struct sched_seq *q);

/* Swaps blocks that q has yet to compute for ones that others have listed since it started. */
void sched_room_adopt(struct sched_core *c, struct sched_seq *q);

/* `n` more positions are in the cache: n_done moves on, blocks that became full are listed. */
void sched_room_commit(struct sched_core *c, struct sched_seq *q, uint32_t n);

/* Gives all blocks back, the last one first; `forget` takes them off the index (bad contents). */
void sched_room_close(struct sched_core *c, struct sched_seq *q, bool forget);

/* Gives `to` the same blocks as `from`, each with one more reference. 0 or LT_ENOMEM. */
int sched_room_share(struct sched_core *c, struct sched_seq *to, const struct sched_seq *from);

/* Tokens that sched_room_open would find in the prefix index now. */
uint32_t sched_room_guess(const struct sched_core *c, const struct sched_seq *q);

#endif
