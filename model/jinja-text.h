/*
 * Operations on strings that filters and methods share (private to model/). Lengths and positions
 * in the interface are bytes unless said otherwise. All return 0 or a negative LT_E* and keep the
 * origin of every character.
 */
#ifndef LT_MODEL_JINJA_TEXT_H
#define LT_MODEL_JINJA_TEXT_H

#include "model/jinja-run.h"

enum mdl_jcase {
	MDL_J_UPPER,
	MDL_J_LOWER,
	MDL_J_CAPITALIZE, /* first character upper, the rest lower */
	MDL_J_TITLE,	  /* a letter after a non-letter upper, the rest lower */
	MDL_J_WORDS,	  /* a character after white space or -({[< upper, the rest lower */
	MDL_J_SWAP,
};
int mdl_jtext_case(struct mdl_jrun *r, const struct mdl_jstr *s, enum mdl_jcase how,
		   struct mdl_jval *out);

enum { MDL_J_LEFT = 1, MDL_J_RIGHT = 2 };
/* Without white space, or without the characters of `chars` if not NULL, at the given sides. */
int mdl_jtext_strip(struct mdl_jrun *r, const struct mdl_jstr *s, const struct mdl_jstr *chars,
		    int sides, struct mdl_jval *out);
/* The first `count` occurrences (negative: all) replaced. */
int mdl_jtext_replace(struct mdl_jrun *r, const struct mdl_jstr *s, const struct mdl_jstr *old,
		      const struct mdl_jstr *new, int64_t count, struct mdl_jval *out);
/* Appends the parts between occurrences of sep (NULL: runs of white space), at most `max` cuts
 * (negative: any number), counted from the end with from_right. */
int mdl_jtext_split(struct mdl_jrun *r, const struct mdl_jstr *s, const struct mdl_jstr *sep,
		    int64_t max, bool from_right, struct mdl_jlb *parts);
int mdl_jtext_lines(struct mdl_jrun *r, const struct mdl_jstr *s, bool keep_ends,
		    struct mdl_jlb *lines);
/* Items as text with sep between; strict: an item that is no string is a fault. */
int mdl_jtext_join(struct mdl_jrun *r, const struct mdl_jstr *sep, struct mdl_jval items,
		   bool strict, struct mdl_jval *out);
/* Padded to `width` characters: extra on the left, on the right, or both (centred). */
int mdl_jtext_pad(struct mdl_jrun *r, const struct mdl_jstr *s, int64_t width,
		  const struct mdl_jstr *fill, int sides, struct mdl_jval *out);
/* Offset of the first (or last) occurrence within [from, to); SIZE_MAX if there is none. */
size_t mdl_jtext_find(const struct mdl_jstr *s, const struct mdl_jstr *what, size_t from, size_t to,
		      bool last);
/* What Python's int(text, base) and float(text) accept; false otherwise. *too_big: 64 bits are not
 * enough. */
bool mdl_jtext_to_int(const struct mdl_jstr *s, int base, int64_t *out, bool *too_big);
bool mdl_jtext_to_float(const struct mdl_jstr *s, double *out);

/* An argument as an integer; `otherwise` if it was not given or is none. */
int mdl_jarg_int(struct mdl_jrun *r, struct mdl_jval v, int64_t otherwise, int64_t *out);
/* An argument as a string; NULL if it was not given or is none. */
int mdl_jarg_str(struct mdl_jrun *r, struct mdl_jval v, const struct mdl_jstr **out);

/* item.a.b.0 for the attribute "a.b.0", item[0] for 0, the item itself for none. An undefined value
 * on the way becomes `otherwise` unless that is MISSING. */
int mdl_jpath(struct mdl_jrun *r, struct mdl_jval item, struct mdl_jval attribute,
	      struct mdl_jval otherwise, struct mdl_jval *out);
/* Filters on sequences (jinja-filter-seq.c). */
extern const struct mdl_jspec mdl_jseq_filters[];

#endif
