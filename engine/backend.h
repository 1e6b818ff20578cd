/*
 * The seam between engine.c and the code that runs the forward pass: one table of functions for
 * each backend. engine.c has checked options and batch before `open` and `step` are called.
 */
#ifndef LT_ENGINE_BACKEND_H
#define LT_ENGINE_BACKEND_H

#include "engine/engine.h"
#include "model/checkpoint.h"

struct eng_backend {
	const char *name;
	bool needs_weights;
	/* Makes the model ready; fills info's token_bytes, cache_bytes, weight_bytes, has_logits.
	 * opts->threads is 1 or more. */
	int (*open)(const struct mdl *m, const struct eng_opts *opts, struct eng_info *info,
		    void **state, struct lt_err *err);
	void (*close)(void *state);
	/* `out` is zeroed, but for n. */
	int (*step)(void *state, const struct eng_batch *batch, struct eng_out *out,
		    struct lt_err *err);
	void (*block_copy)(void *state, uint32_t dst, uint32_t src, uint32_t n_tokens);
	/* NULL where there are no experts. */
	void (*expert_counts)(const void *state, uint64_t *counts);
};

extern const struct eng_backend eng_backend_cpu;
extern const struct eng_backend eng_backend_blas;
extern const struct eng_backend eng_backend_null;

#endif
