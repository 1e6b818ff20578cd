/*
 * DeepSeek-V3's pre-tokenizer by hand, private to model/: its three stages in one pass over the text,
 * with one look-up a character and no way back. What it means is said by the patterns; pretok.c runs
 * those where a tokenizer has others, and the unit test compares the two.
 */
#ifndef LT_MODEL_PRETOK_V3_H
#define LT_MODEL_PRETOK_V3_H

#include <stdbool.h>
#include <stddef.h>

#define MDL_PRETOK_V3_STAGES 3u

/* The patterns of the stages, all of them MDL_SPLIT_ISOLATED, as we spell them; NULL ends the list. */
extern const char *const mdl_pretok_v3_patterns[];

/* True if pattern[0..n) is that of stage k, as we or as the published tokenizer.json spells it. */
bool mdl_pretok_v3_is(size_t k, const char *pattern, size_t n);

/* The table of characters. Immutable once made; any thread. */
struct mdl_pretok_v3;

/* NULL without memory. */
struct mdl_pretok_v3 *mdl_pretok_v3_open(void);
void mdl_pretok_v3_close(struct mdl_pretok_v3 *p); /* NULL is fine */

/* As mdl_pretok_run, but it can't fail by itself: returns 0 or what `piece` did. */
int mdl_pretok_v3_run(const struct mdl_pretok_v3 *p, const char *text, size_t n,
		      int (*piece)(void *arg, const char *s, size_t n), void *arg);

#endif
