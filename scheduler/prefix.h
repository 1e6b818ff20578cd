/*
 * The prefix index: which cache block holds the latents of which text.
 *
 * A full block of ENG_BLOCK_TOKENS tokens has a key: keyed BLAKE2b over the key of the block before
 * it and its own tokens. So a key stands for all text from the sequence's start, and the first key
 * of a chain is made of the request's salt: sequences under different salts can't meet, and nobody
 * can tell from timing what another salt's prompts were. The hash key is random for each process;
 * 128 bits of a keyed hash stand for equality, tokens are not compared.
 *
 * The index is a fixed open-addressing table of block numbers (no memory is taken after init). The
 * scheduler's thread is its only user.
 */
#ifndef LT_SCHEDULER_PREFIX_H
#define LT_SCHEDULER_PREFIX_H

#include <stdbool.h>
#include <stdint.h>

#include "base/hash.h"
#include "scheduler/sched.h"

#define SCHED_KEY_BYTES	 16
#define SCHED_BLOCK_NONE UINT32_MAX

struct sched_prefix {
	unsigned char secret[LT_HASH_MAX];
	unsigned char (*keys)[SCHED_KEY_BYTES]; // [blocks] key of each block that is listed
	bool *listed;				// [blocks]
	uint32_t *table;			// [mask + 1] block number or SCHED_BLOCK_NONE
	uint64_t mask;
};

/* An empty index for blocks 0..n. 0 or LT_ENOMEM. */
int sched_prefix_init(struct sched_prefix *p, uint32_t n);
void sched_prefix_fini(struct sched_prefix *p);

/* The key that stands before a sequence's first block. */
void sched_prefix_root(const struct sched_prefix *p, const unsigned char salt[SCHED_SALT_BYTES],
		       unsigned char out[SCHED_KEY_BYTES]);

/* The key of the block with tokens [ENG_BLOCK_TOKENS] after the block with key `parent`; `out` may
 * be `parent`. */
void sched_prefix_child(const struct sched_prefix *p, const unsigned char parent[SCHED_KEY_BYTES],
			const int32_t *tokens, unsigned char out[SCHED_KEY_BYTES]);

/* The block listed under `key`, or SCHED_BLOCK_NONE. */
uint32_t sched_prefix_find(const struct sched_prefix *p, const unsigned char key[SCHED_KEY_BYTES]);

/* Lists `block`, which isn't, under `key`; false (and nothing done) if another block is there. */
bool sched_prefix_put(struct sched_prefix *p, const unsigned char key[SCHED_KEY_BYTES],
		      uint32_t block);

/* Takes `block` off the list; nothing if it isn't there. */
void sched_prefix_drop(struct sched_prefix *p, uint32_t block);

#endif
