/*
 * latentctl logits and generate: the forward pass on token ids, for comparison with other programs.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "tools/ctl-run.h"
#include "tools/ctl.h"

struct job {
	struct ctl_run run;
	const char *model, *ids_path, *out_path, *experts_path;
	uint32_t n_generate;
	bool stop_eos;
	int32_t *ids; // [n_ids], then room for n_generate
	uint32_t n_ids;
	uint32_t *blocks;
	FILE *out, *experts;
};

static void job_fini(struct job *j)
{
	if (j->out)
		fclose(j->out);
	if (j->experts)
		fclose(j->experts);
	free(j->ids);
	free(j->blocks);
	ctl_run_close(&j->run);
}

static void usage_logits(FILE *out)
{
	fputs("usage: latentctl logits MODEL --ids FILE --out FILE [OPTION...]\n\n"
	      "Next-token logits at every position of a prompt.\n\n"
	      "  --ids FILE          token ids, int32 little-endian\n"
	      "  --out FILE          logits, float32 little-endian, row after row\n"
	      "  --experts FILE      routed experts, int32 [tokens, MoE layers, k] ascending\n" //
	      CTL_RUN_HELP("f32 (default), bf16 or q8") "  -h, --help\n",
	      out);
}

static void usage_generate(FILE *out)
{
	fputs("usage: latentctl generate MODEL --ids FILE -n N [OPTION...]\n\n"
	      "The N most probable next tokens, one after the other, as ids on one line.\n\n"
	      "  --ids FILE          token ids of the prompt, int32 little-endian\n"
	      "  -n N                how many\n"
	      "  --stop-eos          stop before an end-of-sequence id\n" //
	      CTL_RUN_HELP("f32 (default), bf16 or q8") "  -h, --help\n",
	      out);
}

enum { OPT_IDS = 'i', OPT_OUT = 'o', OPT_EXPERTS = 'e', OPT_STOP = 's' };

/* Parses both commands' options. -1: go on; else the exit status. */
static int parse(struct job *j, int argc, char **argv, void (*usage)(FILE *))
{
	static const struct option options[] = {{"ids", required_argument, NULL, OPT_IDS},
						{"out", required_argument, NULL, OPT_OUT},
						{"experts", required_argument, NULL, OPT_EXPERTS},
						{"stop-eos", no_argument, NULL, OPT_STOP},
						{"help", no_argument, NULL, 'h'},
						CTL_RUN_OPTIONS,
						{NULL, 0, NULL, 0}};
	bool generate = usage == usage_generate;
	int opt, rc;

	ctl_run_init(&j->run, argv[0]);
	j->run.opts.cache_type = ENG_CACHE_F32; /* exact: these two are for comparison */
	while ((opt = getopt_long(argc, argv, generate ? "hn:" : "h", options, NULL)) != -1) {
		switch (opt) {
		case 'h': usage(stdout); return CTL_OK;
		case OPT_IDS: j->ids_path = optarg; break;
		case OPT_OUT: j->out_path = optarg; break;
		case OPT_EXPERTS: j->experts_path = optarg; break;
		case OPT_STOP: j->stop_eos = true; break;
		case 'n':
			if (!ctl_number(argv[0], "-n", optarg, 1, CTL_MAX_IDS, &j->n_generate))
				return CTL_USAGE;
			break;
		case '?': usage(stderr); return CTL_USAGE;
		default:
			rc = ctl_run_option(&j->run, opt, optarg);
			if (rc != 0)
				return rc;
		}
	}
	if (optind + 1 != argc || !j->ids_path || (generate ? j->n_generate == 0 : !j->out_path)) {
		usage(stderr);
		return CTL_USAGE;
	}
	j->model = argv[optind];
	return -1;
}

/* Opens everything for the prompt in ids_path and n_generate more. */
static int start(struct job *j, bool all_outputs)
{
	uint32_t total, rows;

	if (ctl_read_ids(j->run.command, j->ids_path, &j->ids, &j->n_ids) != CTL_OK)
		return CTL_FAIL;
	total = j->n_ids + j->n_generate; /* both at most 2^20 */
	rows = j->run.chunk > 0 && j->run.chunk < j->n_ids ? j->run.chunk : j->n_ids;
	if (lt_resize(&j->ids, total, sizeof(*j->ids)) != 0) {
		fputs("latentctl: out of memory\n", stderr);
		return CTL_FAIL;
	}
	if (ctl_run_open(&j->run, j->model, 1, total, rows, all_outputs ? rows : 1) != CTL_OK)
		return CTL_FAIL;
	j->blocks = ctl_block_table(0, total);
	return j->blocks ? CTL_OK : CTL_FAIL;
}

static int open_out(const struct job *j, const char *path, FILE **out)
{
	*out = fopen(path, "wb");
	if (*out)
		return CTL_OK;
	fprintf(stderr, "latentctl %s: %s: %m\n", j->run.command, path);
	return CTL_FAIL;
}

/* fclose tells what fwrite could not. */
static int close_out(const struct job *j, const char *path, FILE **out)
{
	FILE *f = *out;
	bool bad;

	if (!f)
		return CTL_OK;
	bad = ferror(f) != 0;
	bad |= fclose(f) != 0;
	*out = NULL;
	if (!bad)
		return CTL_OK;
	fprintf(stderr, "latentctl %s: %s: writing failed: %m\n", j->run.command, path);
	return CTL_FAIL;
}

static int write_logits(struct job *j)
{
	const struct eng_info *info = eng_info(j->run.engine);
	struct lt_err err = {0};
	struct eng_out out;
	enum eng_form form;

	for (uint32_t pos = 0, n; pos < j->n_ids; pos += n) {
		n = ctl_next_span(&j->run, pos, j->n_ids, &form);
		struct eng_span span = {j->ids + pos, n, pos, form, j->blocks, n};
		struct eng_batch batch = {&span, 1, j->experts != NULL};

		if (eng_step(j->run.engine, &batch, &out, &err) != 0)
			return ctl_fail(j->run.command, &err);
		fwrite(out.logits, sizeof(float), (size_t)n * info->vocab, j->out);
		if (j->experts)
			fwrite(out.experts, sizeof(int32_t),
			       (size_t)n * info->moe_layers * info->experts_used, j->experts);
	}
	return CTL_OK;
}

int ctl_logits(int argc, char **argv)
{
	struct job j = {0};
	int rc = parse(&j, argc, argv, usage_logits);

	if (rc >= 0)
		return rc;
	rc = start(&j, true);
	if (rc == CTL_OK && !eng_info(j.run.engine)->has_logits) {
		fprintf(stderr, "latentctl logits: backend %s has no logits\n",
			eng_info(j.run.engine)->backend);
		rc = CTL_FAIL;
	}
	if (rc == CTL_OK)
		rc = open_out(&j, j.out_path, &j.out);
	if (rc == CTL_OK && j.experts_path)
		rc = open_out(&j, j.experts_path, &j.experts);
	if (rc == CTL_OK)
		rc = write_logits(&j);
	if (rc == CTL_OK)
		rc = close_out(&j, j.out_path, &j.out);
	if (rc == CTL_OK)
		rc = close_out(&j, j.experts_path, &j.experts);
	job_fini(&j);
	return rc;
}

/* The greedy token of the step's only output; -1 (said) if there is none. */
static int32_t greedy(const struct job *j, const struct eng_out *out)
{
	uint32_t vocab = eng_info(j->run.engine)->vocab;
	uint32_t best = 0;

	if (!out->logits)
		return out->tokens[0];
	if (out->bad[0]) {
		fprintf(stderr, "latentctl generate: the model's logits are not finite\n");
		return -1;
	}
	for (uint32_t i = 1; i < vocab; i++) {
		if (out->logits[i] > out->logits[best])
			best = i;
	}
	return (int32_t)best;
}

static bool is_eos(const struct job *j, int32_t id)
{
	const struct mdl_config *c = mdl_config(j->run.model);

	for (uint32_t i = 0; i < c->n_eos; i++) {
		if (c->eos[i] == id)
			return true;
	}
	return false;
}

static int generate(struct job *j)
{
	uint32_t prompt = j->n_ids, total = prompt + j->n_generate;
	struct lt_err err = {0};
	struct eng_out out;

	for (uint32_t pos = 0, n; j->n_ids < total; pos += n) {
		enum eng_form form = ENG_FORM_ABSORBED;

		n = pos < prompt ? ctl_next_span(&j->run, pos, prompt, &form) : 1;
		struct eng_span span = {j->ids + pos, n, pos, form, j->blocks, pos + n >= prompt};
		struct eng_batch batch = {&span, 1, false};

		if (eng_step(j->run.engine, &batch, &out, &err) != 0)
			return ctl_fail(j->run.command, &err);
		if (pos + n < prompt)
			continue;
		int32_t id = greedy(j, &out);

		if (id < 0)
			return CTL_FAIL;
		if (j->stop_eos && is_eos(j, id))
			break;
		printf("%s%d", j->n_ids > prompt ? " " : "", id);
		j->ids[j->n_ids++] = id;
	}
	putchar('\n');
	return ferror(stdout) ? CTL_FAIL : CTL_OK;
}

int ctl_generate(int argc, char **argv)
{
	struct job j = {0};
	int rc = parse(&j, argc, argv, usage_generate);

	if (rc >= 0)
		return rc;
	rc = start(&j, false);
	if (rc == CTL_OK)
		rc = generate(&j);
	job_fini(&j);
	return rc;
}
