/*
 * Shared by ctl-logits.c, ctl-bench.c and ctl-inspect.c; see ctl-run.h.
 */
#include "tools/ctl-run.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/file.h"
#include "base/mem.h"

void ctl_run_init(struct ctl_run *r, const char *command)
{
	memset(r, 0, sizeof(*r));
	r->command = command;
	r->opts.cache_type = ENG_CACHE_BF16;
	r->opts.attention = ENG_ATTENTION_AUTO;
}

int ctl_fail(const char *command, const struct lt_err *err)
{
	fprintf(stderr, "latentctl %s: %s\n", command, err->text);
	return CTL_FAIL;
}

bool ctl_number(const char *command, const char *name, const char *text, uint32_t min, uint32_t max,
		uint32_t *out)
{
	char *end;
	unsigned long long v;

	errno = 0;
	v = strtoull(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || text[0] == '-' || v < min || v > max) {
		fprintf(stderr, "latentctl %s: %s '%s' is not a number from %u to %u\n", command,
			name, text, min, max);
		return false;
	}
	*out = (uint32_t)v;
	return true;
}

static int wrong_choice(const struct ctl_run *r, const char *name, const char *arg,
			const char *allowed)
{
	fprintf(stderr, "latentctl %s: %s '%s': allowed are %s\n", r->command, name, arg, allowed);
	return CTL_USAGE;
}

int ctl_run_option(struct ctl_run *r, int opt, const char *arg)
{
	switch (opt) {
	case CTL_OPT_BACKEND:
		for (const char *const *name = eng_backends(); *name; name++) {
			if (strcmp(*name, arg) == 0) {
				r->opts.backend = *name;
				return 0;
			}
		}
		return wrong_choice(r, "--backend", arg, "cpu, blas and null");
	case CTL_OPT_CACHE_TYPE:
		if (strcasecmp(arg, "bf16") == 0)
			r->opts.cache_type = ENG_CACHE_BF16;
		else if (strcasecmp(arg, "f32") == 0)
			r->opts.cache_type = ENG_CACHE_F32;
		else if (strcasecmp(arg, "q8") == 0)
			r->opts.cache_type = ENG_CACHE_Q8;
		else
			return wrong_choice(r, "--cache-type", arg, "bf16, f32 and q8");
		return 0;
	case CTL_OPT_ATTENTION:
		if (strcmp(arg, "auto") == 0)
			r->opts.attention = ENG_ATTENTION_AUTO;
		else if (strcmp(arg, "absorbed") == 0)
			r->opts.attention = ENG_ATTENTION_ABSORBED;
		else
			return wrong_choice(r, "--attention", arg, "auto and absorbed");
		return 0;
	case CTL_OPT_ISA: r->opts.isa = arg; return 0; /* eng_open knows which there are */
	case CTL_OPT_CHUNK:
		return ctl_number(r->command, "--chunk", arg, 1, CTL_MAX_IDS, &r->chunk)
			       ? 0
			       : CTL_USAGE;
	case CTL_OPT_THREADS:
		return ctl_number(r->command, "--threads", arg, 1, 1024, &r->opts.threads)
			       ? 0
			       : CTL_USAGE;
	default: return CTL_USAGE;
	}
}

int ctl_run_open_model(struct ctl_run *r, const char *path)
{
	struct lt_err err = {0};
	int rc = eng_needs_weights(r->opts.backend) ? mdl_open(path, &r->model, &err)
						    : mdl_open_meta(path, &r->model, &err);

	return rc == 0 ? CTL_OK : ctl_fail(r->command, &err);
}

int ctl_run_open(struct ctl_run *r, const char *path, uint32_t sequences, uint32_t tokens,
		 uint32_t rows, uint32_t outputs)
{
	struct lt_err err = {0};
	uint64_t blocks = (uint64_t)(tokens / ENG_BLOCK_TOKENS + 1) * sequences;

	if (!r->model && ctl_run_open_model(r, path) != CTL_OK)
		return CTL_FAIL;
	if (tokens > mdl_config(r->model)->max_positions) {
		lt_fail(&err, LT_ETOOLONG, "%u tokens; the model has positions for %u", tokens,
			mdl_config(r->model)->max_positions);
		return ctl_fail(r->command, &err);
	}
	r->opts.cache_blocks = blocks > UINT32_MAX ? UINT32_MAX : (uint32_t)blocks;
	r->opts.max_rows = rows > ENG_SPAN_TOKENS ? rows : ENG_SPAN_TOKENS;
	r->opts.max_outputs = outputs;
	if (eng_open(r->model, &r->opts, &r->engine, &err) != 0)
		return ctl_fail(r->command, &err);
	return CTL_OK;
}

void ctl_run_close(struct ctl_run *r)
{
	eng_close(r->engine);
	mdl_close(r->model);
	r->engine = NULL;
	r->model = NULL;
}

int ctl_read_ids(const char *command, const char *path, int32_t **ids, uint32_t *n)
{
	struct lt_err err = {0};
	unsigned char *data;
	size_t size;

	if (lt_read_file(path, CTL_MAX_IDS * sizeof(int32_t), (char **)&data, &size, &err) != 0)
		return ctl_fail(command, &err);
	*n = (uint32_t)(size / 4);
	*ids = size % 4 == 0 && *n > 0 ? lt_alloc(*n, sizeof(**ids)) : NULL;
	if (!*ids) {
		free(data);
		lt_fail(&err, LT_EINVAL, "%s: %zu bytes are not one or more int32 ids", path, size);
		return ctl_fail(command, &err);
	}
	for (uint32_t i = 0; i < *n; i++) {
		const unsigned char *b = data + (size_t)i * 4;

		(*ids)[i] = (int32_t)((uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 |
				      (uint32_t)b[3] << 24);
	}
	free(data);
	return CTL_OK;
}

uint32_t ctl_next_span(const struct ctl_run *r, uint32_t pos, uint32_t n, enum eng_form *form)
{
	uint32_t most = n - pos, take = 1;

	if (r->chunk > 0 && r->chunk < most)
		most = r->chunk;
	*form = eng_form_of(r->engine, pos, n);
	while (take < most && eng_form_of(r->engine, pos + take, n) == *form)
		take++;
	return take;
}

uint32_t *ctl_block_table(uint32_t first, uint32_t tokens)
{
	uint32_t n = tokens / ENG_BLOCK_TOKENS + 1;
	uint32_t *blocks = lt_alloc(n, sizeof(*blocks));

	if (!blocks) {
		fputs("latentctl: out of memory\n", stderr);
		return NULL;
	}
	for (uint32_t i = 0; i < n; i++)
		blocks[i] = first + i;
	return blocks;
}
