/*
 * The inside of a tokenizer, private to model/: what tokenizer.c runs and the readers of files
 * (tok-json.c, tok-gguf.c) fill.
 */
#ifndef LT_MODEL_TOK_H
#define LT_MODEL_TOK_H

#include "model/added.h"
#include "model/bpe.h"
#include "model/pretok.h"
#include "model/tokenizer.h"

struct mdl_tok_pool; /* working memory of threads, see tokenizer.c */

struct mdl_tok {
	struct mdl_bpe bpe;
	struct mdl_pretok pretok;
	struct mdl_added added;
	int32_t bos, eos;
	bool add_bos;
	bool byte_level; /* ByteLevel was read; nothing may follow it */
	uint32_t count;
	struct mdl_tok_pool *pool;
};

/* Fill an empty tokenizer (bpe initialised, bos and eos -1) from a folder or a tokenizer.json
 * itself, or from a GGUF file. Nothing is sealed. Errors as mdl_tok_open. */
int mdl_tok_read_json(struct mdl_tok *t, const char *path, struct lt_err *err);
int mdl_tok_read_gguf(struct mdl_tok *t, const char *path, struct lt_err *err);

#endif
