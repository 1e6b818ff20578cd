/*
 * Pre-tokenizers by hand, private to model/: all stages of a known pre-tokenizer in one pass over the
 * text, with a look-up a character and no way back. What one means is said by the stages' patterns;
 * pretok.c runs those where a tokenizer has others, and the unit test compares the two.
 */
#ifndef LT_MODEL_PRETOK_HAND_H
#define LT_MODEL_PRETOK_HAND_H

#include <stddef.h>

#include "model/classes.h"

struct mdl_hand {
	const char *name; /* in GGUF files */
	/* Of the stages, all of them MDL_SPLIT_ISOLATED; NULL ends the list. */
	const char *const *patterns;
	/* The same stages as published tokenizer.json files put them; NULL where that is alike but
	 * for escapes, which pretok.c sees through. */
	const char *const *published;
	/* What `run` tells apart: bit i of its table is for characters that classes[i] matches. */
	const char *const *classes;
	/* As mdl_pretok_run, but it can't fail by itself: returns 0 or what `piece` did. */
	int (*run)(const struct mdl_classes *c, const char *text, size_t n,
		   int (*piece)(void *arg, const char *s, size_t n), void *arg);
};

extern const struct mdl_hand mdl_hand_v3;  /* DeepSeek-V3, R1, V3.1 */
extern const struct mdl_hand mdl_hand_llm; /* DeepSeek-LLM and V2 */

#endif
