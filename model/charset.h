/*
 * Sets of Unicode characters, as sorted ranges: what a character class of a pre-tokenizer's pattern
 * means. Private to model/. Caller memory; one owner at a time.
 */
#ifndef LT_MODEL_CHARSET_H
#define LT_MODEL_CHARSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mdl_range {
	uint32_t lo, hi; /* both inclusive */
};

/* {0} is the empty set. After every call but mdl_set_add the ranges are sorted and disjoint. */
struct mdl_set {
	struct mdl_range *r;
	size_t n, cap;
};

void mdl_set_fini(struct mdl_set *s);

/* Each of these returns 0 or LT_ENOMEM. mdl_set_add only appends: call mdl_set_tidy after the last. */
int mdl_set_add(struct mdl_set *s, uint32_t lo, uint32_t hi);
void mdl_set_tidy(struct mdl_set *s);
int mdl_set_union(struct mdl_set *s, const struct mdl_set *other);
int mdl_set_intersect(struct mdl_set *s, const struct mdl_set *other);
int mdl_set_invert(struct mdl_set *s);

/* Adds the characters of the general categories in `mask` (bit i: enum mdl_category i). */
int mdl_set_add_categories(struct mdl_set *s, uint32_t mask);

/* Adds what \p{NAME} means: a general category or a group of them (L, Lu, Letter, ...), or one of
 * the scripts Han, Hiragana, Katakana, Hangul. Case, blanks, '-' and '_' don't count. LT_EINVAL for
 * another name, LT_ENOMEM. */
int mdl_set_add_property(struct mdl_set *s, const char *name, size_t n);

/* \s, \w: white space; letters, marks, digits, letter numbers and connectors. */
int mdl_set_add_space(struct mdl_set *s);
int mdl_set_add_word(struct mdl_set *s);

bool mdl_set_has(const struct mdl_set *s, uint32_t cp);
/* True if no character is in both. */
bool mdl_set_disjoint(const struct mdl_set *a, const struct mdl_set *b);
bool mdl_set_equal(const struct mdl_set *a, const struct mdl_set *b);

#endif
