/*
 * The paged latent cache: blocks of ENG_BLOCK_TOKENS tokens; a token's entry in a layer is `width`
 * values (the normed latent, then the rotated shared key). Stored as BF16, F32 or Q8; written from
 * and read to float32, so that every reader sees the same rounding. Layout [blocks][layers]
 * [ENG_BLOCK_TOKENS] entries: a block's entries of all layers lie together, for copies.
 *
 * An entry in Q8 is
 *   bfloat16 scale[latent / ENG_CACHE_GROUP, rounded up]
 *   bfloat16 key[width - latent]           as in BF16: rotations at large angles bear no coarser grid
 *   int8     code[latent, rounded up to even]
 * with latent[i] = scale[i / ENG_CACHE_GROUP] * code[i]. A scale is its group's largest magnitude / 127,
 * rounded up, so that no code is cut off.
 *
 * Which sequence has which blocks is the caller's business: a block table maps position p to block
 * blocks[p / ENG_BLOCK_TOKENS]. Indices are not checked here (engine.c has).
 */
#ifndef LT_ENGINE_CACHE_H
#define LT_ENGINE_CACHE_H

#include "base/error.h"
#include "engine/area.h"
#include "engine/engine.h"

#define ENG_CACHE_GROUP 32u

struct eng_cache {
	struct eng_place place;
	bool placed;
	enum eng_cache_type type;
	uint32_t blocks, layers, latent, width;
	size_t entry_bytes; /* of a token in a layer */
	unsigned char *data;
};

/* Bytes of an entry: a latent of `latent` values and a shared key of `key`. */
size_t eng_cache_entry_bytes(enum eng_cache_type type, uint32_t latent, uint32_t key);

/* Memory is reserved here and touched when first written. place NULL: as the system does it. LT_ENOMEM, and the
 * errors of eng_area_map. */
int eng_cache_init(struct eng_cache *c, enum eng_cache_type type, const struct eng_place *place,
		   uint32_t blocks, uint32_t layers, uint32_t latent, uint32_t key,
		   struct lt_err *err);
void eng_cache_fini(struct eng_cache *c);
uint64_t eng_cache_bytes(const struct eng_cache *c);

/* Writes src [width] as the entry of position pos. */
void eng_cache_put(struct eng_cache *c, uint32_t layer, const uint32_t *blocks, uint32_t pos,
		   const float *src);

/* The entry of position pos as it is stored: float32 or bfloat16 [width], or Q8. */
const void *eng_cache_at(const struct eng_cache *c, uint32_t layer, const uint32_t *blocks,
			 uint32_t pos);

/* The parts of an entry in Q8. */
struct eng_cache_q8 {
	const uint16_t *scale, *key;
	const int8_t *code;
};
struct eng_cache_q8 eng_cache_q8(const struct eng_cache *c, const void *entry);

/* Reads the entries of positions [0, n) to dst [n, width]. */
void eng_cache_get(const struct eng_cache *c, uint32_t layer, const uint32_t *blocks, uint32_t n,
		   float *dst);

/* Copies the first n_tokens entries of block src to block dst, all layers. */
void eng_cache_copy(struct eng_cache *c, uint32_t dst, uint32_t src, uint32_t n_tokens);

#endif
