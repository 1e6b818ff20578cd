/*
 * From a body's bytes to token ids. Runs on a worker thread: it writes to the call alone, which the
 * loop leaves untouched meanwhile, and reads from the model, which nobody changes.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "server/call.h"
#include "server/srv.h"

/* True if the rendered prompt ends by opening a reasoning block. */
static bool ends_in_think(const char *text, size_t n)
{
	static const char tag[] = "<think>";

	while (n && strchr(" \t\r\n", text[n - 1]))
		n--;
	return n >= sizeof(tag) - 1 &&
	       memcmp(text + n - (sizeof(tag) - 1), tag, sizeof(tag) - 1) == 0;
}

/* A prompt's length must leave room for one token. */
static int check_length(struct srv_call *call, const struct srv_model *m, size_t n)
{
	const char *field = call->endpoint == API_CHAT ? "messages" : "prompt";

	if (n == 0)
		return api_fault_set(&call->fault, LT_EINVAL, NULL, field,
				     "the prompt is empty: there is nothing to continue");
	if (n >= m->shown.max_context)
		return api_fault_set(&call->fault, LT_ETOOLONG, NULL, field,
				     "the prompt has %zu tokens; the longest prompt and answer "
				     "together is %u, so at most %u are allowed",
				     n, m->shown.max_context, m->shown.max_context - 1);
	return 0;
}

/* Exactly one begin-of-sequence token: templates write their own, plain text has none. */
static int put_bos(const struct srv_model *m, struct mdl_ids *ids)
{
	int32_t bos = mdl_tok_bos(m->tok);

	if (bos < 0 || !mdl_tok_add_bos(m->tok))
		return 0;
	if (ids->n && ids->data[0] == bos)
		return 0;
	if (mdl_ids_add(ids, bos) < 0)
		return LT_ENOMEM;
	memmove(ids->data + 1, ids->data, (ids->n - 1) * sizeof(*ids->data));
	ids->data[0] = bos;
	return 0;
}

static int no_memory(struct srv_call *call)
{
	return api_fault_set(&call->fault, LT_ENOMEM, NULL, NULL, "%s", lt_error_text(LT_ENOMEM));
}

/* Takes ids over as prompt i. */
static int take_ids(struct srv_call *call, const struct srv_model *m, size_t i, struct mdl_ids *ids)
{
	if (check_length(call, m, ids->n) < 0) {
		mdl_ids_fini(ids);
		return call->fault.code;
	}
	call->prompts[i].ids = ids->data;
	call->prompts[i].n = ids->n;
	return 0;
}

static int prepare_chat(struct srv_call *call, const struct srv_model *m)
{
	struct lt_buf json = LT_BUF_INIT;
	struct mdl_rendered text = {0};
	struct mdl_ids ids = {0};
	struct lt_err err = {0};
	int rc;

	if (!m->tmpl)
		return api_fault_set(&call->fault, LT_EUNSUPPORTED, "no_chat_template", NULL,
				     "the model %s has no chat template; /v1/completions works",
				     m->name);
	rc = api_request_template_json(call->request, &m->tmpl_opts, &json);
	if (rc < 0) {
		lt_buf_fini(&json);
		return no_memory(call);
	}
	rc = mdl_template_render(m->tmpl, json.data, json.len, lt_clock_wall_s(), NULL, &text,
				 &err);
	lt_buf_fini(&json);
	if (rc < 0)
		return api_fault_from(&call->fault, rc, &err, "messages");
	call->reasoning_open = m->reasoning && ends_in_think(text.text, text.n);
	rc = mdl_tok_encode_parts(m->tok, text.text, text.n, text.parts, text.n_parts, &ids, &err);
	mdl_rendered_fini(&text);
	if (rc == 0)
		rc = put_bos(m, &ids);
	if (rc < 0) {
		mdl_ids_fini(&ids);
		return err.code ? api_fault_from(&call->fault, rc, &err, "messages")
				: no_memory(call);
	}
	return take_ids(call, m, 0, &ids);
}

static int prepare_text(struct srv_call *call, const struct srv_model *m, size_t i,
			const struct api_str *text)
{
	struct mdl_ids ids = {0};
	struct lt_err err = {0};
	int rc = mdl_tok_encode(m->tok, text->s, text->n, false, &ids, &err);

	if (rc == 0)
		rc = put_bos(m, &ids);
	if (rc < 0) {
		mdl_ids_fini(&ids);
		return err.code ? api_fault_from(&call->fault, rc, &err, "prompt")
				: no_memory(call);
	}
	if (call->request->echo)
		call->prompts[i].echo = *text;
	return take_ids(call, m, i, &ids);
}

/* A prompt of ids goes to the model as it is; echo needs its text, which the call then owns. */
static int prepare_ids(struct srv_call *call, const struct srv_model *m, size_t i,
		       const struct api_prompt *p)
{
	struct mdl_ids ids = {lt_alloc(p->n_ids, sizeof(*ids.data)), p->n_ids, p->n_ids};
	struct lt_buf text = LT_BUF_INIT;

	if (!ids.data)
		return no_memory(call);
	memcpy(ids.data, p->ids, p->n_ids * sizeof(*ids.data));
	if (call->request->echo) {
		/* Ids that the tokenizer doesn't know (padding of the vocabulary) have no text. */
		for (size_t t = 0; t < p->n_ids; t++)
			mdl_tok_decode(m->tok, &p->ids[t], 1, false, &text, NULL);
		call->prompts[i].echo.n = text.len;
		call->prompts[i].echo.s = lt_buf_take(&text, NULL);
		call->prompts[i].owns_echo = true;
		lt_buf_fini(&text);
	}
	return take_ids(call, m, i, &ids);
}

static int prepare_completions(struct srv_call *call, const struct srv_model *m)
{
	int rc = 0;

	for (size_t i = 0; i < call->n_prompts && rc == 0; i++) {
		const struct api_prompt *p = &call->request->prompts[i];
		rc = p->ids ? prepare_ids(call, m, i, p) : prepare_text(call, m, i, &p->text);
	}
	return rc;
}

void srv_prepare(struct srv_call *call, const struct srv_model *m)
{
	const char *body = call->body.len ? call->body.data : "";
	bool chat = call->endpoint == API_CHAT;
	int rc;

	rc = chat ? api_chat_parse(body, call->body.len, &m->limits, &call->request, &call->fault)
		  : api_completions_parse(body, call->body.len, &m->limits, &call->request,
					  &call->fault);
	if (rc < 0)
		return;
	if (call->request->logprobs && !eng_info(m->eng)->has_logits) {
		api_fault_set(&call->fault, LT_EUNSUPPORTED, NULL, "logprobs",
			      "the engine \"%s\" has no probabilities", eng_info(m->eng)->backend);
		return;
	}
	call->n_prompts = chat ? 1 : call->request->n_prompts;
	call->prompts = lt_alloc(call->n_prompts, sizeof(*call->prompts));
	if (!call->prompts) {
		call->n_prompts = 0;
		no_memory(call);
		return;
	}
	if (chat)
		prepare_chat(call, m);
	else
		prepare_completions(call, m);
}
