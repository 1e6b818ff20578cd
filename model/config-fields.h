/*
 * The whole-number fields of struct mdl_config: their names in both formats and the range of each.
 * One table, so that readers and messages agree. Private to model/.
 *
 * The upper bounds are far above any published model and low enough that no product of two widths,
 * ranks or counts overflows 32 bits, and none with the vocabulary 64.
 */
#ifndef LT_MODEL_CONFIG_FIELDS_H
#define LT_MODEL_CONFIG_FIELDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "model/config.h"

struct mdl_config_field {
	size_t offset;	  /* of the uint32_t in struct mdl_config */
	const char *hf;	  /* key of config.json */
	const char *gguf; /* key behind "ARCHITECTURE.", NULL if GGUF says it otherwise */
	uint32_t min, max;
	bool required; /* where the format has a key */
};

extern const struct mdl_config_field mdl_config_fields[];
extern const size_t mdl_config_n_fields;

static inline uint32_t *mdl_config_at(struct mdl_config *c, const struct mdl_config_field *f)
{
	return (uint32_t *)((char *)c + f->offset);
}

/* Values that both formats start from. */
void mdl_config_init(struct mdl_config *c);

/* Checks what a single range can't say: relations between fields, floats, token ids. `file` is for
 * messages. LT_EFORMAT. */
int mdl_config_check(const struct mdl_config *c, const char *file, struct lt_err *err);

/* Adds an end token unless it is there. LT_EFORMAT past MDL_MAX_EOS or outside the vocabulary. */
int mdl_config_add_eos(struct mdl_config *c, const char *file, int64_t id, struct lt_err *err);

#endif
