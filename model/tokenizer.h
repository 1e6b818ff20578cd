/*
 * Byte-level BPE tokenizers: Hugging Face tokenizer.json (pre-tokenizer taken from the file) and
 * GGUF vocabularies (deepseek-llm, deepseek-v3). Immutable once open: any thread may encode and
 * decode with one tokenizer.
 *
 * Control tokens. Added tokens (special or not) are cut out of *trusted* text only: text from a
 * client never becomes a control token, whatever it spells.
 */
#ifndef LT_MODEL_TOKENIZER_H
#define LT_MODEL_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

struct mdl_tok;

/* A growing list of token ids; free(data) or mdl_ids_fini. */
struct mdl_ids {
	int32_t *data;
	size_t n, cap;
};
int mdl_ids_add(struct mdl_ids *ids, int32_t id); /* 0 or LT_ENOMEM */
void mdl_ids_fini(struct mdl_ids *ids);

/* Opens the tokenizer of `path`: a folder with tokenizer.json (nothing else is needed), such a
 * file itself, or a GGUF file. LT_ENOENT when there is none, LT_EFORMAT, LT_EUNSUPPORTED, ... */
int mdl_tok_open(const char *path, struct mdl_tok **out, struct lt_err *err);
void mdl_tok_close(struct mdl_tok *t);

uint32_t mdl_tok_count(const struct mdl_tok *t); /* largest id + 1 */
/* Ids that the files name, -1 when they don't. */
int32_t mdl_tok_bos(const struct mdl_tok *t);
int32_t mdl_tok_eos(const struct mdl_tok *t);
/* True if a prompt without a template begins with bos (add_bos_token). */
bool mdl_tok_add_bos(const struct mdl_tok *t);
/* The id of a token by its exact text, or -1. */
int32_t mdl_tok_id(const struct mdl_tok *t, const char *text, size_t n);
/* True for a control token (added and special): decoding leaves it out by default. */
bool mdl_tok_is_special(const struct mdl_tok *t, int32_t id);
/* The bytes of one token (for an added token its text); *n = 0 and NULL for an unknown id. */
const char *mdl_tok_bytes(const struct mdl_tok *t, int32_t id, size_t *n);

/* Appends the ids of text[0..n) (UTF-8; malformed bytes are encoded byte by byte). With `trusted`,
 * added tokens in the text are recognised; without, they are plain text. LT_ENOMEM. */
int mdl_tok_encode(const struct mdl_tok *t, const char *text, size_t n, bool trusted,
		   struct mdl_ids *out, struct lt_err *err);

/* A part of a rendered template: `trusted` parts come from the template itself. */
struct mdl_part {
	size_t start, len;
	bool trusted;
};
/* Encodes a rendered prompt: one text for pre-tokenization and merging (a word may run across a
 * border of parts), added tokens recognised only where they lie wholly in trusted parts. */
int mdl_tok_encode_parts(const struct mdl_tok *t, const char *text, size_t n,
			 const struct mdl_part *parts, size_t n_parts, struct mdl_ids *out,
			 struct lt_err *err);

/* Appends the bytes of the ids; `special` shows control tokens. Unknown ids: LT_EINVAL. */
int mdl_tok_decode(const struct mdl_tok *t, const int32_t *ids, size_t n, bool special,
		   struct lt_buf *out, struct lt_err *err);

/* Streaming detokenizer: caller memory, one for each stream. Holds back a UTF-8 sequence that later
 * tokens may complete; malformed bytes come out as U+FFFD. */
struct mdl_detok {
	const struct mdl_tok *tok;
	bool special;
	unsigned char held[4];
	unsigned char n_held;
};
void mdl_detok_init(struct mdl_detok *d, const struct mdl_tok *t, bool special);
/* Appends to `out` the text that token `id` completes (perhaps nothing). LT_EINVAL, LT_ENOMEM. */
int mdl_detok_push(struct mdl_detok *d, int32_t id, struct lt_buf *out);
/* End of stream: what is held back comes out as U+FFFD. */
int mdl_detok_flush(struct mdl_detok *d, struct lt_buf *out);

#endif
