/*
 * The prompt of a completions request: a string, an array of strings, an array of token ids or an
 * array of such arrays. The first element's type says which array it is.
 */
#include <stdlib.h>

#include "api/parse.h"
#include "base/mem.h"

static const char forms[] = "a string, an array of strings, an array of token ids or an array of "
			    "such arrays";

static int add_text(struct api_parse *p, const struct api_at *at, struct api_json v)
{
	struct api_request *r = p->r;
	int rc = api_parse_want(p, at, v, API_JSON_STRING, "a string, as the first prompt is");

	if (rc == 0)
		rc = api_json_string(v, &r->prompts[r->n_prompts].text);
	if (rc == 0)
		r->n_prompts++;
	return rc;
}

static int too_long(struct api_parse *p, const struct api_at *at, size_t count)
{
	char path[API_PATH];

	api_at_path(at, path);
	return api_fault_set(p->fault, LT_ETOOLONG, NULL, path,
			     "This model's maximum context length is %u tokens, prompt and answer "
			     "together, but '%s' alone has %zu tokens",
			     p->limits.context, path, count);
}

static int add_ids(struct api_parse *p, const struct api_at *at, struct api_json v)
{
	struct api_prompt *prompt = &p->r->prompts[p->r->n_prompts];
	int64_t id, top = (int64_t)p->limits.vocab - 1;
	size_t pos = 0, count;
	struct api_json item;
	int rc = api_parse_want(p, at, v, API_JSON_ARRAY,
				"an array of token ids, as the first prompt is");

	if (rc < 0)
		return rc;
	count = api_json_count(v);
	if (count == 0)
		return api_parse_wrong(p, at, "must hold at least one token id");
	if (count >= p->limits.context)
		return too_long(p, at, count);
	prompt->ids = lt_alloc(count, sizeof(*prompt->ids));
	if (!prompt->ids)
		return LT_ENOMEM;
	p->r->n_prompts++;
	while (api_json_next(v, &pos, NULL, &item)) {
		rc = api_parse_int(p, API_ELEMENT(at, prompt->n_ids), item, 0, top, &id);
		if (rc < 0)
			return rc;
		prompt->ids[prompt->n_ids++] = (int32_t)id;
	}
	return 0;
}

/* An array of prompts, all strings or all arrays. */
static int add_list(struct api_parse *p, const struct api_at *at, struct api_json v,
		    enum api_json_type first)
{
	size_t count = api_json_count(v), pos = 0, i = 0;
	struct api_json item;
	int rc = 0;

	if (count > p->limits.prompts)
		return api_parse_too_many(p, at, p->limits.prompts, count);
	p->r->prompts = lt_alloc(count, sizeof(*p->r->prompts));
	if (!p->r->prompts)
		return LT_ENOMEM;
	for (; rc == 0 && api_json_next(v, &pos, NULL, &item); i++)
		rc = first == API_JSON_STRING ? add_text(p, API_ELEMENT(at, i), item)
					      : add_ids(p, API_ELEMENT(at, i), item);
	return rc;
}

int api_parse_prompt(struct api_parse *p, struct api_json v)
{
	const struct api_at at = {NULL, "prompt", 0};
	enum api_json_type type = api_json_type(v);
	struct api_json first;
	size_t pos = 0;

	if (type != API_JSON_STRING && type != API_JSON_ARRAY)
		return api_parse_bad(p, &at, "invalid_type", v, forms);
	if (type == API_JSON_ARRAY) {
		if (!api_json_next(v, &pos, NULL, &first))
			return api_parse_wrong(p, &at, "must not be an empty array");
		type = api_json_type(first);
		if (type == API_JSON_STRING || type == API_JSON_ARRAY)
			return add_list(p, &at, v, type);
		if (type != API_JSON_NUMBER)
			return api_parse_bad(p, API_ELEMENT(&at, 0), "invalid_type", first,
					     "a string, a token id or an array of token ids");
	}
	p->r->prompts = lt_alloc(1, sizeof(*p->r->prompts));
	if (!p->r->prompts)
		return LT_ENOMEM;
	return type == API_JSON_STRING ? add_text(p, &at, v) : add_ids(p, &at, v);
}
