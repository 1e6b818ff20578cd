/*
 * The two hash tables of a vocabulary, for bpe*.c and merge.c: open addressing, read far more often
 * than written, a slot in 64 bits each. What is looked up may come from a client, what is in them
 * comes from the model, so chains can't be grown from outside.
 */
#ifndef LT_MODEL_BPE_TABLE_H
#define LT_MODEL_BPE_TABLE_H

#include <string.h>

#include "model/bpe.h"

/* ---- words: [high bits of the hash : 42][whole : 1][id + 1 : 21 and a bit to carry] ---- */

#define MDL_BPE_SLOT_ID	 ((UINT64_C(1) << (MDL_BPE_ID_BITS + 1)) - 1)
#define MDL_BPE_WHOLE	 (UINT64_C(1) << (MDL_BPE_ID_BITS + 1))
#define MDL_BPE_SLOT_TAG (~(MDL_BPE_SLOT_ID | MDL_BPE_WHOLE))

static inline uint64_t mdl_bpe_load(const char *s, size_t n)
{
	uint64_t v = 0;

	memcpy(&v, s, n);
	return v;
}

static inline uint64_t mdl_bpe_mix(uint64_t a, uint64_t b)
{
	__uint128_t m = (__uint128_t)(a ^ UINT64_C(0x9e3779b97f4a7c15)) *
			(b ^ UINT64_C(0xd6e8feb86659fd93));

	return (uint64_t)m ^ (uint64_t)(m >> 64);
}

/* Of s[0..n), n > 0. The low bits choose the slot, the high bits are its tag. */
static inline uint64_t mdl_bpe_hash(const char *s, size_t n)
{
	uint64_t h = n;

	for (; n > 16; s += 8, n -= 8)
		h = mdl_bpe_mix(mdl_bpe_load(s, 8), h);
	if (n >= 8)
		return mdl_bpe_mix(mdl_bpe_load(s, 8) ^ h << 32, mdl_bpe_load(s + n - 8, 8) ^ h);
	if (n >= 4)
		return mdl_bpe_mix(mdl_bpe_load(s, 4) | mdl_bpe_load(s + n - 4, 4) << 32, h);
	return mdl_bpe_mix((uint64_t)(unsigned char)s[0] | (uint64_t)(unsigned char)s[n / 2] << 8 |
				   (uint64_t)(unsigned char)s[n - 1] << 16,
			   h);
}

static inline uint64_t mdl_bpe_slot(uint64_t hash, uint32_t id)
{
	return (hash & MDL_BPE_SLOT_TAG) | ((uint64_t)id + 1);
}

static inline int32_t mdl_bpe_slot_id(uint64_t slot)
{
	return (int32_t)(slot & MDL_BPE_SLOT_ID) - 1;
}

/* The slot of the token with the bytes s[0..n), n > 0, or 0. */
static inline uint64_t mdl_bpe_word(const struct mdl_bpe *b, const char *s, size_t n)
{
	uint64_t hash = mdl_bpe_hash(s, n);

	for (size_t i = hash & b->words_mask; b->words[i]; i = (i + 1) & b->words_mask) {
		const struct mdl_bpe_token *t;

		if ((b->words[i] ^ hash) & MDL_BPE_SLOT_TAG)
			continue;
		t = &b->tokens[mdl_bpe_slot_id(b->words[i])];
		if (t->len == n && memcmp(b->arena + t->at, s, n) == 0)
			return b->words[i];
	}
	return 0;
}

/* ---- pairs: [left id : 21][right id : 21][rank : 21] ---- */

#define MDL_BPE_NO_PAIR UINT64_MAX
#define MDL_BPE_NO_RANK UINT32_MAX

/* Its highest bits choose the slot, two more the bit of `maybe`. */
static inline uint64_t mdl_bpe_pair_hash(uint64_t key)
{
	return (key ^ key >> 17) * UINT64_C(0x9e3779b97f4a7c15);
}

/* The rank of the merge of two tokens, MDL_BPE_NO_RANK when there is none. */
static inline uint32_t mdl_bpe_rank(const struct mdl_bpe *b, uint32_t left, uint32_t right)
{
	uint64_t key = (uint64_t)left << MDL_BPE_ID_BITS | right;
	uint64_t hash = mdl_bpe_pair_hash(key);
	size_t i = hash >> b->pairs_shift, bit = hash >> (b->pairs_shift - 2);

	/* Most pairs have no merge, and this much of the table stays in a near cache. */
	if (!(b->maybe[bit / 64] >> bit % 64 & 1))
		return MDL_BPE_NO_RANK;
	while (b->pairs[i] >> MDL_BPE_ID_BITS != key) {
		if (b->pairs[i] == MDL_BPE_NO_PAIR)
			return MDL_BPE_NO_RANK;
		i = (i + 1) & b->pairs_mask;
	}
	return (uint32_t)(b->pairs[i] & (MDL_BPE_MAX_IDS - 1));
}

#endif
