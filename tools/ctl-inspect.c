/*
 * latentctl inspect: what a checkpoint holds and what it costs to run.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "tools/ctl-run.h"
#include "tools/ctl.h"

static void usage(FILE *out)
{
	fputs("usage: latentctl inspect MODEL [--json]\n\n"
	      "Family, sizes, tensor types, bytes of cache a token, active parameters.\n\n"
	      "  --json              one JSON object\n"
	      "  -h, --help\n",
	      out);
}

static const char *router_name(const struct mdl_config *c)
{
	switch (c->router) {
	case MDL_ROUTER_SOFTMAX_GREEDY: return "softmax";
	case MDL_ROUTER_SOFTMAX_GROUPS: return "softmax, by groups";
	case MDL_ROUTER_SIGMOID_BIASED: return "sigmoid with bias";
	}
	return "unknown";
}

static void print_text(const struct mdl *m, const struct mdl_summary *s)
{
	const struct mdl_config *c = mdl_config(m);

	printf("name         %s\n", mdl_name(m));
	printf("path         %s\n", mdl_path(m));
	printf("format       %s, %.1f MB, %" PRIu64 " tensors\n", mdl_format(m),
	       (double)s->file_bytes / 1e6, s->tensors);
	printf("family       %s\n", c->family);
	printf("parameters   %.4g M, %.4g M active for a token\n", (double)s->params / 1e6,
	       (double)s->active_params / 1e6);
	printf("layers       %u, %u of them with experts; hidden %u; vocabulary %u\n", c->layers,
	       mdl_moe_layers(c), c->hidden, c->vocab);
	printf("attention    %u heads of %u + %u (keys) and %u (values); latent %u", c->heads,
	       c->qk_nope, c->qk_rope, c->v_head, c->kv_rank);
	if (c->q_rank > 0)
		printf(", queries %u", c->q_rank);
	printf("\nfeed-forward %u dense", c->dense_ff);
	if (mdl_moe_layers(c) > 0)
		printf("; experts %u of %u (width %u) and %u shared; router: %s", c->experts_used,
		       c->experts, c->expert_ff, c->shared_experts, router_name(c));
	if (c->groups > 1)
		printf(", %u of %u groups", c->groups_used, c->groups);
	printf("\npositions    %u; theta %g", c->max_positions, c->rope_theta);
	if (c->yarn_factor != 1)
		printf("; YaRN factor %g over %u", c->yarn_factor, c->yarn_original);
	printf("\ncache        %" PRIu64 " bytes a token (bf16), %" PRIu64 " (f32), %" PRIu64
	       " (q8)\n",
	       eng_token_bytes(m, ENG_CACHE_BF16), eng_token_bytes(m, ENG_CACHE_F32),
	       eng_token_bytes(m, ENG_CACHE_Q8));
	if (s->nextn_tensors > 0)
		printf("extra-token  %u modules, %" PRIu64 " tensors, unread\n", c->nextn_layers,
		       s->nextn_tensors);
	printf("end ids     ");
	for (uint32_t i = 0; i < c->n_eos; i++)
		printf(" %d", c->eos[i]);
	printf("\nchat         %s\n", mdl_chat_template(m) ? "has a template" : "no template");
	for (int t = 0; t < MDL_TYPE_COUNT; t++) {
		if (s->type_tensors[t] > 0)
			printf("%-12s %" PRIu64 " matrices, %.1f MB\n", mdl_type_name(t),
			       s->type_tensors[t], (double)s->type_bytes[t] / 1e6);
	}
}

static void add_string(struct lt_buf *b, const char *key, const char *value)
{
	lt_buf_addf(b, "\"%s\":\"", key);
	lt_buf_add_json(b, value, strlen(value));
	lt_buf_adds(b, "\",");
}

static void add_number(struct lt_buf *b, const char *key, uint64_t value)
{
	lt_buf_addf(b, "\"%s\":%" PRIu64 ",", key, value);
}

static void add_config(struct lt_buf *b, const struct mdl_config *c)
{
	add_number(b, "vocab", c->vocab);
	add_number(b, "hidden", c->hidden);
	add_number(b, "layers", c->layers);
	add_number(b, "moe_layers", mdl_moe_layers(c));
	add_number(b, "heads", c->heads);
	add_number(b, "qk_nope", c->qk_nope);
	add_number(b, "qk_rope", c->qk_rope);
	add_number(b, "v_head", c->v_head);
	add_number(b, "q_rank", c->q_rank);
	add_number(b, "kv_rank", c->kv_rank);
	add_number(b, "dense_ff", c->dense_ff);
	add_number(b, "expert_ff", c->expert_ff);
	add_number(b, "experts", c->experts);
	add_number(b, "experts_used", c->experts_used);
	add_number(b, "shared_experts", c->shared_experts);
	add_number(b, "groups", c->groups);
	add_number(b, "groups_used", c->groups_used);
	add_string(b, "router", router_name(c));
	add_number(b, "max_positions", c->max_positions);
	lt_buf_addf(b, "\"rope_theta\":%.17g,\"yarn_factor\":%.17g,", c->rope_theta,
		    c->yarn_factor);
	add_number(b, "nextn_layers", c->nextn_layers);
	lt_buf_adds(b, "\"eos\":[");
	for (uint32_t i = 0; i < c->n_eos; i++)
		lt_buf_addf(b, "%s%d", i > 0 ? "," : "", c->eos[i]);
	lt_buf_adds(b, "],");
}

static int print_json(const struct mdl *m, const struct mdl_summary *s)
{
	struct lt_buf b = LT_BUF_INIT;
	const char *comma = "";
	int rc = CTL_OK;

	lt_buf_addc(&b, '{');
	add_string(&b, "name", mdl_name(m));
	add_string(&b, "path", mdl_path(m));
	add_string(&b, "format", mdl_format(m));
	add_string(&b, "family", mdl_config(m)->family);
	add_number(&b, "file_bytes", s->file_bytes);
	add_number(&b, "tensors", s->tensors);
	add_number(&b, "params", s->params);
	add_number(&b, "active_params", s->active_params);
	add_config(&b, mdl_config(m));
	add_number(&b, "nextn_tensors", s->nextn_tensors);
	add_number(&b, "cache_bytes_per_token_bf16", eng_token_bytes(m, ENG_CACHE_BF16));
	add_number(&b, "cache_bytes_per_token_f32", eng_token_bytes(m, ENG_CACHE_F32));
	add_number(&b, "cache_bytes_per_token_q8", eng_token_bytes(m, ENG_CACHE_Q8));
	lt_buf_addf(&b, "\"chat_template\":%s,\"types\":{",
		    mdl_chat_template(m) ? "true" : "false");
	for (int t = 0; t < MDL_TYPE_COUNT; t++) {
		if (s->type_tensors[t] == 0)
			continue;
		lt_buf_addf(&b, "%s\"%s\":{\"matrices\":%" PRIu64 ",\"bytes\":%" PRIu64 "}", comma,
			    mdl_type_name(t), s->type_tensors[t], s->type_bytes[t]);
		comma = ",";
	}
	lt_buf_adds(&b, "}}\n");
	if (b.failed) {
		fputs("latentctl inspect: out of memory\n", stderr);
		rc = CTL_FAIL;
	} else {
		fwrite(b.data, 1, b.len, stdout);
	}
	lt_buf_fini(&b);
	return rc;
}

int ctl_inspect(int argc, char **argv)
{
	static const struct option options[] = {{"json", no_argument, NULL, 'j'},
						{"help", no_argument, NULL, 'h'},
						{NULL, 0, NULL, 0}};
	struct lt_err err = {0};
	struct mdl_summary summary;
	struct mdl *m;
	bool json = false;
	int opt, rc = CTL_OK;

	while ((opt = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (opt) {
		case 'h': usage(stdout); return CTL_OK;
		case 'j': json = true; break;
		default: usage(stderr); return CTL_USAGE;
		}
	}
	if (optind + 1 != argc) {
		usage(stderr);
		return CTL_USAGE;
	}
	if (mdl_open(argv[optind], &m, &err) != 0)
		return ctl_fail(argv[0], &err);
	mdl_summarise(m, &summary);
	if (json)
		rc = print_json(m, &summary);
	else
		print_text(m, &summary);
	mdl_close(m);
	return rc;
}
