/*
 * Chat templates: an interpreter for the subset of Jinja that published templates use. A template
 * is parsed once and immutable; any thread may render it. Rendering is bounded in steps, depth,
 * memory and output: a template can't hang or exhaust the server.
 */
#ifndef LT_MODEL_TEMPLATE_H
#define LT_MODEL_TEMPLATE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "model/tokenizer.h" /* struct mdl_part */

struct mdl_template;

/* Parses source[0..n). LT_EFORMAT with line and what was expected; LT_EUNSUPPORTED for a known but
 * missing feature, by name; LT_ENOMEM. */
int mdl_template_open(const char *source, size_t n, struct mdl_template **out, struct lt_err *err);
void mdl_template_close(struct mdl_template *t);

/* 0 in a field: the default in brackets. */
struct mdl_template_limits {
	uint64_t steps;	 /* evaluated nodes and copied characters / 64 [20 million] */
	uint32_t depth;	 /* of nested calls and expressions [200] */
	uint64_t output; /* bytes [16 MiB] */
	uint64_t memory; /* bytes of values alive in one rendering [256 MiB] */
};

struct mdl_rendered {
	char *text; /* UTF-8, NUL-terminated */
	size_t n;
	struct mdl_part *parts; /* covers text; trusted: characters that stand in the template's own
				   literals or in the variables named in `trusted_vars` */
	size_t n_parts;
};
void mdl_rendered_fini(struct mdl_rendered *r);

/* Renders with the variables of one JSON object (messages, tools, add_generation_prompt, bos_token,
 * eos_token, any keyword): integers and floats stay apart, key order is kept. `now` is the time for
 * strftime_now (seconds since 1970, local zone). Strings from `json` are untrusted but for the
 * top-level variables bos_token and eos_token. LT_EINVAL with the template's own words when it calls
 * raise_exception; LT_EFORMAT for a fault in the template or the JSON; LT_ETOOBIG, LT_ETIMEOUT
 * (steps), LT_ENOMEM. */
int mdl_template_render(const struct mdl_template *t, const char *json, size_t n, int64_t now,
			const struct mdl_template_limits *limits, struct mdl_rendered *out,
			struct lt_err *err);

#endif
