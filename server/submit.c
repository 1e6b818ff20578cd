/*
 * From a prepared request to jobs of the scheduler. Loop thread only.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/map.h"
#include "base/mem.h"
#include "server/call.h"
#include "server/srv.h"

#define COMPLETIONS_MAX_TOKENS 16 /* OpenAI's default there */

/* An answer ends where the context does: a larger max_tokens is no fault. */
static uint32_t max_tokens(const struct srv_call *call, const struct srv_model *m, size_t n_prompt)
{
	uint32_t room = m->shown.max_context - (uint32_t)n_prompt, want = room;

	if (call->request->has_max_tokens)
		want = call->request->max_tokens;
	else if (call->endpoint == API_COMPLETIONS)
		want = COMPLETIONS_MAX_TOKENS;
	return want < room ? want : room;
}

/* Copies the request's biases and the model's stop ids: the scheduler takes them over. */
static int fill_lists(const struct srv_call *call, const struct srv_model *m,
		      struct eng_sampling *how)
{
	const struct api_request *r = call->request;
	struct eng_bias *bias = lt_alloc(r->n_logit_bias, sizeof(*bias));
	int32_t *stops = lt_alloc(m->n_stop_ids, sizeof(*stops));

	if (!bias || !stops) {
		free(bias);
		free(stops);
		return LT_ENOMEM;
	}
	for (size_t i = 0; i < r->n_logit_bias; i++)
		bias[i] = (struct eng_bias){r->logit_bias[i].token, r->logit_bias[i].add};
	memcpy(stops, m->stop_ids, m->n_stop_ids * sizeof(*stops));
	how->bias = bias;
	how->n_bias = r->n_logit_bias;
	how->stop_ids = stops;
	how->n_stop_ids = m->n_stop_ids;
	return 0;
}

static struct eng_sampling sampling_of(const struct srv_call *call)
{
	const struct api_request *r = call->request;

	return (struct eng_sampling){
		.temperature = r->temperature,
		.top_k = r->top_k,
		.top_p = r->top_p,
		.min_p = r->min_p,
		.presence_penalty = r->presence_penalty,
		.frequency_penalty = r->frequency_penalty,
		.repetition_penalty = r->repetition_penalty,
		.seed = r->has_seed ? r->seed : call->seed,
		.logprobs = r->logprobs,
		.top_logprobs = r->top_logprobs,
		.min_tokens = r->min_tokens,
		.ignore_eos = r->ignore_eos,
	};
}

/* Priority above the usual is the operator's to give. */
static int32_t priority_of(const struct srv_call *call)
{
	int32_t p = call->request->priority;

	return p > 0 && !call->srv->params.scheduler_client_priority ? 0 : p;
}

static int submit_prompt(struct srv_call *call, size_t i, struct lt_err *err)
{
	struct srv *s = call->srv;
	struct srv_model *m = s->model;
	const struct api_request *r = call->request;
	struct srv_job *job = lt_alloc(1, sizeof(*job));
	struct sched_request req = {
		.prompt = call->prompts[i].ids,
		.n_prompt = (uint32_t)call->prompts[i].n,
		.n = r->n,
		.max_tokens = max_tokens(call, m, call->prompts[i].n),
		.how = sampling_of(call),
		.priority = priority_of(call),
		.tenant = call->tenant,
		.no_prefix_cache = !r->cache_prompt,
		.deadline_ns = call->deadline_ns,
	};
	int rc;

	if (!job || fill_lists(call, m, &req.how) < 0) {
		free(job);
		return lt_fail(err, LT_ENOMEM, "out of memory");
	}
	srv_keys_salt(call->tenant, req.salt);
	rc = sched_submit(m->sched, &req, &job->id, err);
	if (rc == 0)
		call->prompts[i].ids = NULL;
	if (rc == 0 && lt_map_put(s->jobs, &job->id, sizeof(job->id), (uintptr_t)job) < 0) {
		sched_cancel(m->sched, job->id, -1);
		free(job);
		return lt_fail(err, LT_ENOMEM, "out of memory");
	}
	if (rc < 0) {
		free((void *)(uintptr_t)req.how.bias);
		free((void *)(uintptr_t)req.how.stop_ids);
		free(job);
		return rc;
	}
	job->call = call;
	job->first = (uint32_t)i * r->n;
	job->open = r->n;
	call->jobs[i] = job;
	call->usage.prompt += call->prompts[i].n;
	for (uint32_t c = 0; c < r->n; c++) {
		call->choices[job->first + c].id = job->id;
		call->choices[job->first + c].index = c;
	}
	return 0;
}

static int open_response(struct srv_call *call)
{
	const struct srv_model *m = call->srv->model;
	const struct api_request *r = call->request;
	struct api_response_opts o = {
		.request = r,
		.id = call->id,
		.created = call->created,
		.reasoning = m->reasoning && call->endpoint == API_CHAT,
		.reasoning_open = call->reasoning_open,
		.tools = m->tools,
		.limit = (size_t)call->srv->params.server_max_answer,
	};
	bool tools = r->tools && m->tools != API_TOOLS_NONE;

	call->show_special = tools || (o.reasoning && m->think_is_special);
	call->each_token = tools || r->n_stops || r->logprobs;
	return api_response_open(&o, &call->response);
}

/* The role chunks and echoes of a stream. */
static int begin_response(struct srv_call *call)
{
	struct api_str *echo = NULL;
	int rc;

	if (call->request->echo) {
		echo = lt_alloc(call->n_prompts, sizeof(*echo));
		if (!echo)
			return LT_ENOMEM;
		for (size_t i = 0; i < call->n_prompts; i++)
			echo[i] = call->prompts[i].echo;
	}
	rc = api_response_begin(call->response, echo, &call->out);
	free(echo);
	return rc;
}

int srv_call_submit(struct srv_call *call)
{
	const struct srv *s = call->srv;
	uint32_t asked = call->request->timeout_ms;
	struct lt_err err = {0};
	int rc = 0;

	if (asked) {
		uint64_t deadline = call->start_ns + asked * LT_NS_PER_MS;
		if (!call->deadline_ns || deadline < call->deadline_ns)
			call->deadline_ns = deadline;
	}
	call->n_choices = call->unfinished = (uint32_t)call->n_prompts * call->request->n;
	call->choices = lt_alloc(call->n_choices, sizeof(*call->choices));
	call->jobs = lt_alloc(call->n_prompts, sizeof(*call->jobs));
	if (!call->choices)
		call->n_choices = 0;
	if (!call->choices || !call->jobs || open_response(call) < 0 || begin_response(call) < 0)
		rc = lt_fail(&err, LT_ENOMEM, "out of memory");
	for (uint32_t c = 0; c < call->n_choices; c++)
		mdl_detok_init(&call->choices[c].detok, s->model->tok, call->show_special);
	for (size_t i = 0; i < call->n_prompts && rc == 0; i++)
		rc = submit_prompt(call, i, &err);
	if (rc < 0) {
		srv_call_cancel_jobs(call);
		api_fault_from(&call->fault, rc, &err, NULL);
	}
	return rc;
}
