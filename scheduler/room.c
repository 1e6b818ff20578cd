/*
 * A sequence's block table. Only a block with one reference and no key is ever written.
 *
 * Keys are made as the blocks fill, each from the one before (q->chain), so no key is kept for a
 * sequence beyond its last; a look-up makes them again until it misses.
 */
#include "scheduler/room.h"

#include <string.h>

#include "base/mem.h"

#define BLOCK ENG_BLOCK_TOKENS

static bool caches(const struct sched_core *c, const struct sched_seq *q)
{
	return c->opts.prefix_cache && !q->req->in.no_prefix_cache;
}

/* The key of block number i of q after the key `parent`. */
static void key_of(const struct sched_core *c, const struct sched_seq *q, uint32_t i,
		   const unsigned char *parent, unsigned char *out)
{
	int32_t tokens[BLOCK];

	sched_seq_copy(q, i * BLOCK, BLOCK, tokens);
	sched_prefix_child(&c->prefix, parent, tokens, out);
}

/* The listed block with q's text number i, for which `key` holds the key before it and, if the block
 * is found, its own; else SCHED_BLOCK_NONE. The last token's block is never looked up. */
static uint32_t look_up(const struct sched_core *c, const struct sched_seq *q, uint32_t i,
			unsigned char *key)
{
	unsigned char next[SCHED_KEY_BYTES];
	uint32_t block;

	if ((i + 1) * BLOCK >= sched_seq_tokens(q))
		return SCHED_BLOCK_NONE;
	key_of(c, q, i, key, next);
	block = sched_prefix_find(&c->prefix, next);
	if (block != SCHED_BLOCK_NONE)
		memcpy(key, next, SCHED_KEY_BYTES);
	return block;
}

uint32_t sched_room_guess(const struct sched_core *c, const struct sched_seq *q)
{
	unsigned char key[SCHED_KEY_BYTES];
	uint32_t n = 0;

	if (!caches(c, q))
		return 0;
	memcpy(key, q->req->root, sizeof(key));
	while (look_up(c, q, n, key) != SCHED_BLOCK_NONE)
		n++;
	return n * BLOCK;
}

/* Takes a reference to every block that the index has for q. */
static void take_listed(struct sched_core *c, struct sched_seq *q)
{
	uint32_t block;

	memcpy(q->chain, q->req->root, SCHED_KEY_BYTES);
	if (!caches(c, q))
		return;
	while ((block = look_up(c, q, q->n_blocks, q->chain)) != SCHED_BLOCK_NONE) {
		sched_blocks_ref(&c->blocks, block);
		q->blocks[q->n_blocks++] = block;
	}
}

/* Positions from..n_done were found in the index: counts those that q had not reached before. */
static void count_found(struct sched_core *c, struct sched_seq *q, uint32_t from)
{
	uint32_t old = from > q->reached ? from : q->reached;

	if (q->n_done <= old)
		return;
	if (q->req->leader == q) {
		q->req->n_cached += q->n_done - old;
		c->stats.cached_tokens += q->n_done - old;
	}
	q->reached = q->n_done;
}

enum sched_room sched_room_open(struct sched_core *c, struct sched_seq *q, uint32_t spare)
{
	uint32_t need = (sched_seq_tokens(q) + BLOCK - 1) / BLOCK;

	LT_ASSERT(q->n_blocks == 0);
	/* The same blocks would be found, and as many be missing, as the last time. */
	if (q->tried == c->blocks.returns + 1)
		return SCHED_ROOM_BLOCKS;
	if (lt_reserve(&q->blocks, &q->blocks_cap, need, sizeof(*q->blocks)) < 0)
		return SCHED_ROOM_MEMORY;
	take_listed(c, q);
	q->n_done = q->n_blocks * BLOCK;
	if ((uint64_t)sched_blocks_left(&c->blocks) < (uint64_t)need - q->n_blocks + spare) {
		sched_room_close(c, q, false);
		q->tried = c->blocks.returns + 1;
		return SCHED_ROOM_BLOCKS;
	}
	while (q->n_blocks < need)
		q->blocks[q->n_blocks++] = sched_blocks_take(&c->blocks);
	count_found(c, q, 0);
	return SCHED_ROOM_OK;
}

enum sched_room sched_room_grow(struct sched_core *c, struct sched_seq *q)
{
	uint32_t i = q->n_done / BLOCK, fresh, old;

	LT_ASSERT(i <= q->n_blocks);
	if (i < q->n_blocks && c->blocks.all[q->blocks[i]].refs == 1)
		return SCHED_ROOM_OK;
	if (lt_reserve(&q->blocks, &q->blocks_cap, (size_t)i + 1, sizeof(*q->blocks)) < 0)
		return SCHED_ROOM_MEMORY;
	fresh = sched_blocks_take(&c->blocks);
	if (fresh == SCHED_BLOCK_NONE)
		return SCHED_ROOM_BLOCKS;
	if (i == q->n_blocks) {
		q->n_blocks++;
	} else {
		old = q->blocks[i];
		eng_block_copy(c->engine, fresh, old, q->n_done % BLOCK);
		sched_blocks_unref(&c->blocks, old);
	}
	q->blocks[i] = fresh;
	return SCHED_ROOM_OK;
}

void sched_room_adopt(struct sched_core *c, struct sched_seq *q)
{
	uint32_t from = q->n_done, i, block;

	if (!caches(c, q) || q->n_done % BLOCK != 0)
		return;
	for (i = q->n_done / BLOCK; (block = look_up(c, q, i, q->chain)) != SCHED_BLOCK_NONE; i++) {
		sched_blocks_ref(&c->blocks, block);
		sched_blocks_unref(&c->blocks, q->blocks[i]);
		q->blocks[i] = block;
		q->n_done += BLOCK;
	}
	count_found(c, q, from);
}

void sched_room_commit(struct sched_core *c, struct sched_seq *q, uint32_t n)
{
	uint32_t i = q->n_done / BLOCK;

	if (q->n_done < q->reached)
		c->stats.recomputed_tokens +=
			n < q->reached - q->n_done ? n : q->reached - q->n_done;
	q->n_done += n;
	if (q->reached < q->n_done)
		q->reached = q->n_done;
	if (!caches(c, q))
		return;
	for (; i < q->n_done / BLOCK; i++) {
		key_of(c, q, i, q->chain, q->chain);
		/* When another block has this text already, ours stays private: its bits may differ
		 * (other form of attention), and the sequence has seen its own. */
		sched_prefix_put(&c->prefix, q->chain, q->blocks[i]);
	}
}

void sched_room_close(struct sched_core *c, struct sched_seq *q, bool forget)
{
	while (q->n_blocks > 0) {
		uint32_t block = q->blocks[--q->n_blocks];
		if (forget)
			sched_blocks_forget(&c->blocks, block);
		sched_blocks_unref(&c->blocks, block);
	}
	q->n_done = 0;
}

int sched_room_share(struct sched_core *c, struct sched_seq *to, const struct sched_seq *from)
{
	LT_ASSERT(to->n_blocks == 0);
	if (lt_reserve(&to->blocks, &to->blocks_cap, from->n_blocks, sizeof(*to->blocks)) < 0)
		return LT_ENOMEM;
	for (uint32_t i = 0; i < from->n_blocks; i++) {
		sched_blocks_ref(&c->blocks, from->blocks[i]);
		to->blocks[i] = from->blocks[i];
	}
	to->n_blocks = from->n_blocks;
	to->n_done = from->n_done;
	to->reached = from->reached;
	memcpy(to->chain, from->chain, SCHED_KEY_BYTES);
	return 0;
}
