/*
 * usage: open-checkpoint [--print] CHECKPOINT...
 *
 * Opens each checkpoint and prints one line for it: "ok" or the error, then a tab and the most heap
 * memory (bytes) that was in use at once during that, or -1 under a sanitizer. With --print, "ok" is
 * followed by what was understood, one "key value" a line, and a checksum over every matrix brought
 * to float32, so that two spellings of one model can be compared. Exit status 1 if any failed.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/checkpoint.h"
#include "test/fault/heap-peak.h"

static void print_config(const struct mdl *m)
{
	const struct mdl_config *c = mdl_config(m);

	printf("family %s\nvocab %u\nhidden %u\nlayers %u\nheads %u\n", c->family, c->vocab,
	       c->hidden, c->layers, c->heads);
	printf("head %u %u %u\nranks %u %u\nff %u %u\n", c->qk_nope, c->qk_rope, c->v_head,
	       c->q_rank, c->kv_rank, c->dense_ff, c->expert_ff);
	printf("experts %u %u %u\nfirst_dense %u\nmoe_freq %u\n", c->experts, c->experts_used,
	       c->shared_experts, c->first_dense, c->moe_freq);
	printf("router %d\ngroups %u %u\nnorm_topk %d\nrouted_scale %.9g\n", (int)c->router,
	       c->groups, c->groups_used, c->norm_topk, c->routed_scale);
	printf("eps %.9g %.9g\nrope_theta %.9g\nyarn_factor %.9g\n", c->rms_eps, c->lora_eps,
	       c->rope_theta, c->yarn_factor);
	if (c->yarn_factor > 1)
		printf("yarn %u %.9g %.9g %.9g %.9g\n", c->yarn_original, c->yarn_beta_fast,
		       c->yarn_beta_slow, c->yarn_mscale, c->yarn_mscale_all_dim);
	printf("max_positions %u\nnextn_layers %u\nbos %d\npad %d\neos", c->max_positions,
	       c->nextn_layers, c->bos, c->pad);
	for (uint32_t i = 0; i < c->n_eos; i++)
		printf(" %d", c->eos[i]);
	printf("\n");
}

static void print_summary(const struct mdl *m)
{
	struct mdl_summary s;

	mdl_summarise(m, &s);
	printf("format %s\nname %s\ntemplate %s\n", mdl_format(m), mdl_name(m),
	       mdl_chat_template(m) ? mdl_chat_template(m) : "(none)");
	printf("tensors %" PRIu64 "\nnextn_tensors %" PRIu64 "\nfile_bytes %" PRIu64 "\n",
	       s.tensors, s.nextn_tensors, s.file_bytes);
	printf("params %" PRIu64 " %" PRIu64 "\n", s.params, s.active_params);
	for (int i = 0; i < MDL_TYPE_COUNT; i++) {
		if (s.type_tensors[i])
			printf("type %s %" PRIu64 " %" PRIu64 "\n", mdl_type_name((enum mdl_type)i),
			       s.type_tensors[i], s.type_bytes[i]);
	}
}

static uint64_t hash_matrix(const struct mdl_weight *w, uint64_t h)
{
	float *row = malloc((size_t)w->cols * sizeof(*row));
	uint32_t u;

	if (!row)
		abort();
	for (uint32_t r = 0; r < w->rows; r++) {
		mdl_weight_rows(w, r, 1, row);
		for (uint32_t i = 0; i < w->cols; i++) {
			memcpy(&u, &row[i], 4);
			h = (h ^ u) * 0x100000001b3u;
		}
	}
	free(row);
	return h;
}

/* One checksum for each role, over layers and experts. */
static void print_weights(const struct mdl *m)
{
	const struct mdl_config *c = mdl_config(m);
	struct mdl_weight w;

	for (int role = 0; role < MDL_W_COUNT; role++) {
		uint64_t h = 0xcbf29ce484222325u, n = 0;
		bool global = role <= MDL_W_HEAD, each = role >= MDL_W_EXPERT_GATE;
		for (uint32_t l = 0; l < (global ? 1 : c->layers); l++) {
			for (uint32_t e = 0; e < (each ? c->experts : 1); e++) {
				if (!mdl_weight_get(m, (enum mdl_role)role, l, e, &w))
					continue;
				h = hash_matrix(&w, h);
				n++;
			}
		}
		printf("weights %d %" PRIu64 " %016" PRIx64 "\n", role, n, h);
	}
}

int main(int argc, char **argv)
{
	bool print = argc > 1 && strcmp(argv[1], "--print") == 0;
	int bad = 0;

	for (int i = print ? 2 : 1; i < argc; i++) {
		struct lt_err err = {0};
		struct mdl *m;
		int rc;
		heap_peak_reset();
		rc = mdl_open(argv[i], &m, &err);
		printf("%s\t%ld\n", rc < 0 ? err.text : "ok",
		       heap_peak_works ? (long)heap_peak() : -1L);
		fflush(stdout);
		if (rc < 0) {
			bad = 1;
			continue;
		}
		if (print) {
			print_config(m);
			print_summary(m);
			print_weights(m);
		}
		mdl_close(m);
	}
	return bad;
}
