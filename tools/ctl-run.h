/*
 * What the subcommands that run a model have in common: options, opening the model with an engine,
 * reading ids, stepping through a prompt. Messages go to standard error.
 */
#ifndef LT_TOOLS_CTL_RUN_H
#define LT_TOOLS_CTL_RUN_H

#include <getopt.h>
#include <stdio.h>

#include "engine/engine.h"
#include "model/checkpoint.h"

#define CTL_OK	  0
#define CTL_FAIL  1
#define CTL_USAGE 2

#define CTL_MAX_IDS (1u << 20)

/* Options, then what they open. Starts zeroed but for the defaults of ctl_run_init. */
struct ctl_run {
	const char *command;
	struct eng_opts opts;
	uint32_t chunk; /* tokens of a step of a prompt; 0: all */
	struct mdl *model;
	struct eng *engine;
};

/* For the array given to getopt_long, and their help. */
enum {
	CTL_OPT_BACKEND = 256,
	CTL_OPT_CACHE_TYPE,
	CTL_OPT_ATTENTION,
	CTL_OPT_CHUNK,
	CTL_OPT_THREADS,
	CTL_OPT_ISA
};
#define CTL_RUN_OPTIONS                                                                            \
	{"backend", required_argument, NULL, CTL_OPT_BACKEND},                                     \
		{"cache-type", required_argument, NULL, CTL_OPT_CACHE_TYPE},                       \
		{"attention", required_argument, NULL, CTL_OPT_ATTENTION},                         \
		{"isa", required_argument, NULL, CTL_OPT_ISA},                                     \
		{"chunk", required_argument, NULL, CTL_OPT_CHUNK},                                 \
	{                                                                                          \
		"threads", required_argument, NULL, CTL_OPT_THREADS                                \
	}
#define CTL_RUN_HELP(cache_types)                                                                  \
	"  --backend B         cpu (default), blas or null\n"                                      \
	"  --isa I             of backend cpu: auto (default), avx512bf16, avx512, avx2, plain\n"  \
	"  --cache-type T      " cache_types "\n"                                                  \
	"  --attention A       auto (default) or absorbed\n"                                       \
	"  --chunk N           tokens of a step of the prompt; default: all of it\n"               \
	"  --threads N         default: one a core\n"

void ctl_run_init(struct ctl_run *r, const char *command);

/* Takes one of CTL_RUN_OPTIONS. 0, or CTL_USAGE when the value is wrong (said). */
int ctl_run_option(struct ctl_run *r, int opt, const char *arg);

/* A whole number within [min, max]; false (said) if text is not one. */
bool ctl_number(const char *command, const char *name, const char *text, uint32_t min, uint32_t max,
		uint32_t *out);

/* Opens model and engine for `sequences` of up to `tokens` tokens each, steps of up to `rows` rows
 * of which `outputs` ask for logits. CTL_OK or CTL_FAIL (said). */
int ctl_run_open(struct ctl_run *r, const char *path, uint32_t sequences, uint32_t tokens,
		 uint32_t rows, uint32_t outputs);
void ctl_run_close(struct ctl_run *r);

/* Opens the model alone, with weights if the chosen backend needs them. */
int ctl_run_open_model(struct ctl_run *r, const char *path);

/* Reads int32 little-endian ids; *ids is the caller's to free. CTL_OK or CTL_FAIL (said). */
int ctl_read_ids(const char *command, const char *path, int32_t **ids, uint32_t *n);

/* Tokens of the step that begins at `pos` of a prompt of n: a chunk, cut where the attention form
 * changes. Sets *form. */
uint32_t ctl_next_span(const struct ctl_run *r, uint32_t pos, uint32_t n, enum eng_form *form);

/* Blocks [first, first + blocks of `tokens` tokens) as a table for one sequence; NULL (said)
 * without memory. */
uint32_t *ctl_block_table(uint32_t first, uint32_t tokens);

/* Says `err` for the command; returns CTL_FAIL. */
int ctl_fail(const char *command, const struct lt_err *err);

#endif
