/*
 * struct mdl, and the binding of roles to tensors. Private to model/.
 */
#ifndef LT_MODEL_BIND_H
#define LT_MODEL_BIND_H

#include "model/checkpoint.h"
#include "model/dir.h"
#include "model/gguf.h"
#include "model/roles.h"

/* Entry numbers + 1; 0: none. */
struct mdl_binding {
	uint32_t tensor, scale;
};

struct mdl {
	struct mdl_config cfg;
	char *path, *name, *chat_template;
	enum mdl_naming naming;
	bool tied;			 /* the head is the embedding */
	uint32_t block_rows, block_cols; /* of FP8 scales; 0: none */
	struct mdl_gguf *gguf;		 /* NULL for a folder */
	struct mdl_dir own;		 /* of a folder */
	const struct mdl_dir *dir;	 /* own, or the GGUF's */
	struct mdl_binding globals[MDL_W_HEAD + 1];
	struct mdl_binding (*layers)[MDL_W_COUNT]; /* [layers]; NULL without weights */
	uint32_t *moe_index;	     /* [layers] how many MoE layers stand before each */
	struct mdl_binding *experts; /* [moe layers, experts, 3] of a folder; GGUF uses layers */
	uint64_t nextn_tensors;
};

/* Binds and checks every matrix of the forward pass. LT_EFORMAT, LT_EUNSUPPORTED, LT_ENOMEM. */
int mdl_bind(struct mdl *m, struct lt_err *err);

/* Where the binding of a role is kept; NULL for an expert of a layer that has none. Layer and
 * expert must be in range. */
struct mdl_binding *mdl_binding(const struct mdl *m, enum mdl_role role, uint32_t layer,
				uint32_t expert);

/* Blocks of `block` that cover n values. */
static inline uint32_t mdl_blocks(uint32_t n, uint32_t block)
{
	return n / block + (n % block != 0);
}

#endif
