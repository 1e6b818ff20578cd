/*
 * The engine: a model ready to run, its paged latent cache, and one step over a ragged batch.
 *
 * One thread (the scheduler's) calls eng_step, eng_block_copy and eng_close; eng_info may be read by
 * any. The engine owns cache memory; who uses which block is the caller's business.
 */
#ifndef LT_ENGINE_ENGINE_H
#define LT_ENGINE_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/sampler.h"

struct mdl;
struct eng;

#define ENG_BLOCK_TOKENS 32u  /* tokens of a cache block */
#define ENG_SPAN_TOKENS	 256u /* tokens of a prompt span that takes the expanded form */

enum eng_cache_type { ENG_CACHE_BF16, ENG_CACHE_F32, ENG_CACHE_Q8 };
enum eng_attention { ENG_ATTENTION_AUTO, ENG_ATTENTION_ABSORBED };
enum eng_form { ENG_FORM_ABSORBED, ENG_FORM_EXPANDED };

enum eng_numa { ENG_NUMA_AUTO, ENG_NUMA_OFF, ENG_NUMA_INTERLEAVE };
enum eng_hugepages { ENG_HUGEPAGES_AUTO, ENG_HUGEPAGES_OFF, ENG_HUGEPAGES_EXPLICIT };

/* Where weights, cache and threads of backend cpu live; of the others, the cache. */
struct eng_place {
	enum eng_numa numa; /* auto: pages dealt out over all nodes where there are several */
	enum eng_hugepages hugepages; /* auto: transparent ones; explicit: from vm.nr_hugepages */
	bool pin;		      /* each thread to a processor; cores before their siblings */
};

struct eng_opts {
	const char *backend; /* "cpu", "blas" or "null"; NULL: the default */
	const char *isa;     /* backend cpu: instruction set by name; NULL or "auto": the best */
	enum eng_cache_type cache_type;
	enum eng_attention attention;
	uint32_t cache_blocks; /* blocks of ENG_BLOCK_TOKENS tokens; at least 1 */
	uint32_t max_rows;     /* tokens of the largest step; at least ENG_SPAN_TOKENS */
	uint32_t max_outputs;  /* rows that may ask for logits in a step; at least 1 */
	uint32_t threads;      /* 0: one a core */
	struct eng_place place;
	double null_rate; /* backend null: tokens a second over all sequences; 0: as fast as it goes */
};

struct eng_info {
	const char *backend;
	uint32_t vocab, layers, moe_layers, experts, experts_used;
	uint32_t max_positions;
	uint32_t cache_blocks;
	uint32_t max_rows, max_outputs; /* of a step, as opened */
	uint64_t token_bytes;		/* of cache, over all layers */
	uint64_t cache_bytes;		/* all blocks */
	uint64_t weight_bytes;		/* resident copies beyond the mapped file */
	bool has_logits;		/* false: backend null, which gives tokens */
};

/* Consecutive tokens of one sequence, all of one form. Their latents are written to the cache, then
 * each attends to positions 0..its own. A batch may have several spans of a sequence, in order of
 * position, the later ones seeing what the earlier ones write; no span may see a block that another
 * sequence writes in the same step. */
struct eng_span {
	const int32_t *tokens; // [n]
	uint32_t n;
	uint32_t pos;		/* position of tokens[0] */
	enum eng_form form;	/* eng_form_of */
	const uint32_t *blocks; // [(pos + n + 31) / 32] block table of the sequence
	uint32_t outputs;	/* the last `outputs` tokens want logits; 0..n */
};

/* What a step gives for each row that asked, in batch order. Valid until the next call. */
struct eng_out {
	size_t n;
	const float *logits;	// [n, vocab], NULL for backend null
	const int32_t *tokens;	// [n] backend null alone
	const bool *bad;	// [n] true: logits not finite; other sequences are unharmed
	const int32_t *experts; // [rows, moe_layers, experts_used] ids ascending, if asked for
};

struct eng_batch {
	const struct eng_span *spans;
	size_t n_spans;
	bool want_experts;
};

/* Names of the backends of this build, NULL-terminated; the first is the default. */
const char *const *eng_backends(void);

/* True if the backend runs on mdl_open's models alone; false if mdl_open_meta's will do (or there is
 * no such backend). */
bool eng_needs_weights(const char *backend);

/* Makes `m` ready to run. `m` must outlive the engine. LT_EINVAL (options; says what is allowed),
 * LT_ENOMEM, LT_EUNSUPPORTED. */
int eng_open(const struct mdl *m, const struct eng_opts *opts, struct eng **out,
	     struct lt_err *err);
void eng_close(struct eng *e);
const struct eng_info *eng_info(const struct eng *e);

/* Bytes of cache that one token takes over all layers, without opening an engine. */
uint64_t eng_token_bytes(const struct mdl *m, enum eng_cache_type type);

/* Which form position `pos` of a sequence with `n_prompt` prompt tokens takes: expanded for those
 * in a complete aligned span of ENG_SPAN_TOKENS prompt tokens when attention is auto. A function of
 * the token alone, never of the batch. */
enum eng_form eng_form_of(const struct eng *e, uint32_t pos, uint32_t n_prompt);

/* One step. LT_EINVAL for a batch that breaks the rules above (nothing is written), LT_EINTERNAL if
 * the device failed: then the engine is lost. */
int eng_step(struct eng *e, const struct eng_batch *batch, struct eng_out *out, struct lt_err *err);

/* Copies the first n_tokens entries of block src to dst, all layers (copy on write). */
void eng_block_copy(struct eng *e, uint32_t dst, uint32_t src, uint32_t n_tokens);

/* Routed tokens since the start: counts [moe_layers, experts], to be read by any thread while steps
 * run (each count is exact, the set is not a snapshot). */
void eng_expert_counts(const struct eng *e, uint64_t *counts);

#endif
