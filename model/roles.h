/*
 * The matrices of the forward pass: which a configuration calls for, their shapes, and what the two
 * formats call them. Private to model/; pure functions.
 */
#ifndef LT_MODEL_ROLES_H
#define LT_MODEL_ROLES_H

#include "model/checkpoint.h"

enum mdl_scope { MDL_SCOPE_GLOBAL, MDL_SCOPE_LAYER, MDL_SCOPE_EXPERT };

/* How tensors are called: GGUF, or Hugging Face with one of three prefixes (multimodal releases
 * keep the language model below another). */
enum mdl_naming { MDL_NAMING_HF, MDL_NAMING_HF_OUTER, MDL_NAMING_HF_INNER, MDL_NAMING_GGUF };

enum mdl_scope mdl_role_scope(enum mdl_role role);

/* True for norms and the router's bias: [1, cols], one dimension in the file. */
bool mdl_role_is_vector(enum mdl_role role);

/* True if the forward pass of layer `layer` (ignored for globals) reads the role. KV_B, K_B and V_B
 * are all true: a checkpoint has one or the other. */
bool mdl_role_wanted(const struct mdl_config *c, enum mdl_role role, uint32_t layer);

/* The shape of one matrix (of one expert). */
void mdl_role_shape(const struct mdl_config *c, enum mdl_role role, uint32_t *rows, uint32_t *cols);

/* Writes the tensor's name; false if the format has no such tensor. GGUF keeps all experts of a
 * layer in one tensor, so `expert` is ignored there. */
bool mdl_role_name(enum mdl_naming naming, enum mdl_role role, uint32_t layer, uint32_t expert,
		   char *dst, size_t size);

/* What stands before the layer's number. */
const char *mdl_naming_layers(enum mdl_naming naming);

#endif
