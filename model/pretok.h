/*
 * Pre-tokenizers, private to model/: a text goes through stages, each of which divides every piece
 * that the stage before it made; a later stage sees a piece alone, so that '$' is the piece's end.
 * Filled while a tokenizer is read, immutable from then on.
 */
#ifndef LT_MODEL_PRETOK_H
#define LT_MODEL_PRETOK_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/error.h"
#include "model/pretok-hand.h"
#include "model/regex.h"

#define MDL_PRETOK_STAGES 16u

/* What becomes of a stage's matches, and of the gaps between them. */
enum mdl_split {
	MDL_SPLIT_ISOLATED,	   /* each match and each gap is a piece */
	MDL_SPLIT_REMOVED,	   /* only gaps are */
	MDL_SPLIT_CONTIGUOUS,	   /* matches that touch are one piece */
	MDL_SPLIT_MERGED_PREVIOUS, /* a match joins the gap before it */
	MDL_SPLIT_MERGED_NEXT,	   /* a match joins the gap after it */
};

struct mdl_stage {
	struct mdl_re *re; /* NULL: a space is put before a piece that has none there */
	enum mdl_split split;
	bool invert;	/* matches are gaps and gaps matches */
	unsigned known; /* whose stage it is, see pretok.c */
};

struct mdl_pretok {
	struct mdl_stage stages[MDL_PRETOK_STAGES];
	size_t n;
	const struct mdl_hand *hand; /* not NULL: runs instead of the stages, on `classes` */
	struct mdl_classes classes;
};

void mdl_pretok_fini(struct mdl_pretok *p); /* {0} is a valid empty one */

/* Appends a stage. LT_ETOOBIG past MDL_PRETOK_STAGES, and as mdl_re_open. */
int mdl_pretok_add_split(struct mdl_pretok *p, const char *pattern, size_t n, enum mdl_re_how how,
			 enum mdl_split split, bool invert, struct lt_err *err);
int mdl_pretok_add_space(struct mdl_pretok *p, struct lt_err *err);

/* The pre-tokenizer of a GGUF file by its name: "deepseek-llm" or "deepseek-v3"; LT_EUNSUPPORTED
 * for another one. */
int mdl_pretok_add_named(struct mdl_pretok *p, const char *name, size_t n, struct lt_err *err);

/* Once all stages are added: chooses what runs them. Without it they run as they stand, with the same
 * pieces. LT_ENOMEM. */
int mdl_pretok_seal(struct mdl_pretok *p, struct lt_err *err);

/* What a thread needs. {0} is a valid empty one. */
struct mdl_pretok_work {
	struct mdl_re_work re;
	struct lt_buf spaced; /* the piece with a space before it */
};
void mdl_pretok_work_fini(struct mdl_pretok_work *w);

/* Calls `piece` for each piece of text[0..n) (well-formed UTF-8) from front to back; no piece is
 * empty. Stops at the first call that returns other than 0 and returns that. LT_ENOMEM, LT_ETOOBIG
 * (too many steps). */
int mdl_pretok_run(const struct mdl_pretok *p, struct mdl_pretok_work *w, const char *text,
		   size_t n, int (*piece)(void *arg, const char *s, size_t n), void *arg,
		   struct lt_err *err);

#endif
