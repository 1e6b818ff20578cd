/*
 * Chat templates: an interpreter for the subset of Jinja that published templates use. A template
 * is parsed once and immutable; any thread may render it. Rendering is bounded in steps, depth,
 * memory and output: a template can't hang or exhaust the server.
 *
 * The environment is that of the transformers library: trim_blocks and lstrip_blocks on, no
 * autoescape, "break" and "continue", the tag "generation" (transparent), lists and dicts that can't
 * be changed, tojson as Python's json.dumps (with ensure_ascii, indent, separators, sort_keys),
 * raise_exception, strftime_now. Names are resolved as Jinja resolves them. Not supported, and
 * refused by name when the template is opened: block, extends, include, import, from, autoescape,
 * trans, do, recursive loops; the filters pprint, random, striptags, urlize, wordwrap, xmlattr.
 * Integers have 64 bits: beyond that arithmetic is a fault (the input's larger ones print as they
 * are). Case and letters beyond ASCII follow the C library's tables.
 */
#ifndef LT_MODEL_TEMPLATE_H
#define LT_MODEL_TEMPLATE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "model/tokenizer.h" /* struct mdl_part */

struct mdl_template;

/* Parses source[0..n), UTF-8, at most 1 MiB. LT_EFORMAT with line and what was expected;
 * LT_EUNSUPPORTED for a known but missing feature, by name; LT_ETOOBIG; LT_ENOMEM. */
int mdl_template_open(const char *source, size_t n, struct mdl_template **out, struct lt_err *err);
void mdl_template_close(struct mdl_template *t);

/* What one rendering may take. 0 in a field: the default in brackets. */
struct mdl_template_limits {
	uint64_t steps; /* evaluated nodes and copied characters / 64 [20 million] */
	/* Of nested evaluations; a macro's call takes about five [500, at most 2000]. */
	uint32_t depth;
	uint64_t output; /* bytes [16 MiB] */
	uint64_t memory; /* bytes that one rendering allocates, all freed at its end [256 MiB] */
};

struct mdl_rendered {
	char *text; /* UTF-8, NUL-terminated; may hold NULs */
	size_t n;
	struct mdl_part *parts; /* [n_parts] cover text, in order; neighbours differ in trust */
	size_t n_parts;
};
/* Frees what a rendering gave; fine on a zeroed struct. */
void mdl_rendered_fini(struct mdl_rendered *r);

/* Renders with the variables of one JSON object (messages, tools, add_generation_prompt, bos_token,
 * eos_token, any keyword): integers and floats stay apart, key order is kept, of equal keys the last
 * value holds; nesting up to 128. A variable that the object lacks is undefined, which is not the
 * same as null: templates ask for both. `now` is the time for strftime_now (seconds since 1970,
 * local zone).
 *
 * Trust goes with every character through all operations. Trusted: the template's own literals and
 * text, and the top-level variables bos_token and eos_token. Untrusted: everything else of the
 * input, and what is made of values (numbers, dates, the punctuation of tojson and of lists).
 *
 * Returns 0 and fills *out (to be released with mdl_rendered_fini), or leaves it empty: LT_EINVAL
 * with the template's own words when it calls raise_exception; LT_EFORMAT for a fault in the
 * template ("line 12: 'x' is undefined") or in the JSON; LT_EUNSUPPORTED; LT_ETOOBIG (output or
 * memory), LT_ETIMEOUT (steps), LT_ENOMEM. `limits` and `err` may be NULL. */
int mdl_template_render(const struct mdl_template *t, const char *json, size_t n, int64_t now,
			const struct mdl_template_limits *limits, struct mdl_rendered *out,
			struct lt_err *err);

#endif
