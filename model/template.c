/*
 * Chat templates: opening, rendering, and what every part of a rendering uses (steps, depth,
 * faults). A template owns an arena with its parsed form; a rendering owns an arena that lives as
 * long as the call. Rendering writes to nothing that another thread could see.
 */
#include "model/template.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "model/jinja-run.h"

enum { STEPS = 20000000, DEPTH = 500, MAX_DEPTH = 2000 };
#define OUTPUT ((uint64_t)16 << 20)
#define MEMORY ((uint64_t)256 << 20)

/* --- opening ----------------------------------------------------------------------------------- */

int mdl_template_open(const char *source, size_t n, struct mdl_template **out, struct lt_err *err)
{
	struct lt_err own = {0};
	struct mdl_jparser p = {.err = err ? err : &own};
	int rc;

	p.t = lt_alloc(1, sizeof(*p.t));
	p.names = lt_map_open(64);
	if (!p.t || !p.names) {
		free(p.t);
		lt_map_close(p.names);
		return lt_fail(err, LT_ENOMEM, "no memory for a template");
	}
	p.t->arena.limit = MDL_J_MAX_ARENA;
	rc = mdl_jlex(&p, source, n);
	if (rc == 0)
		rc = mdl_jparse(&p);
	if (rc == 0)
		rc = mdl_jresolve(p.t, p.err);
	free(p.tokens);
	lt_map_close(p.names);
	if (rc < 0) {
		mdl_template_close(p.t);
		return rc;
	}
	*out = p.t;
	return 0;
}

void mdl_template_close(struct mdl_template *t)
{
	if (!t)
		return;
	mdl_jarena_fini(&t->arena);
	free(t);
}

/* --- faults, steps, depth ---------------------------------------------------------------------- */

int mdl_jfail(struct mdl_jrun *r, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return lt_fail(r->err, LT_EFORMAT, "line %u: %s", r->line, text);
}

int mdl_jno_memory(struct mdl_jrun *r)
{
	if (r->arena.failed == LT_ETOOBIG)
		return lt_fail(r->err, LT_ETOOBIG,
			       "line %u: the template needs more than %llu bytes", r->line,
			       (unsigned long long)r->limits.memory);
	return lt_fail(r->err, LT_ENOMEM, "line %u: no memory for the template", r->line);
}

int mdl_jstep(struct mdl_jrun *r, uint64_t n)
{
	r->steps += n;
	if (r->steps <= r->limits.steps)
		return 0;
	return lt_fail(r->err, LT_ETIMEOUT, "line %u: the template takes more than %llu steps",
		       r->line, (unsigned long long)r->limits.steps);
}

int mdl_jstep_bytes(struct mdl_jrun *r, size_t n)
{
	return mdl_jstep(r, n / 64);
}

int mdl_jenter(struct mdl_jrun *r)
{
	if (r->depth >= r->limits.depth)
		return mdl_jfail(r, "nested more than %u deep", r->limits.depth);
	r->depth++;
	return 0;
}

void mdl_jleave(struct mdl_jrun *r)
{
	r->depth--;
}

/* --- rendering --------------------------------------------------------------------------------- */

void mdl_rendered_fini(struct mdl_rendered *rendered)
{
	free(rendered->text);
	free(rendered->parts);
	*rendered = (struct mdl_rendered){0};
}

static void set_limits(struct mdl_jrun *r, const struct mdl_template_limits *limits)
{
	if (limits)
		r->limits = *limits;
	if (r->limits.steps == 0)
		r->limits.steps = STEPS;
	if (r->limits.depth == 0)
		r->limits.depth = DEPTH;
	if (r->limits.depth > MAX_DEPTH)
		r->limits.depth = MAX_DEPTH;
	if (r->limits.output == 0)
		r->limits.output = OUTPUT;
	if (r->limits.memory == 0)
		r->limits.memory = MEMORY;
	r->arena.limit = r->limits.memory < SIZE_MAX ? (size_t)r->limits.memory : SIZE_MAX;
}

static bool is_trusted_variable(const struct mdl_jstr *name)
{
	return mdl_jstr_is(name, "bos_token") || mdl_jstr_is(name, "eos_token");
}

/* The value of every name the template uses: from the input, else a global function. */
static int fill_context(struct mdl_jrun *r, const struct mdl_jdict *input)
{
	int rc = 0;

	r->context = mdl_jarena_alloc(&r->arena, r->t->n_names, sizeof(*r->context));
	if (!r->context)
		return mdl_jno_memory(r);
	for (uint32_t i = 0; rc == 0 && i < r->t->n_names; i++) {
		const struct mdl_jstr *name = r->t->names[i];
		const struct mdl_jval *v = mdl_jdict_get(r, input, MDL_JSTR(name));

		r->context[i] = v ? *v : mdl_jglobal(name);
		if (v && v->kind == MDL_J_STR && is_trusted_variable(name))
			rc = mdl_jstr_new(r, v->s->data, v->s->n, true, &r->context[i]);
	}
	return rc;
}

static int run(struct mdl_jrun *r, const char *json, size_t n)
{
	struct mdl_jval input;
	int rc = mdl_jjson_read(r, json, n, &input);

	if (rc < 0)
		return rc;
	if (input.kind != MDL_J_DICT)
		return lt_fail(r->err, LT_EFORMAT, "the input JSON must be an object");
	r->free_frames = mdl_jarena_alloc(&r->arena, r->t->n_funcs, sizeof(*r->free_frames));
	if (!r->free_frames)
		return mdl_jno_memory(r);
	for (uint32_t i = 0; i < r->t->n_funcs; i++)
		r->free_frames[i] = NULL;
	if ((rc = fill_context(r, input.d)) < 0 ||
	    (rc = mdl_jframe_open(r, &r->t->root, NULL, &r->frame)) < 0)
		return rc;
	r->frame->captured = true;
	mdl_jscope_enter(r, &r->t->root.scope);
	rc = mdl_jexec(r, &r->t->root.body);
	return rc < 0 ? rc : mdl_jstep(r, 0); /* not all that counts steps can fail */
}

/* How many runs of equal trust the text has; fills `parts` if it is not NULL. */
static size_t cut_parts(const struct mdl_jsb *sb, struct mdl_part *parts)
{
	size_t n_parts = 0;

	for (size_t at = 0, end; at < sb->n; at = end) {
		bool trusted = sb->trust ? sb->trust[at] : sb->trusted;

		end = at + 1;
		while (end < sb->n && (!sb->trust || sb->trust[end] == trusted))
			end++;
		if (parts)
			parts[n_parts] =
				(struct mdl_part){.start = at, .len = end - at, .trusted = trusted};
		n_parts++;
	}
	return n_parts;
}

/* Copies the text out of the arena. */
static int take_result(const struct mdl_jsb *sb, struct mdl_rendered *out, struct lt_err *err)
{
	size_t n_parts = cut_parts(sb, NULL);

	*out = (struct mdl_rendered){.n = sb->n, .n_parts = n_parts};
	out->text = lt_strndup(sb->data ? sb->data : "", sb->n);
	out->parts = lt_alloc(n_parts, sizeof(*out->parts));
	if (!out->text || !out->parts) {
		mdl_rendered_fini(out);
		return lt_fail(err, LT_ENOMEM, "no memory for the rendered text");
	}
	cut_parts(sb, out->parts);
	return 0;
}

int mdl_template_render(const struct mdl_template *t, const char *json, size_t n, int64_t now,
			const struct mdl_template_limits *limits, struct mdl_rendered *out,
			struct lt_err *err)
{
	struct lt_err own = {0};
	struct mdl_jsb text = {0};
	struct mdl_jrun r = {
		.t = t, .now = now, .err = err ? err : &own, .out = &text, .result = &text};
	int rc;

	*out = (struct mdl_rendered){0};
	set_limits(&r, limits);
	rc = run(&r, json, n);
	if (rc == 0)
		rc = take_result(&text, out, r.err);
	mdl_jarena_fini(&r.arena);
	return rc;
}
