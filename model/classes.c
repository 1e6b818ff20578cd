/*
 * The table of sets of characters, in blocks of 256 of them. See classes.h.
 */
#include "model/classes.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/regex.h"

#define BLOCK MDL_CLASSES_BLOCK

/* Sets `bits` of the characters [base, base + BLOCK) from the sets; at[] is where each set's ranges
 * stand, and moves on. */
static void fill_block(const struct mdl_set *sets, size_t n_sets, size_t *at, uint32_t base,
		       uint32_t *bits)
{
	memset(bits, 0, BLOCK * sizeof(*bits));
	for (size_t k = 0; k < n_sets; k++) {
		const struct mdl_set *s = &sets[k];

		for (; at[k] < s->n && s->r[at[k]].lo < base + BLOCK; at[k]++) {
			uint32_t lo = s->r[at[k]].lo, hi = s->r[at[k]].hi;

			lo = lo < base ? 0 : lo - base;
			for (uint32_t i = lo; i < BLOCK && base + i <= hi; i++)
				bits[i] |= 1u << k;
			if (hi >= base + BLOCK)
				break;
		}
	}
}

/* Equal blocks are found by comparing with a few that came before. */
int mdl_classes_make(struct mdl_classes *c, const struct mdl_set *sets, size_t n_sets)
{
	size_t at[MDL_CLASSES_MAX] = {0}, n = 0, cap = 0;
	uint32_t bits[BLOCK];

	for (uint32_t b = 0; b < MDL_CLASSES_BLOCKS; b++) {
		size_t i = n, tries = 8;

		fill_block(sets, n_sets, at, b * BLOCK, bits);
		while (i > 0 && tries-- > 0) {
			i--;
			if (memcmp(c->blocks + i * BLOCK, bits, sizeof(bits)) == 0)
				goto found;
		}
		i = n;
		if (lt_reserve(&c->blocks, &cap, (n + 1) * BLOCK, sizeof(*c->blocks)) < 0)
			return LT_ENOMEM;
		memcpy(c->blocks + n++ * BLOCK, bits, sizeof(bits));
	found:
		c->index[b] = (uint16_t)i;
	}
	memcpy(c->low, c->blocks + c->index[0] * (size_t)BLOCK, sizeof(c->low));
	return 0;
}

int mdl_classes_parse(struct mdl_classes *c, const char *const *patterns)
{
	struct mdl_re_tree trees[MDL_CLASSES_MAX] = {0};
	struct mdl_set sets[MDL_CLASSES_MAX];
	size_t n = 0;
	int rc = 0;

	while (rc == 0 && n < MDL_CLASSES_MAX && patterns[n]) {
		struct mdl_re_tree *t = &trees[n];

		/* The patterns are ours and right: what can fail is memory. */
		if (mdl_re_parse(patterns[n], strlen(patterns[n]), false, t, NULL) < 0 ||
		    t->n_sets != 1)
			rc = LT_ENOMEM;
		else
			sets[n] = t->sets[0];
		n++;
	}
	if (rc == 0)
		rc = mdl_classes_make(c, sets, n);
	while (n > 0)
		mdl_re_tree_fini(&trees[--n]);
	return rc;
}

void mdl_classes_fini(struct mdl_classes *c)
{
	free(c->blocks);
	*c = (struct mdl_classes){0};
}
