/*
 * The pipeline of one choice. An answer that nothing looks into (no stop strings, no split) passes
 * without being copied twice.
 */
#include "api/output.h"

#include <string.h>

#include "base/mem.h"

void api_output_init(struct api_output *o, const struct api_output_opts *opts)
{
	*o = (struct api_output){.with_logprobs = opts->logprobs};
	api_stopper_init(&o->stopper, opts->stops);
	api_split_init(&o->split, opts->split && opts->reasoning, opts->reasoning_open,
		       opts->split ? opts->tools : API_TOOLS_NONE, opts->single_call,
		       opts->call_prefix);
	api_logprobs_init(&o->logprobs, opts->form, opts->logprobs_limit, opts->chars_before);
}

void api_output_fini(struct api_output *o)
{
	api_split_fini(&o->split);
	api_logprobs_fini(&o->logprobs);
	api_deltas_fini(&o->deltas);
	lt_buf_fini(&o->shown);
}

bool api_output_stopped(const struct api_output *o)
{
	return o->stopper.hit || o->split.state == API_SPLIT_DONE;
}

bool api_output_reasons(const struct api_output *o)
{
	return o->split.state == API_SPLIT_START || api_split_in_reasoning(&o->split);
}

/* Text that the stop strings let through. */
static int pass_on(struct api_output *o, const char *text, size_t n)
{
	struct api_deltas *d = &o->deltas;

	o->passed += n;
	if (n == 0 || !api_split_is_plain(&o->split))
		return api_split_push(&o->split, text, n, d);
	if (lt_reserve(&d->list, &d->cap, 1, sizeof(*d->list)) < 0)
		return LT_ENOMEM;
	d->list[0] = (struct api_delta){.kind = API_DELTA_CONTENT, .text = text, .n = n};
	d->n = 1;
	return 0;
}

/* Text through both stages. */
static int pass(struct api_output *o, const char *text, size_t n)
{
	int rc;

	if (!o->stopper.set)
		return pass_on(o, text, n);
	lt_buf_clear(&o->shown);
	rc = api_stopper_push(&o->stopper, text, n, &o->shown);
	return rc < 0 ? rc : pass_on(o, o->shown.data, o->shown.len);
}

int api_output_push(struct api_output *o, const struct api_token *t)
{
	bool before = api_split_in_reasoning(&o->split);
	int rc = 0;

	api_deltas_clear(&o->deltas);
	if (api_output_stopped(o) || o->finish)
		return 0;
	if (o->with_logprobs)
		rc = api_logprobs_add(&o->logprobs, t);
	if (rc == 0)
		rc = pass(o, t->text, t->n);
	if (rc < 0)
		return rc;
	if (before || api_split_in_reasoning(&o->split))
		o->reasoning_tokens++;
	if (o->with_logprobs)
		o->due = api_logprobs_due(&o->logprobs, o->due,
					  o->passed - api_split_held(&o->split));
	return 0;
}

/* What the stages hold back, at the end. */
static int flush(struct api_output *o, const char *rest, size_t n)
{
	int rc = 0;

	if (!api_output_stopped(o)) {
		/* one text, so that a stop string may run into the rest */
		lt_buf_clear(&o->shown);
		rc = api_stopper_push(&o->stopper, rest, n, &o->shown);
		if (rc == 0 && !o->stopper.hit)
			rc = api_stopper_flush(&o->stopper, &o->shown);
		o->passed += o->shown.len;
		if (rc == 0)
			rc = api_split_push(&o->split, o->shown.data, o->shown.len, &o->deltas);
	}
	return rc < 0 ? rc : api_split_flush(&o->split, &o->deltas);
}

int api_output_finish(struct api_output *o, const char *rest, size_t n, enum api_finish why)
{
	int rc;

	api_deltas_clear(&o->deltas);
	if (o->finish)
		return 0;
	rc = flush(o, rest, n);
	if (rc < 0)
		return rc;
	if (o->stopper.hit)
		api_logprobs_cut(&o->logprobs, o->passed);
	o->due = o->with_logprobs ? api_logprobs_waiting(&o->logprobs) : 0;
	if (api_output_stopped(o))
		why = API_FINISH_STOP;
	if (why == API_FINISH_STOP && o->split.calls > 0)
		why = API_FINISH_TOOL_CALLS;
	o->finish = why;
	return 0;
}
