/*
 * One zeroed area; the kernel gives pages as they are touched.
 */
#include "engine/cache.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "model/tensor.h"

static uint32_t groups_of(uint32_t latent)
{
	return (latent + ENG_CACHE_GROUP - 1) / ENG_CACHE_GROUP;
}

size_t eng_cache_entry_bytes(enum eng_cache_type type, uint32_t latent, uint32_t key)
{
	size_t width = (size_t)latent + key, half = sizeof(uint16_t);

	if (type == ENG_CACHE_Q8)
		return (groups_of(latent) + (size_t)key) * half + ((size_t)latent + 1) / 2 * 2;
	return width * (type == ENG_CACHE_F32 ? sizeof(float) : half);
}

int eng_cache_init(struct eng_cache *c, enum eng_cache_type type, const struct eng_place *place,
		   uint32_t blocks, uint32_t layers, uint32_t latent, uint32_t key,
		   struct lt_err *err)
{
	size_t entries, bytes;
	char what[120];
	void *p;
	int rc;

	c->type = type;
	c->placed = place != NULL;
	c->place = place ? *place : (struct eng_place){0};
	c->blocks = blocks;
	c->layers = layers;
	c->latent = latent;
	c->width = latent + key; /* both are far below 2^31 in any model */
	c->entry_bytes = eng_cache_entry_bytes(type, latent, key);
	c->data = NULL;
	snprintf(what, sizeof(what), "a cache of %u blocks (%u tokens each, %zu bytes a token)",
		 blocks, ENG_BLOCK_TOKENS, layers * c->entry_bytes);
	if (!lt_mul(blocks, ENG_BLOCK_TOKENS, &entries) || !lt_mul(entries, layers, &entries) ||
	    !lt_mul(entries, c->entry_bytes, &bytes))
		return lt_fail(err, LT_ENOMEM, "no memory for %s", what);
	rc = eng_area_map(place, bytes, what, &p, err);
	if (rc == 0)
		c->data = p;
	return rc;
}

void eng_cache_fini(struct eng_cache *c)
{
	eng_area_unmap(c->placed ? &c->place : NULL, c->data, eng_cache_bytes(c));
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

/* The least bfloat16 not below x >= 0; NaN for what is no number. */
static uint16_t bf16_above(float x)
{
	uint32_t bits;

	memcpy(&bits, &x, sizeof(bits));
	return x <= FLT_MAX ? (uint16_t)((bits + 0xffff) >> 16) : mdl_f32_bf16(NAN);
}

/* A group of a latent to codes; returns the scale. */
static uint16_t put_group(const float *x, uint32_t n, int8_t *code)
{
	float most = 0, d;
	uint16_t scale;

	for (uint32_t i = 0; i < n; i++) {
		float a = fabsf(x[i]);

		most = a <= most ? most : a; /* keeps NaN... */
		if (isnan(a))
			break; /* ...to the end */
	}
	scale = bf16_above(most / 127);
	d = mdl_bf16_f32(scale);
	for (uint32_t i = 0; i < n; i++)
		code[i] = d > 0 ? (int8_t)lrintf(x[i] / d) : (int8_t)(d != 0); /* NaN times 1 */
	return scale;
}

static void put_q8(const struct eng_cache *c, unsigned char *to, const float *src)
{
	uint16_t *scale = (uint16_t *)(void *)to, *key = scale + groups_of(c->latent);
	int8_t *code = (int8_t *)(key + (c->width - c->latent));

	for (uint32_t i = 0; i < c->latent; i += ENG_CACHE_GROUP) {
		uint32_t n = c->latent - i < ENG_CACHE_GROUP ? c->latent - i : ENG_CACHE_GROUP;

		*scale++ = put_group(src + i, n, code + i);
	}
	for (uint32_t i = c->latent; i < c->width; i++)
		*key++ = mdl_f32_bf16(src[i]);
}

void eng_cache_put(struct eng_cache *c, uint32_t layer, const uint32_t *blocks, uint32_t pos,
		   const float *src)
{
	unsigned char *to = entry(c, layer, blocks[pos / ENG_BLOCK_TOKENS], pos % ENG_BLOCK_TOKENS);
	uint16_t *bf16 = (uint16_t *)(void *)to; // [width]; entries are even in size

	if (c->type == ENG_CACHE_F32) {
		memcpy(to, src, c->entry_bytes);
	} else if (c->type == ENG_CACHE_Q8) {
		put_q8(c, to, src);
	} else {
		for (uint32_t i = 0; i < c->width; i++)
			bf16[i] = mdl_f32_bf16(src[i]);
	}
}

const void *eng_cache_at(const struct eng_cache *c, uint32_t layer, const uint32_t *blocks,
			 uint32_t pos)
{
	return entry(c, layer, blocks[pos / ENG_BLOCK_TOKENS], pos % ENG_BLOCK_TOKENS);
}

struct eng_cache_q8 eng_cache_q8(const struct eng_cache *c, const void *at)
{
	const uint16_t *scale = at, *key = scale + groups_of(c->latent);

	return (struct eng_cache_q8){scale, key, (const int8_t *)(key + (c->width - c->latent))};
}

static void get(const struct eng_cache *c, const void *from, float *dst)
{
	const uint16_t *bf16 = from;

	if (c->type == ENG_CACHE_F32) {
		memcpy(dst, from, c->entry_bytes);
	} else if (c->type == ENG_CACHE_Q8) {
		struct eng_cache_q8 e = eng_cache_q8(c, from);

		for (uint32_t i = 0; i < c->latent; i++)
			dst[i] = mdl_bf16_f32(e.scale[i / ENG_CACHE_GROUP]) * e.code[i];
		for (uint32_t i = c->latent; i < c->width; i++)
			dst[i] = mdl_bf16_f32(e.key[i - c->latent]);
	} else {
		for (uint32_t i = 0; i < c->width; i++)
			dst[i] = mdl_bf16_f32(bf16[i]);
	}
}

void eng_cache_get(const struct eng_cache *c, uint32_t layer, const uint32_t *blocks, uint32_t n,
		   float *dst)
{
	for (uint32_t pos = 0; pos < n; pos++)
		get(c, eng_cache_at(c, layer, blocks, pos), dst + (size_t)pos * c->width);
}

void eng_cache_copy(struct eng_cache *c, uint32_t dst, uint32_t src, uint32_t n_tokens)
{
	if (dst == src)
		return;
	for (uint32_t layer = 0; layer < c->layers; layer++)
		memcpy(entry(c, layer, dst, 0), entry(c, layer, src, 0), n_tokens * c->entry_bytes);
}
