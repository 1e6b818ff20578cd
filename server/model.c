/*
 * Opening the model. Runs on a worker thread, so nothing here touches the loop.
 */
#include "server/model.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"

#define TEMPLATE_LIMIT (1u << 20)

static char *dup_token(const struct mdl_tok *t, int32_t id)
{
	size_t n = 0;
	const char *s = id >= 0 ? mdl_tok_bytes(t, id, &n) : NULL;

	return s ? lt_strndup(s, n) : NULL;
}

static bool has_token(const struct mdl_tok *t, const char *text)
{
	return mdl_tok_id(t, text, strlen(text)) >= 0;
}

static int open_tokenizer(struct srv_model *m, const struct srv_params *p, struct lt_err *err)
{
	const char *own = mdl_path(m->mdl);
	const char *path = *p->model_tokenizer ? p->model_tokenizer : own;
	int rc = mdl_tok_open(path, &m->tok, err);

	if (rc == LT_ENOENT && path == own)
		return lt_fail(
			err, rc,
			"%s has no tokenizer (tokenizer.json or a GGUF vocabulary); name one "
			"with --tokenizer",
			path);
	if (rc < 0)
		return rc;
	m->bos_text = dup_token(m->tok, mdl_tok_bos(m->tok));
	m->eos_text = dup_token(m->tok, mdl_tok_eos(m->tok));
	m->reasoning = has_token(m->tok, "<think>") && has_token(m->tok, "</think>");
	m->think_is_special =
		m->reasoning && mdl_tok_is_special(m->tok, mdl_tok_id(m->tok, "<think>", 7));
	if (has_token(m->tok, "<\xef\xbd\x9ctool\xe2\x96\x81"
			      "calls\xe2\x96\x81"
			      "begin\xef\xbd\x9c>"))
		m->tools = API_TOOLS_DEEPSEEK;
	else if (has_token(m->tok, "<|tool_calls_section_begin|>"))
		m->tools = API_TOOLS_KIMI;
	return 0;
}

/* True for a template that joins a call's arguments to strings with +, which wants them as text. */
static bool joins_arguments(const char *source)
{
	for (const char *at = source; (at = strstr(at, "arguments")) != NULL;) {
		at += strlen("arguments");
		if (at[strspn(at, "'\"]) \t\n")] == '+')
			return true;
	}
	return false;
}

static int open_template(struct srv_model *m, const struct srv_params *p, struct lt_err *err)
{
	const char *source = mdl_chat_template(m->mdl);
	char *file = NULL;
	size_t n = 0;
	int rc = 0;

	if (*p->model_chat_template) {
		rc = lt_read_file(p->model_chat_template, TEMPLATE_LIMIT, &file, &n, err);
		if (rc < 0)
			return lt_fail_in(err, rc, "chat template");
		source = file;
	}
	if (!source) {
		lt_log(LT_LOG_WARN,
		       "the model has no chat template: /v1/chat/completions will refuse; name one "
		       "with --chat-template-file");
		return 0;
	}
	rc = mdl_template_open(source, strlen(source), &m->tmpl, err);
	if (rc < 0)
		lt_fail_in(err, rc, "chat template");
	m->tmpl_opts.bos = m->bos_text;
	m->tmpl_opts.eos = m->eos_text;
	m->tmpl_opts.developer_role = strstr(source, "developer") != NULL;
	m->tmpl_opts.arguments_as_text = joins_arguments(source);
	free(file);
	return rc;
}

/* End-of-sequence ids: those that the model's files name, and the tokenizer's. */
static void collect_stop_ids(struct srv_model *m)
{
	const struct mdl_config *cfg = mdl_config(m->mdl);
	int32_t own = mdl_tok_eos(m->tok);
	bool seen = own < 0;

	for (uint32_t i = 0; i < cfg->n_eos; i++) {
		m->stop_ids[m->n_stop_ids++] = cfg->eos[i];
		seen = seen || cfg->eos[i] == own;
	}
	if (!seen)
		m->stop_ids[m->n_stop_ids++] = own;
}

static uint32_t cache_blocks(const struct srv_model *m, const struct srv_params *p,
			     enum eng_cache_type type)
{
	uint64_t block = eng_token_bytes(m->mdl, type) * ENG_BLOCK_TOKENS, n;

	if (p->engine_cache_blocks)
		return (uint32_t)p->engine_cache_blocks;
	n = block ? (uint64_t)p->engine_cache_size / block : 0;
	if (n > INT32_MAX)
		n = INT32_MAX;
	return n ? (uint32_t)n : 1;
}

/* In the order of the parameter's choices. */
static const char *const isa_names[] = {"auto", "plain", "avx2", "avx512", "avx512bf16"};

static int open_engine(struct srv_model *m, const struct srv_params *p, struct lt_err *err)
{
	bool automatic = strcmp(p->engine_backend, "auto") == 0;
	struct eng_opts o = {
		.backend = automatic ? NULL : p->engine_backend,
		.isa = isa_names[p->engine_isa],
		/* The choices stand in the order of the enums. */
		.cache_type = (enum eng_cache_type)p->engine_cache_type,
		.attention = (enum eng_attention)p->engine_attention,
		.max_rows = (uint32_t)p->scheduler_step_tokens,
		.max_outputs = (uint32_t)p->scheduler_max_running,
		.threads = (uint32_t)p->engine_threads,
		.null_rate = p->engine_null_rate,
		.place = {.numa = (enum eng_numa)p->engine_numa,
			  .hugepages = (enum eng_hugepages)p->engine_hugepages,
			  .pin = p->engine_pin},
	};

	o.cache_blocks = cache_blocks(m, p, o.cache_type);
	return eng_open(m->mdl, &o, &m->eng, err);
}

static int open_sched(struct srv_model *m, const struct srv_params *p, void (*wake)(void *),
		      void *wake_arg, struct lt_err *err)
{
	const struct eng_info *info = eng_info(m->eng);
	uint64_t room = (uint64_t)info->cache_blocks * ENG_BLOCK_TOKENS;
	uint32_t context = info->max_positions;
	struct sched_opts o = {
		.engine = m->eng,
		.step_tokens = (uint32_t)p->scheduler_step_tokens,
		.max_running = (uint32_t)p->scheduler_max_running,
		.max_queued = (uint32_t)p->scheduler_max_queued,
		.prefix_cache = p->scheduler_prefix_cache,
		.wake = wake,
		.wake_arg = wake_arg,
	};

	if (p->scheduler_max_context > context)
		return lt_fail(err, LT_EINVAL,
			       "scheduler.max-context is %lld; the model was made for %u positions",
			       (long long)p->scheduler_max_context, context);
	if (p->scheduler_max_context)
		context = (uint32_t)p->scheduler_max_context;
	if (context > room) {
		lt_log(LT_LOG_WARN,
		       "the cache holds %llu tokens, so requests are limited to that instead of %u "
		       "(engine.cache-size)",
		       (unsigned long long)room, context);
		context = (uint32_t)room;
	}
	o.max_context = context;
	m->limits = (struct api_limits){
		.json_depth = (uint32_t)p->server_max_json_depth,
		.choices = (uint32_t)p->server_max_choices,
		.prompts = (uint32_t)p->server_max_choices,
		.context = context,
		.vocab = info->vocab,
		.models = m->names,
		.n_models = 1,
	};
	m->shown = (struct api_model){m->name, lt_clock_wall_s(), context};
	return sched_open(&o, &m->sched, err);
}

static void describe(const struct srv_model *m)
{
	const struct mdl_config *cfg = mdl_config(m->mdl);
	const struct eng_info *info = eng_info(m->eng);

	lt_log(LT_LOG_INFO,
	       "model %s: %s, %u layers, %u experts (%u used), %u tokens of context; engine %s; "
	       "cache %u blocks, %llu bytes a token, %.1f MB",
	       m->name, cfg->family, cfg->layers, cfg->experts, cfg->experts_used,
	       m->shown.max_context, info->backend, info->cache_blocks,
	       (unsigned long long)info->token_bytes, (double)info->cache_bytes / 1e6);
}

int srv_model_open(const struct srv_params *p, void (*wake)(void *), void *wake_arg,
		   struct srv_model **out, struct lt_err *err)
{
	bool no_weights = strcmp(p->engine_backend, "null") == 0;
	struct srv_model *m = lt_alloc(1, sizeof(*m));
	const char *name;
	int rc;

	*out = NULL;
	if (!m)
		return lt_fail(err, LT_ENOMEM, "out of memory");
	rc = no_weights ? mdl_open_meta(p->model_path, &m->mdl, err)
			: mdl_open(p->model_path, &m->mdl, err);
	if (rc == 0) {
		name = *p->model_name ? p->model_name : mdl_name(m->mdl);
		m->name = lt_strndup(name, strlen(name));
		m->names[0] = m->name;
		if (!m->name)
			rc = lt_fail(err, LT_ENOMEM, "out of memory");
	}
	if (rc == 0)
		rc = open_tokenizer(m, p, err);
	if (rc == 0)
		rc = open_template(m, p, err);
	if (rc == 0) {
		collect_stop_ids(m);
		rc = open_engine(m, p, err);
	}
	if (rc == 0)
		rc = open_sched(m, p, wake, wake_arg, err);
	if (rc < 0) {
		srv_model_close(m);
		return rc;
	}
	describe(m);
	*out = m;
	return 0;
}

void srv_model_close(struct srv_model *m)
{
	if (!m)
		return;
	if (m->sched)
		sched_close(m->sched);
	if (m->eng)
		eng_close(m->eng);
	mdl_template_close(m->tmpl);
	mdl_tok_close(m->tok);
	mdl_close(m->mdl);
	free(m->bos_text);
	free(m->eos_text);
	free(m->name);
	free(m);
}
