/*
 * What steps of a model must at least read and compute, from the checkpoint's own matrices and the
 * engine's counts of routed tokens: to turn a bench's times into GB/s and Gop/s. Bytes are those of
 * the file's types, whatever form a backend keeps them in; nothing that stays in a CPU's cache from
 * step to step is taken off.
 */
#ifndef LT_TOOLS_CTL_COST_H
#define LT_TOOLS_CTL_COST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/engine.h"

struct mdl;

struct ctl_cost {
	/* of the model */
	const struct eng *engine;
	const struct mdl_config *config;
	uint64_t shared_bytes, shared_values; /* matrices that every row passes, head left out */
	uint64_t head_bytes, head_values;
	uint64_t *expert_bytes;	 // [moe_layers]
	uint64_t *expert_values; // [moe_layers]
	uint64_t token_bytes;	 /* of cache */
	uint64_t *counts;	 // [2, moe_layers, experts] before a step and after
	/* sums over steps */
	uint64_t bytes;
	double ops; /* a multiplication and an addition are two */
};

/* `m` has weights; the engine runs it. LT_ENOMEM. */
int ctl_cost_init(struct ctl_cost *c, const struct mdl *m, const struct eng *e);
void ctl_cost_fini(struct ctl_cost *c);

/* Around a step. What it cost is added to the sums. */
void ctl_cost_begin(struct ctl_cost *c);
void ctl_cost_end(struct ctl_cost *c, const struct eng_span *spans, size_t n);

#endif
