/*
 * latentctl bench: how fast a model runs here. Prompts of random ids; every figure is the median of
 * several repetitions, with the lowest and highest beside it. Each test runs once unmeasured, to have
 * memory and caches warm and to count what it reads and computes.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "tools/ctl-cost.h"
#include "tools/ctl-machine.h"
#include "tools/ctl-run.h"
#include "tools/ctl.h"

#define MAX_LIST    16
#define MAX_BATCH   4096u
#define MAX_REPEATS 99u
#define MAX_ROWS    2048u /* of a step, when nothing else is said */

struct list {
	uint32_t items[MAX_LIST];
	uint32_t n;
};

struct bench {
	struct ctl_run run;
	const char *model;
	uint32_t prompt, generate, repeats;
	struct list batches, depths;
	bool json;
	bool machine;
	bool first; /* of the JSON array */
	uint32_t rows, max_batch, tokens;
	int32_t *ids;		// [max_batch, tokens]
	uint32_t **blocks;	// [max_batch] tables
	struct eng_span *spans; // [max_batch]
	double *seconds;	// [repeats]
	struct ctl_cost cost;
	bool costed; /* false: the backend has no weights */
	bool count;  /* this repetition's steps */
};

static void usage(FILE *out)
{
	fputs("usage: latentctl bench MODEL [OPTION...]\n"
	      "       latentctl bench --machine [--threads N] [--isa I] [-r N] [--json]\n\n"
	      "Speed of prompts, decoding, batched decoding and decoding at depth. GB/s are the bytes\n"
	      "of the file's matrices that the steps touch and of the cache; Gop/s their operations.\n"
	      "Below stands what the machine can do at most, as --machine measures it (not with --json).\n\n"
	      "  -p N                tokens of a prompt (default 512; 0: leave out)\n"
	      "  -n N                tokens to generate (default 64; 0: leave out)\n"
	      "  -b N,...            sequences at once (default 1,8,32)\n"
	      "  -d N,...            tokens in the cache beforehand (default 0)\n"
	      "  -r N                repetitions (default 5)\n"
	      "  --machine           no model: what the machine can do at most\n"
	      "  --json              an array of objects (one object with --machine)\n" //
	      CTL_RUN_HELP("bf16 (default), f32 or q8") "  -h, --help\n",
	      out);
}

static bool parse_list(const char *name, const char *text, uint32_t min, uint32_t max,
		       struct list *out)
{
	char item[16];

	out->n = 0;
	for (;;) {
		size_t n = strcspn(text, ",");

		if (n >= sizeof(item) || out->n == MAX_LIST) {
			fprintf(stderr, "latentctl bench: %s takes up to %d numbers\n", name,
				MAX_LIST);
			return false;
		}
		memcpy(item, text, n);
		item[n] = '\0';
		if (!ctl_number("bench", name, item, min, max, &out->items[out->n++]))
			return false;
		if (text[n] == '\0')
			return true;
		text += n + 1;
	}
}

static uint32_t max_of(const struct list *l)
{
	uint32_t max = 0;

	for (uint32_t i = 0; i < l->n; i++)
		max = l->items[i] > max ? l->items[i] : max;
	return max;
}

/* -1: go on; else the exit status. */
static int parse(struct bench *b, int argc, char **argv)
{
	static const struct option options[] = {{"json", no_argument, NULL, 'j'},
						{"machine", no_argument, NULL, 'm'},
						{"help", no_argument, NULL, 'h'},
						CTL_RUN_OPTIONS,
						{NULL, 0, NULL, 0}};
	bool ok = true;
	int opt, rc = 0;

	ctl_run_init(&b->run, argv[0]);
	b->prompt = 512;
	b->generate = 64;
	b->repeats = 5;
	b->batches = (struct list){{1, 8, 32}, 3};
	b->depths = (struct list){{0}, 1};
	while (ok && (opt = getopt_long(argc, argv, "hp:n:b:d:r:", options, NULL)) != -1) {
		switch (opt) {
		case 'h': usage(stdout); return CTL_OK;
		case 'j': b->json = true; break;
		case 'm': b->machine = true; break;
		case 'p': ok = ctl_number("bench", "-p", optarg, 0, CTL_MAX_IDS, &b->prompt); break;
		case 'n':
			ok = ctl_number("bench", "-n", optarg, 0, CTL_MAX_IDS, &b->generate);
			break;
		case 'b': ok = parse_list("-b", optarg, 1, MAX_BATCH, &b->batches); break;
		case 'd': ok = parse_list("-d", optarg, 0, CTL_MAX_IDS, &b->depths); break;
		case 'r':
			ok = ctl_number("bench", "-r", optarg, 1, MAX_REPEATS, &b->repeats);
			break;
		case '?': usage(stderr); return CTL_USAGE;
		default: rc = ctl_run_option(&b->run, opt, optarg); ok = rc == 0;
		}
	}
	if (ok && b->machine && optind == argc)
		return ctl_machine(b->run.opts.threads, b->run.opts.isa, b->repeats, b->json);
	if (ok && !b->machine && optind + 1 == argc) {
		b->model = argv[optind];
		return -1;
	}
	if (ok)
		usage(stderr);
	return CTL_USAGE;
}

static int start(struct bench *b)
{
	uint32_t blocks, vocab, random = 1;

	b->max_batch = b->generate > 0 ? max_of(&b->batches) : 1;
	b->tokens = max_of(&b->depths) + b->generate;
	b->tokens = b->prompt > b->tokens ? b->prompt : b->tokens;
	b->rows = b->run.chunk > 0 ? b->run.chunk : MAX_ROWS;
	if (b->rows < b->max_batch)
		b->rows = b->max_batch;
	if (b->tokens == 0) {
		fputs("latentctl bench: nothing to do with -p 0 -n 0\n", stderr);
		return CTL_USAGE;
	}
	if (ctl_run_open(&b->run, b->model, b->max_batch, b->tokens, b->rows, b->max_batch) !=
	    CTL_OK)
		return CTL_FAIL;
	b->ids = lt_alloc(b->max_batch, b->tokens * sizeof(*b->ids));
	b->blocks = lt_alloc(b->max_batch, sizeof(*b->blocks));
	b->spans = lt_alloc(b->max_batch, sizeof(*b->spans));
	b->seconds = lt_alloc(b->repeats, sizeof(*b->seconds));
	if (!b->ids || !b->blocks || !b->spans || !b->seconds) {
		fputs("latentctl bench: out of memory\n", stderr);
		return CTL_FAIL;
	}
	b->costed = eng_needs_weights(b->run.opts.backend);
	if (b->costed && ctl_cost_init(&b->cost, b->run.model, b->run.engine) != 0) {
		fputs("latentctl bench: out of memory\n", stderr);
		return CTL_FAIL;
	}
	vocab = eng_info(b->run.engine)->vocab;
	for (size_t i = 0; i < (size_t)b->max_batch * b->tokens; i++) {
		random = random * 1664525u + 1013904223u; /* Numerical Recipes' generator */
		b->ids[i] = (int32_t)((random >> 8) % vocab);
	}
	blocks = b->tokens / ENG_BLOCK_TOKENS + 1;
	for (uint32_t i = 0; i < b->max_batch; i++) {
		b->blocks[i] = ctl_block_table(i * blocks, b->tokens);
		if (!b->blocks[i])
			return CTL_FAIL;
	}
	return CTL_OK;
}

static void finish(struct bench *b)
{
	for (uint32_t i = 0; b->blocks && i < b->max_batch; i++)
		free(b->blocks[i]);
	free(b->blocks);
	free(b->spans);
	free(b->seconds);
	free(b->ids);
	ctl_cost_fini(&b->cost);
	ctl_run_close(&b->run);
}

static int step(struct bench *b, size_t n_spans)
{
	struct eng_batch batch = {b->spans, n_spans, false};
	struct lt_err err = {0};
	struct eng_out out;

	if (b->count)
		ctl_cost_begin(&b->cost);
	if (eng_step(b->run.engine, &batch, &out, &err) != 0)
		return ctl_fail("bench", &err);
	if (b->count)
		ctl_cost_end(&b->cost, b->spans, n_spans);
	return CTL_OK;
}

/* Runs the first n tokens of sequence i as a prompt. */
static int prefill(struct bench *b, uint32_t i, uint32_t n)
{
	enum eng_form form;

	for (uint32_t pos = 0, take; pos < n; pos += take) {
		take = ctl_next_span(&b->run, pos, n, &form);
		if (take > b->rows)
			take = b->rows;
		b->spans[0] = (struct eng_span){.tokens = b->ids + (size_t)i * b->tokens + pos,
						.n = take,
						.pos = pos,
						.form = form,
						.blocks = b->blocks[i],
						.outputs = pos + take == n};
		if (step(b, 1) != CTL_OK)
			return CTL_FAIL;
	}
	return CTL_OK;
}

/* One token of each of `batch` sequences, at position pos. */
static int decode(struct bench *b, uint32_t batch, uint32_t pos)
{
	for (uint32_t i = 0; i < batch; i++)
		b->spans[i] = (struct eng_span){.tokens = b->ids + (size_t)i * b->tokens + pos,
						.n = 1,
						.pos = pos,
						.form = ENG_FORM_ABSORBED,
						.blocks = b->blocks[i],
						.outputs = 1};
	return step(b, batch);
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* GB/s and Gop/s as text, or `none` for a backend without weights. */
static void rates_text(const struct bench *b, double seconds, const char *none, char gb[24],
		       char gop[24])
{
	snprintf(gb, 24, "%s", none);
	snprintf(gop, 24, "%s", none);
	if (b->costed) {
		snprintf(gb, 24, b->json ? "%.6g" : "%.1f", (double)b->cost.bytes / seconds / 1e9);
		snprintf(gop, 24, b->json ? "%.6g" : "%.1f", b->cost.ops / seconds / 1e9);
	}
}

/* Sorts b->seconds and prints one line: `tokens` a repetition in `steps` steps. */
static void report(struct bench *b, const char *test, uint32_t batch, uint32_t depth,
		   uint32_t tokens, uint32_t steps)
{
	double median, rate, low, high;
	char gb[24], gop[24];

	qsort(b->seconds, b->repeats, sizeof(double), by_size);
	median = (b->seconds[(b->repeats - 1) / 2] + b->seconds[b->repeats / 2]) / 2;
	rate = tokens / median;
	high = tokens / b->seconds[0];
	low = tokens / b->seconds[b->repeats - 1];
	rates_text(b, median, b->json ? "null" : "-", gb, gop);
	if (b->json) {
		printf("%s\n {\"test\":\"%s\",\"batch\":%u,\"depth\":%u,\"tokens\":%u,"
		       "\"repetitions\":%u,\"tokens_per_second\":%.6g,\"lowest\":%.6g,"
		       "\"highest\":%.6g,\"step_ms\":%.6g,\"gb_per_second\":%s,"
		       "\"gop_per_second\":%s}",
		       b->first ? "[" : ",", test, batch, depth, tokens, b->repeats, rate, low,
		       high, median / steps * 1e3, gb, gop);
	} else {
		if (b->first)
			printf("%-7s %6s %8s %8s %12s %24s %10s %8s %8s\n", "test", "batch",
			       "depth", "tokens", "tokens/s", "(lowest .. highest)", "ms/step",
			       "GB/s", "Gop/s");
		printf("%-7s %6u %8u %8u %12.1f %11.1f .. %9.1f %10.3f %8s %8s\n", test, batch,
		       depth, tokens, rate, low, high, median / steps * 1e3, gb, gop);
	}
	b->first = false;
	fflush(stdout);
}

/* One repetition; the first, numbered 0, is counted and not measured. */
static int repeat(struct bench *b, uint32_t r, int (*run)(struct bench *, uint32_t, uint32_t),
		  uint32_t batch, uint32_t depth)
{
	uint64_t begin;
	int rc;

	if (r == 0) {
		b->cost.bytes = 0;
		b->cost.ops = 0;
		b->count = b->costed;
	}
	begin = lt_clock_ns();
	rc = run(b, batch, depth);
	if (r > 0)
		b->seconds[r - 1] = (double)(lt_clock_ns() - begin) / 1e9;
	b->count = false;
	return rc;
}

static int run_prompt(struct bench *b, uint32_t batch, uint32_t depth)
{
	(void)batch;
	(void)depth;
	return prefill(b, 0, b->prompt);
}

static int run_decode(struct bench *b, uint32_t batch, uint32_t depth)
{
	for (uint32_t t = 0; t < b->generate; t++) {
		if (decode(b, batch, depth + t) != CTL_OK)
			return CTL_FAIL;
	}
	return CTL_OK;
}

static int bench_prompt(struct bench *b)
{
	for (uint32_t r = 0; r <= b->repeats; r++) {
		if (repeat(b, r, run_prompt, 1, 0) != CTL_OK)
			return CTL_FAIL;
	}
	report(b, "prompt", 1, 0, b->prompt, 1);
	return CTL_OK;
}

static int bench_decode(struct bench *b, uint32_t batch, uint32_t depth)
{
	for (uint32_t i = 0; i < batch; i++) {
		if (prefill(b, i, depth) != CTL_OK)
			return CTL_FAIL;
	}
	for (uint32_t r = 0; r <= b->repeats; r++) {
		if (repeat(b, r, run_decode, batch, depth) != CTL_OK)
			return CTL_FAIL;
	}
	report(b, "decode", batch, depth, batch * b->generate, b->generate);
	return CTL_OK;
}

int ctl_bench(int argc, char **argv)
{
	struct bench b = {.first = true};
	int rc = parse(&b, argc, argv);

	if (rc >= 0)
		return rc;
	rc = start(&b);
	if (rc == CTL_OK && b.prompt > 0)
		rc = bench_prompt(&b);
	for (uint32_t d = 0; d < b.depths.n; d++) {
		for (uint32_t i = 0; rc == CTL_OK && b.generate > 0 && i < b.batches.n; i++)
			rc = bench_decode(&b, b.batches.items[i], b.depths.items[d]);
	}
	if (rc == CTL_OK && b.json)
		puts("\n]");
	finish(&b);
	if (rc == CTL_OK && b.costed && !b.json) {
		/* What to hold GB/s and Gop/s against. The model is gone: reading takes a gigabyte. */
		puts("");
		rc = ctl_machine(b.run.opts.threads, b.run.opts.isa, 1, false);
	}
	return rc;
}
