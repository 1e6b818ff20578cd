/*
 * A checkpoint on disk: a Hugging Face folder (config.json, safetensors) or a GGUF file, mapped
 * read-only. Opening checks every length, offset, shape and type that the forward pass will rely
 * on, so that later reads need no checks. Immutable once open: any thread may read.
 */
#ifndef LT_MODEL_CHECKPOINT_H
#define LT_MODEL_CHECKPOINT_H

#include "base/error.h"
#include "model/config.h"
#include "model/tensor.h"

struct mdl;

/* The matrices of the forward pass. Shapes [rows, cols] in the config's names; E experts, d hidden,
 * H heads, rk kv_rank, rq q_rank. */
enum mdl_role {
	MDL_W_EMBED,	/* [vocab, d] */
	MDL_W_OUT_NORM, /* [1, d] */
	MDL_W_HEAD,	/* [vocab, d]; the embedding again when tied */
	/* of a layer */
	MDL_W_ATTN_NORM,   /* [1, d] */
	MDL_W_Q,	   /* [H (dn + dr), d], when rq is 0 */
	MDL_W_Q_A,	   /* [rq, d] */
	MDL_W_Q_A_NORM,	   /* [1, rq] */
	MDL_W_Q_B,	   /* [H (dn + dr), rq] */
	MDL_W_KV_A,	   /* [rk + dr, d] */
	MDL_W_KV_A_NORM,   /* [1, rk] */
	MDL_W_KV_B,	   /* [H (dn + dv), rk]: per head dn rows of W_UK, then dv rows of W_UV */
	MDL_W_K_B,	   /* [H rk, dn]: per head W_UK transposed (GGUF), in place of KV_B */
	MDL_W_V_B,	   /* [H dv, rk]: per head W_UV (GGUF), in place of KV_B */
	MDL_W_O,	   /* [d, H dv] */
	MDL_W_FFN_NORM,	   /* [1, d] */
	MDL_W_FFN_GATE,	   /* [ff, d] dense layers */
	MDL_W_FFN_UP,	   /* [ff, d] */
	MDL_W_FFN_DOWN,	   /* [d, ff] */
	MDL_W_ROUTER,	   /* [E, d] */
	MDL_W_ROUTER_BIAS, /* [1, E]; sigmoid router only */
	MDL_W_SHARED_GATE, /* [shared * mff, d] */
	MDL_W_SHARED_UP,
	MDL_W_SHARED_DOWN, /* [d, shared * mff] */
	MDL_W_EXPERT_GATE, /* [mff, d], one for each expert */
	MDL_W_EXPERT_UP,
	MDL_W_EXPERT_DOWN, /* [d, mff] */
	MDL_W_COUNT
};

/* Opens `path` (a folder, a .gguf file, or the first part of a split GGUF). LT_ENOENT, LT_EFORMAT
 * (malformed), LT_EUNSUPPORTED (another family, type or quantisation, by name), LT_ENOMEM, LT_EIO;
 * err names file, tensor and reason. A folder without weights is LT_ENOENT; see mdl_open_meta. */
int mdl_open(const char *path, struct mdl **out, struct lt_err *err);

/* The same without looking for weights: config only. For backends that need none. */
int mdl_open_meta(const char *path, struct mdl **out, struct lt_err *err);
void mdl_close(struct mdl *m); /* NULL is fine; unmaps: no mdl_weight may be used after */

const struct mdl_config *mdl_config(const struct mdl *m);
const char *mdl_path(const struct mdl *m);
/* "safetensors" or "gguf". */
const char *mdl_format(const struct mdl *m);

/* The view of one matrix: `layer` is ignored for globals, `expert` but for the EXPERT roles. False
 * if the checkpoint does not have it (which of KV_B / K_B+V_B and Q / Q_A+Q_B exist is for the
 * caller to see; all others that the config calls for exist, mdl_open made sure). */
bool mdl_weight_get(const struct mdl *m, enum mdl_role role, uint32_t layer, uint32_t expert,
		    struct mdl_weight *out);

/* What `latentctl inspect` reports. */
struct mdl_summary {
	uint64_t file_bytes;
	uint64_t tensors;	/* all that the files hold */
	uint64_t params;	/* of the forward pass, both tables */
	uint64_t active_params; /* touched for one token: k experts, embedding table left out */
	uint64_t nextn_tensors; /* of extra-token modules: recognised, unread */
	uint64_t type_tensors[MDL_TYPE_COUNT]; /* how many matrices of each type */
	uint64_t type_bytes[MDL_TYPE_COUNT];
};
void mdl_summarise(const struct mdl *m, struct mdl_summary *out);

/* Texts that may come along; NULL when absent. Owned by m, valid UTF-8. */
const char *
mdl_chat_template(const struct mdl *m);	   /* chat_template.jinja, tokenizer_config.json or GGUF */
const char *mdl_name(const struct mdl *m); /* general.name or the folder's name */

/* One tensor of a safetensors file, by its own name; for fixtures and tools.  */
struct mdl_tensor {
	enum mdl_type type;
	uint32_t n_dims;
	uint64_t dims[8]; /* slowest first */
	const void *data;
	size_t bytes;
};
struct mdl_safetensors;
int mdl_safetensors_open(const char *path, struct mdl_safetensors **out, struct lt_err *err);
void mdl_safetensors_close(struct mdl_safetensors *s);
bool mdl_safetensors_get(const struct mdl_safetensors *s, const char *name, struct mdl_tensor *out);

#endif
