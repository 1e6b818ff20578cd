/*
 * Hugging Face folders, private to model/: configuration, weight files, texts.
 */
#ifndef LT_MODEL_HF_H
#define LT_MODEL_HF_H

#include "base/error.h"
#include "model/config.h"
#include "model/dir.h"

/* What config.json says of the weights rather than of the model. */
struct mdl_hf_facts {
	uint32_t block_rows, block_cols; /* values that one FP8 scale covers; 0 without FP8 */
	bool tied;			 /* the head is the embedding */
};

/* Reads config.json and generation_config.json (if there) of folder `dir`. LT_ENOENT, LT_ETOOBIG,
 * LT_EFORMAT, LT_EUNSUPPORTED (family, router, rope, quantisation: by name), LT_ENOMEM. */
int mdl_hf_config(const char *dir, struct mdl_config *c, struct mdl_hf_facts *facts,
		  struct lt_err *err);

/* Maps the folder's safetensors files (model.safetensors, or the shards that
 * model.safetensors.index.json names) into `d` and indexes it. LT_ENOENT when there is neither. */
int mdl_hf_weights(const char *dir, struct mdl_dir *d, struct lt_err *err);

/* The chat template of the folder (chat_template.jinja or tokenizer_config.json), for the caller to
 * free; NULL if there is none. LT_EFORMAT, LT_ETOOBIG, LT_ENOMEM, LT_EIO. */
int mdl_hf_chat_template(const char *dir, char **out, struct lt_err *err);

#endif
