/*
 * GGUF metadata to struct mdl_config. Private to model/.
 */
#ifndef LT_MODEL_GGUF_CONFIG_H
#define LT_MODEL_GGUF_CONFIG_H

#include "model/config.h"
#include "model/gguf.h"

/* Fills and checks *c. Where files leave a key out, the tensor table decides (queries compressed or
 * not, extra-token layers, vocabulary). LT_EFORMAT, LT_EUNSUPPORTED (architecture, rope, router). */
int mdl_gguf_config(const struct mdl_gguf *g, struct mdl_config *c, struct lt_err *err);

#endif
