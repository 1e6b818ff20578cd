/*
 * One zeroed reservation; the kernel gives pages as they are touched.
 */
#include "engine/cache.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/tensor.h"

size_t eng_cache_value_bytes(enum eng_cache_type type)
{
	return type == ENG_CACHE_F32 ? sizeof(float) : sizeof(uint16_t);
}

int eng_cache_init(struct eng_cache *c, enum eng_cache_type type, uint32_t blocks, uint32_t layers,
		   uint32_t width, struct lt_err *err)
{
	size_t entries, bytes;

	c->type = type;
	c->blocks = blocks;
	c->layers = layers;
	c->width = width;
	c->entry_bytes = width * eng_cache_value_bytes(type);
	c->data = NULL;
	if (lt_mul(blocks, ENG_BLOCK_TOKENS, &entries) && lt_mul(entries, layers, &entries) &&
	    lt_mul(entries, c->entry_bytes, &bytes))
		c->data = lt_alloc(bytes, 1);
	if (!c->data)
		return lt_fail(err, LT_ENOMEM,
			       "no memory for a cache of %u blocks (%u tokens each, %zu bytes a "
			       "token); fewer blocks take less",
			       blocks, ENG_BLOCK_TOKENS, layers * c->entry_bytes);
	return 0;
}

void eng_cache_fini(struct eng_cache *c)
{
	free(c->data);
	c->data = NULL;
}

uint64_t eng_cache_bytes(const struct eng_cache *c)
{
	return (uint64_t)c->blocks * ENG_BLOCK_TOKENS * c->layers * c->entry_bytes;
}

static unsigned char *entry(const struct eng_cache *c, uint32_t layer, uint32_t block,
			    uint32_t slot)
{
	size_t index = ((size_t)block * c->layers + layer) * ENG_BLOCK_TOKENS + slot;

	return c->data + index * c->entry_bytes;
}

void eng_cache_put(struct eng_cache *c, uint32_t layer, const uint32_t *blocks, uint32_t pos,
		   const float *src)
{
	unsigned char *to = entry(c, layer, blocks[pos / ENG_BLOCK_TOKENS], pos % ENG_BLOCK_TOKENS);
	uint16_t *bf16 = (uint16_t *)to; // [width]; entries are even in size

	if (c->type == ENG_CACHE_F32) {
		memcpy(to, src, c->entry_bytes);
		return;
	}
	for (uint32_t i = 0; i < c->width; i++)
		bf16[i] = mdl_f32_bf16(src[i]);
}

const void *eng_cache_at(const struct eng_cache *c, uint32_t layer, const uint32_t *blocks,
			 uint32_t pos)
{
	return entry(c, layer, blocks[pos / ENG_BLOCK_TOKENS], pos % ENG_BLOCK_TOKENS);
}

void eng_cache_get(const struct eng_cache *c, uint32_t layer, const uint32_t *blocks, uint32_t n,
		   float *dst)
{
	for (uint32_t pos = 0; pos < n; pos += ENG_BLOCK_TOKENS) {
		uint32_t take = n - pos < ENG_BLOCK_TOKENS ? n - pos : ENG_BLOCK_TOKENS;
		size_t values = (size_t)take * c->width;
		const unsigned char *from = entry(c, layer, blocks[pos / ENG_BLOCK_TOKENS], 0);
		const uint16_t *bf16 = (const uint16_t *)from; // [take, width]

		if (c->type == ENG_CACHE_F32) {
			memcpy(dst, from, values * sizeof(float));
		} else {
			for (size_t i = 0; i < values; i++)
				dst[i] = mdl_bf16_f32(bf16[i]);
		}
		dst += values;
	}
}

void eng_cache_copy(struct eng_cache *c, uint32_t dst, uint32_t src, uint32_t n_tokens)
{
	if (dst == src)
		return;
	for (uint32_t layer = 0; layer < c->layers; layer++)
		memcpy(entry(c, layer, dst, 0), entry(c, layer, src, 0), n_tokens * c->entry_bytes);
}
