/*
 * Up to 32 sets of characters in one table, private to model/: a look-up gives a bit for each set that
 * has the character. Made by one thread, then immutable.
 */
#ifndef LT_MODEL_CLASSES_H
#define LT_MODEL_CLASSES_H

#include <stddef.h>
#include <stdint.h>

#include "model/charset.h"
#include "model/unicode.h"

#define MDL_CLASSES_MAX	   32u
#define MDL_CLASSES_BLOCK  256u
#define MDL_CLASSES_BLOCKS ((MDL_UNICODE_MAX + 1) / MDL_CLASSES_BLOCK)

/* {0} is a valid empty one, not to be looked up in. */
struct mdl_classes {
	uint32_t low[128]; /* bits of ASCII characters */
	uint32_t *blocks;  /* [*, MDL_CLASSES_BLOCK] bits of characters; equal blocks stand once */
	uint16_t index[MDL_CLASSES_BLOCKS];
};

/* Bit i is for sets[i]; n is at most MDL_CLASSES_MAX. LT_ENOMEM. */
int mdl_classes_make(struct mdl_classes *c, const struct mdl_set *sets, size_t n);
/* The same of patterns that match one character each; NULL ends the list. LT_ENOMEM. */
int mdl_classes_parse(struct mdl_classes *c, const char *const *patterns);
void mdl_classes_fini(struct mdl_classes *c);

/* The bits of the character at s, which is well-formed, and its length. */
static inline uint32_t mdl_classes_at(const struct mdl_classes *c, const unsigned char *s,
				      size_t *len)
{
	uint32_t cp;

	if (s[0] < 0x80) {
		*len = 1;
		return c->low[s[0]];
	}
	if (s[0] < 0xe0) {
		*len = 2;
		cp = (uint32_t)(s[0] & 0x1f) << 6 | (s[1] & 0x3f);
	} else if (s[0] < 0xf0) {
		*len = 3;
		cp = (uint32_t)(s[0] & 0x0f) << 12 | (uint32_t)(s[1] & 0x3f) << 6 | (s[2] & 0x3f);
	} else {
		*len = 4;
		cp = (uint32_t)(s[0] & 0x07) << 18 | (uint32_t)(s[1] & 0x3f) << 12 |
		     (uint32_t)(s[2] & 0x3f) << 6 | (s[3] & 0x3f);
	}
	return c->blocks[c->index[cp / MDL_CLASSES_BLOCK] * (size_t)MDL_CLASSES_BLOCK +
			 cp % MDL_CLASSES_BLOCK];
}

/* The end of the run from `at` on whose characters' bits are `wanted` in all of `mask`. */
static inline const unsigned char *mdl_classes_run(const struct mdl_classes *c,
						   const unsigned char *at,
						   const unsigned char *end, uint32_t mask,
						   uint32_t wanted)
{
	size_t len;

	while (at < end && (mdl_classes_at(c, at, &len) & mask) == wanted)
		at += len;
	return at;
}

#endif
