/*
 * Byte-level BPE, private to model/: the vocabulary (ids and their bytes), the merges, and merging.
 * Filled by one thread while a tokenizer is read, sealed, then immutable.
 *
 * A token's bytes stand in one arena. Tokens that merging can make are found by their bytes through
 * a hash table; tokens whose text is not in the byte-level alphabet ("raw": control tokens and the
 * like) only through mdl_bpe_find_raw.
 */
#ifndef LT_MODEL_BPE_H
#define LT_MODEL_BPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/map.h"
#include "model/tokenizer.h"
#include "model/trie.h"

#define MDL_BPE_ID_BITS 21u /* so that a pair and its rank fit into 64 bits */
#define MDL_BPE_MAX_IDS (1u << MDL_BPE_ID_BITS)

struct mdl_bpe_token {
	uint32_t at, len; /* bytes in the arena; len 0: no such token */
};

/* left and right become merged; left is MDL_BPE_MAX_IDS where the pair can't occur. */
struct mdl_bpe_merge {
	uint32_t left, right, merged;
};

/* How merging makes a token of its own bytes, and with it how it is made anywhere. */
struct mdl_bpe_part {
	uint32_t left, right; /* what its last merge takes */
	uint32_t made;	      /* rank of that + 1; 0: a byte; MDL_BPE_UNMADE: it doesn't */
	uint32_t shorter;     /* the longest made token that this begins with, or MDL_TRIE_NONE */
	uint32_t as_left, as_right; /* lowest rank of the pairs that it is in on that side */
};
#define MDL_BPE_UNMADE UINT32_MAX

struct mdl_bpe {
	struct mdl_bpe_token *tokens; /* [n_ids] */
	size_t n_ids, tokens_cap;
	char *arena;
	size_t arena_used, arena_cap;
	struct lt_map *raw;

	uint64_t *words; /* [words_mask + 1] hash tag, flag and id of tokens by their bytes */
	size_t n_words, words_mask;
	uint64_t *pairs; /* [pairs_mask + 1] left id, right id, rank */
	uint64_t *maybe; /* a bit for each hash of a pair, four times as many as slots */
	size_t pairs_mask;
	unsigned pairs_shift;
	struct mdl_bpe_merge *merges; /* [n_ranks] */
	size_t n_ranks, merges_cap;

	struct mdl_bpe_part *parts; /* [n_ids] */
	struct mdl_trie made; /* tokens that merging makes; empty: bpe-front.c can't be used */

	uint32_t *first;    /* [256 * 256] rank of each pair of bytes */
	int32_t bytes[256]; /* the token of each byte */
	size_t longest;	    /* bytes of the longest token that a whole piece can be */
	bool ignore_merges; /* a piece that is a token becomes that token, whatever the merges say */
};

/* An empty vocabulary. LT_ENOMEM. Whatever happens, mdl_bpe_fini is due. */
int mdl_bpe_init(struct mdl_bpe *b);
void mdl_bpe_fini(struct mdl_bpe *b);

/* Adds a token by its text as files have it: in the byte-level alphabet (each byte is a printable
 * character) or raw. LT_EFORMAT when id or text stand there already or text is empty or malformed,
 * LT_ETOOBIG when id is MDL_BPE_MAX_IDS or more, LT_ENOMEM. */
int mdl_bpe_add_token(struct mdl_bpe *b, int64_t id, const char *text, size_t n,
		      struct lt_err *err);

/* Adds the next merge, by the texts of its two sides. LT_EFORMAT when one of them or what they make
 * is not in the vocabulary, LT_ETOOBIG past MDL_BPE_MAX_IDS merges, LT_ENOMEM. */
int mdl_bpe_add_merge(struct mdl_bpe *b, const char *left, size_t left_n, const char *right,
		      size_t right_n, struct lt_err *err);

/* Once all is added: merges can't make a token that `is_control` names (text from a client must not
 * become one), and every byte must have its token. LT_EFORMAT, LT_ENOMEM. */
int mdl_bpe_seal(struct mdl_bpe *b, bool (*is_control)(const void *arg, int32_t id),
		 const void *arg, struct lt_err *err);

/* The id of a token by its bytes, or -1; of a raw token by its text; of either by the text that
 * files have. */
int32_t mdl_bpe_find(const struct mdl_bpe *b, const char *bytes, size_t n);
int32_t mdl_bpe_find_raw(const struct mdl_bpe *b, const char *text, size_t n);
int32_t mdl_bpe_id(const struct mdl_bpe *b, const char *text, size_t n);

/* What a thread needs for a piece. {0} is a valid empty one. */
struct mdl_bpe_work {
	uint32_t *id, *rank, *prev, *next; /* [cap] */
	uint64_t *heap;			   /* [heap_cap] */
	size_t cap, n_heap, heap_cap;
	uint32_t last; /* rank of the last merge */

	uint32_t *starts; /* [starts_cap] where each id's bytes begin */
	uint64_t *dead;	  /* [dead_cap] a bit for each place that leads nowhere */
	size_t starts_cap, dead_cap;
};
void mdl_bpe_work_fini(struct mdl_bpe_work *w);

/* Appends the ids of one piece, s[0..n), n > 0. Time n log n. LT_ENOMEM, LT_ETOOBIG (4 GB). */
int mdl_bpe_encode(const struct mdl_bpe *b, struct mdl_bpe_work *w, const char *s, size_t n,
		   struct mdl_ids *out);

/* Of a vocabulary that is complete but for this: makes what mdl_bpe_front needs, where the merges are
 * such that it may be used. LT_ENOMEM. */
int mdl_bpe_front_open(struct mdl_bpe *b);

/* The same from front to back, see bpe-front.c, for a vocabulary with `made`; `token` of `len` bytes is
 * what mdl_trie_longest gave for s[0..n), and ids has room for n. Sets *n_ids, to 0 when it takes more
 * than a few steps a byte: then the piece has to be merged. LT_ENOMEM. */
int mdl_bpe_front(const struct mdl_bpe *b, struct mdl_bpe_work *w, const char *s, size_t n,
		  uint32_t token, size_t len, int32_t *ids, size_t *n_ids);

/* The same by merging alone. */
int mdl_bpe_merge(const struct mdl_bpe *b, struct mdl_bpe_work *w, const char *s, size_t n,
		  struct mdl_ids *out);

#endif
