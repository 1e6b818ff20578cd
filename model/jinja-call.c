/*
 * Calls: binding arguments to parameters, macros, methods, and the global functions range, dict,
 * namespace, cycler, joiner, raise_exception and strftime_now.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "model/jinja-run.h"

enum {
	MAX_RANGE = 100000
}; /* items of a range: the language's own limit for untrusted templates */

const struct mdl_jval *mdl_jkeyword(const struct mdl_jcall *call, const char *name)
{
	for (size_t i = 0; i < call->n_kw; i++) {
		if (mdl_jstr_is(call->kw[i].key.s, name))
			return &call->kw[i].value;
	}
	return NULL;
}

const struct mdl_jspec *mdl_jspec_find(const struct mdl_jspec *table, const struct mdl_jstr *name)
{
	for (; table->name; table++) {
		if (mdl_jstr_is(name, table->name))
			return table;
	}
	return NULL;
}

/* --- filters, tests, methods ------------------------------------------------------------------- */

/* Index of `name` among the words of `params`, or -1; with NULL, how many words there are. */
static int param_index(const char *params, const struct mdl_jstr *name)
{
	int i = 0;

	while (params && *params) {
		size_t n = strcspn(params, " ");

		if (name && name->n == n && memcmp(name->data, params, n) == 0)
			return i;
		params += n + strspn(params + n, " ");
		i++;
	}
	return name ? -1 : i;
}

int mdl_japply(struct mdl_jrun *r, const struct mdl_jspec *spec, const char *what,
	       struct mdl_jval self, const struct mdl_jcall *call, struct mdl_jval *out)
{
	struct mdl_jval argv[MDL_J_MAX_PARAMS];
	size_t n = (size_t)param_index(spec->params, NULL);

	if (!spec->fn)
		return lt_fail(r->err, LT_EUNSUPPORTED, "line %u: the %s '%s' is not supported",
			       r->line, what, spec->name);
	if (spec->variadic)
		return spec->fn(r, self, NULL, call, out);
	LT_ASSERT(n <= MDL_J_MAX_PARAMS);
	for (size_t i = 0; i < MDL_J_MAX_PARAMS; i++)
		argv[i] = i < call->n_pos ? call->pos[i] : MDL_JMISSING;
	if (call->n_pos > n)
		return mdl_jfail(r, "%s '%s' takes at most %zu arguments, not %zu", what,
				 spec->name, n, call->n_pos);
	for (size_t i = 0; i < call->n_kw; i++) {
		const struct mdl_jstr *name = call->kw[i].key.s;
		int at = param_index(spec->params, name);

		if (at < 0 || argv[at].kind != MDL_J_MISSING)
			return mdl_jfail(r, "%s '%s' %s argument '%.*s'%s", what, spec->name,
					 at < 0 ? "has no" : "got its",
					 (int)(name->n < 64 ? name->n : 64), name->data,
					 at < 0 ? "" : " twice");
		argv[at] = call->kw[i].value;
	}
	for (size_t i = 0; i < spec->n_required; i++) {
		if (argv[i].kind == MDL_J_MISSING)
			return mdl_jfail(r, "%s '%s' lacks an argument", what, spec->name);
	}
	return spec->fn(r, self, argv, call, out);
}

/* --- macros ------------------------------------------------------------------------------------ */

static struct mdl_jval hint(struct mdl_jrun *r, const char *text)
{
	struct mdl_jval v;

	if (mdl_jstr_lit(r, text, &v) < 0)
		v.s = NULL;
	v.kind = MDL_J_UNDEF;
	v.sub = MDL_J_UNDEF_HINT;
	v.what = 0;
	return v;
}

/* Keyword arguments that are no parameter: into `kwargs`, or a fault. */
static int bind_kwargs(struct mdl_jrun *r, const struct mdl_jfunc *f, const struct mdl_jcall *call,
		       const bool *used)
{
	struct mdl_jpair *rest = mdl_jarena_alloc(&r->arena, call->n_kw, sizeof(*rest));
	size_t n = 0;

	if (!rest)
		return mdl_jno_memory(r);
	for (size_t i = 0; i < call->n_kw; i++) {
		if (!used[i])
			rest[n++] = call->kw[i];
	}
	if (f->takes_kwargs)
		return mdl_jdict_new(r, rest, n, mdl_jslot(r, f->kwargs));
	if (n == 0)
		return 0;
	return mdl_jfail(r, "macro '%.*s' takes no keyword argument '%.*s'",
			 f->name ? (int)f->name->n : 6, f->name ? f->name->data : "caller",
			 (int)(rest[0].key.s->n < 64 ? rest[0].key.s->n : 64), rest[0].key.s->data);
}

static int bind_varargs(struct mdl_jrun *r, const struct mdl_jfunc *f, const struct mdl_jcall *call)
{
	size_t n = call->n_pos > f->params.n ? call->n_pos - f->params.n : 0;

	if (f->takes_varargs)
		return mdl_jlist_new(r, call->pos + (n ? f->params.n : 0), n, MDL_J_TUPLE,
				     mdl_jslot(r, f->varargs));
	if (n > 0)
		return mdl_jfail(r, "macro '%.*s' takes at most %u arguments, not %zu",
				 f->name ? (int)f->name->n : 6, f->name ? f->name->data : "caller",
				 f->params.n, call->n_pos);
	return 0;
}

/* Keyword argument `name`, marked as used; MISSING if there is none. */
static struct mdl_jval take(const struct mdl_jcall *call, const struct mdl_jstr *name, bool *used)
{
	for (size_t i = 0; i < call->n_kw; i++) {
		if (mdl_jstr_eq(call->kw[i].key.s, name)) {
			used[i] = true;
			return call->kw[i].value;
		}
	}
	return MDL_JMISSING;
}

/* Parameters from the arguments; MISSING where a default is due. */
static int bind_params(struct mdl_jrun *r, const struct mdl_jfunc *f, const struct mdl_jcall *call)
{
	static const struct mdl_jstr caller = {.data = "caller", .n = 6, .chars = 6};
	bool *used = mdl_jarena_alloc(&r->arena, call->n_kw, sizeof(*used));
	struct mdl_jval v;
	int rc;

	if (!used)
		return mdl_jno_memory(r);
	for (size_t i = 0; i < call->n_kw; i++)
		used[i] = false;
	for (uint32_t i = 0; i < f->params.n; i++) {
		v = i < call->n_pos ? call->pos[i]
				    : take(call, r->t->names[f->params.v[i]->name], used);
		*mdl_jslot(r, f->params.v[i]->ref) = v;
	}
	if (f->takes_caller && !f->param_caller) {
		v = take(call, &caller, used);
		if (v.kind == MDL_J_MISSING || v.kind == MDL_J_NONE)
			v = hint(r, "No caller defined");
		*mdl_jslot(r, f->caller) = v;
	}
	rc = bind_kwargs(r, f, call, used);
	return rc < 0 ? rc : bind_varargs(r, f, call);
}

static int bind_defaults(struct mdl_jrun *r, const struct mdl_jfunc *f)
{
	uint32_t first = f->params.n - f->defaults.n;
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < f->params.n; i++) {
		struct mdl_jval *slot = mdl_jslot(r, f->params.v[i]->ref), v;
		const struct mdl_jstr *name = r->t->names[f->params.v[i]->name];
		struct mdl_jsb sb = {0};

		if (slot->kind != MDL_J_MISSING)
			continue;
		if (i >= first) {
			rc = mdl_jeval(r, f->defaults.v[i - first], &v);
		} else if ((rc = mdl_jsb_adds(r, &sb, "parameter '")) == 0 &&
			   (rc = mdl_jsb_add_str(r, &sb, name)) == 0 &&
			   (rc = mdl_jsb_adds(r, &sb, "' was not provided")) == 0 &&
			   (rc = mdl_jsb_finish(r, &sb, &v)) == 0) {
			v.kind = MDL_J_UNDEF;
			v.sub = MDL_J_UNDEF_HINT;
		}
		if (rc == 0)
			*slot = v;
	}
	return rc;
}

int mdl_jcall_macro(struct mdl_jrun *r, const struct mdl_jmacro *m, const struct mdl_jcall *call,
		    struct mdl_jval *out)
{
	struct mdl_jframe *before = r->frame, *frame;
	struct mdl_jsb text = {0}, *out_before = r->out;
	uint32_t line = r->line;
	int rc = mdl_jframe_open(r, m->func, m->env, &frame);

	if (rc < 0)
		return rc;
	r->frame = frame;
	rc = bind_params(r, m->func, call);
	if (rc == 0) {
		mdl_jscope_enter(r, &m->func->scope);
		rc = bind_defaults(r, m->func);
	}
	r->out = &text;
	if (rc == 0)
		rc = mdl_jexec(r, &m->func->body);
	r->out = out_before;
	r->frame = before;
	mdl_jframe_close(r, frame);
	if (rc < 0)
		return rc;
	r->line = line;
	return mdl_jsb_finish(r, &text, out);
}

int mdl_jcall(struct mdl_jrun *r, struct mdl_jval f, const struct mdl_jcall *call,
	      struct mdl_jval *out)
{
	switch (f.kind) {
	case MDL_J_MACRO: return mdl_jcall_macro(r, f.macro, call, out);
	case MDL_J_METHOD:
		return mdl_japply(r, f.bound->method, "method", f.bound->self, call, out);
	case MDL_J_FUNC: return mdl_jcall_global(r, f.what, call, out);
	case MDL_J_JOINER:
		*out = f.joiner->sep;
		if (!f.joiner->used) {
			f.joiner->used = true;
			return mdl_jstr_lit(r, "", out);
		}
		return 0;
	case MDL_J_LOOP: return mdl_jfail(r, "recursive loops are not supported");
	case MDL_J_UNDEF: return mdl_jfail_undef(r, f);
	default: return mdl_jfail(r, "'%s' object is not callable", mdl_jtype_name(f));
	}
}

/* --- global functions -------------------------------------------------------------------------- */

enum global { RANGE, DICT, NAMESPACE, CYCLER, JOINER, RAISE, DATE, LIPSUM, N_GLOBALS };

static const char *const global_names[N_GLOBALS] = {
	[RANGE] = "range",	 [DICT] = "dict",     [NAMESPACE] = "namespace",
	[CYCLER] = "cycler",	 [JOINER] = "joiner", [RAISE] = "raise_exception",
	[DATE] = "strftime_now", [LIPSUM] = "lipsum",
};

struct mdl_jval mdl_jglobal(const struct mdl_jstr *name)
{
	for (uint16_t i = 0; i < N_GLOBALS; i++) {
		if (mdl_jstr_is(name, global_names[i]))
			return (struct mdl_jval){.kind = MDL_J_FUNC, .what = i};
	}
	return MDL_JMISSING;
}

static int call_range(struct mdl_jrun *r, const struct mdl_jcall *call, struct mdl_jval *out)
{
	int64_t v[3] = {0, 0, 1};
	struct mdl_jrange *range;
	__int128 n;

	if (call->n_pos < 1 || call->n_pos > 3 || call->n_kw > 0)
		return mdl_jfail(r, "range takes 1 to 3 arguments");
	for (size_t i = 0; i < call->n_pos; i++) {
		if (call->pos[i].kind == MDL_J_UNDEF)
			return mdl_jfail_undef(r, call->pos[i]);
		if (!mdl_jinteger(call->pos[i], &v[call->n_pos == 1 ? 1 : i]))
			return mdl_jfail(r, "range takes integers, not %s",
					 mdl_jtype_name(call->pos[i]));
	}
	if (v[2] == 0)
		return mdl_jfail(r, "the step of a range can't be 0");
	n = (__int128)v[1] - v[0];
	n = v[2] > 0 ? (n + v[2] - 1) / v[2] : (-n - v[2] - 1) / -(__int128)v[2];
	if ((v[2] > 0) != (v[1] > v[0]) || v[1] == v[0])
		n = 0;
	if (n > MAX_RANGE)
		return mdl_jfail(r, "a range may have at most %d items", MAX_RANGE);
	range = mdl_jarena_alloc(&r->arena, 1, sizeof(*range));
	if (!range)
		return mdl_jno_memory(r);
	*range = (struct mdl_jrange){.start = v[0], .stop = v[1], .step = v[2], .n = (size_t)n};
	*out = (struct mdl_jval){.kind = MDL_J_RANGE, .range = range};
	return 0;
}

/* The pairs that dict(...) or namespace(...) is made of. */
static int collect_pairs(struct mdl_jrun *r, const struct mdl_jcall *call, struct mdl_jval *out)
{
	struct mdl_jlb items = {0}, pair;
	struct mdl_jpair *v;
	size_t n = 0;
	int rc = 0;

	if (call->n_pos > 1)
		return mdl_jfail(r, "expected at most 1 argument, got %zu", call->n_pos);
	if (call->n_pos == 1 && call->pos[0].kind == MDL_J_DICT)
		n = call->pos[0].d->n;
	else if (call->n_pos == 1)
		rc = mdl_jcollect(r, call->pos[0], &items);
	v = rc < 0 ? NULL : mdl_jarena_alloc(&r->arena, n + items.n + call->n_kw, sizeof(*v));
	if (!v)
		return rc < 0 ? rc : mdl_jno_memory(r);
	if (n > 0)
		memcpy(v, call->pos[0].d->v, n * sizeof(*v));
	for (size_t i = 0; i < items.n; i++) {
		pair = (struct mdl_jlb){0};
		rc = mdl_jcollect(r, items.v[i], &pair);
		if (rc == 0 && pair.n != 2)
			rc = mdl_jfail(r, "element %zu of a dict has %zu items; 2 are needed", i,
				       pair.n);
		if (rc < 0)
			return rc;
		v[n++] = (struct mdl_jpair){.key = pair.v[0], .value = pair.v[1]};
	}
	if (call->n_kw > 0)
		memcpy(v + n, call->kw, call->n_kw * sizeof(*v));
	rc = mdl_jstep(r, n + call->n_kw);
	return rc < 0 ? rc : mdl_jdict_new(r, v, n + call->n_kw, out);
}

static int call_namespace(struct mdl_jrun *r, const struct mdl_jcall *call, struct mdl_jval *out)
{
	struct mdl_jspace *ns;
	struct mdl_jval dict;
	int rc = collect_pairs(r, call, &dict);

	if (rc < 0)
		return rc;
	ns = mdl_jarena_alloc(&r->arena, 1, sizeof(*ns));
	if (!ns)
		return mdl_jno_memory(r);
	*ns = (struct mdl_jspace){0};
	for (size_t i = 0; rc == 0 && i < dict.d->n; i++) {
		if (dict.d->v[i].key.kind == MDL_J_STR)
			rc = mdl_jspace_set(r, ns, dict.d->v[i].key.s, dict.d->v[i].value);
	}
	*out = (struct mdl_jval){.kind = MDL_J_NAMESPACE, .ns = ns};
	return rc;
}

static int call_cycler(struct mdl_jrun *r, const struct mdl_jcall *call, struct mdl_jval *out)
{
	struct mdl_jcycler *c = mdl_jarena_alloc(&r->arena, 1, sizeof(*c));
	struct mdl_jval items;

	if (!c)
		return mdl_jno_memory(r);
	if (call->n_pos == 0 || call->n_kw > 0)
		return mdl_jfail(r, "cycler needs at least one item");
	if (mdl_jlist_new(r, call->pos, call->n_pos, MDL_J_TUPLE, &items) < 0)
		return r->err ? r->err->code : LT_ENOMEM;
	*c = (struct mdl_jcycler){.items = *items.l};
	*out = (struct mdl_jval){.kind = MDL_J_CYCLER, .cycler = c};
	return 0;
}

static int call_joiner(struct mdl_jrun *r, const struct mdl_jcall *call, struct mdl_jval *out)
{
	const struct mdl_jval *sep = call->n_pos ? &call->pos[0] : mdl_jkeyword(call, "sep");
	struct mdl_jjoiner *j = mdl_jarena_alloc(&r->arena, 1, sizeof(*j));
	int rc = 0;

	if (!j)
		return mdl_jno_memory(r);
	if (call->n_pos + call->n_kw > 1 || (call->n_kw == 1 && !sep))
		return mdl_jfail(r, "joiner takes one argument, sep");
	*j = (struct mdl_jjoiner){0};
	if (sep)
		j->sep = *sep;
	else
		rc = mdl_jstr_lit(r, ", ", &j->sep);
	*out = (struct mdl_jval){.kind = MDL_J_JOINER, .joiner = j};
	return rc;
}

static int call_raise(struct mdl_jrun *r, const struct mdl_jcall *call)
{
	const struct mdl_jval *v = call->n_pos == 1 ? &call->pos[0] : mdl_jkeyword(call, "message");
	struct mdl_jval text;
	int rc;

	if (!v || call->n_pos + call->n_kw != 1)
		return mdl_jfail(r, "raise_exception takes one argument, message");
	rc = mdl_jto_str(r, *v, &text);
	if (rc < 0)
		return rc;
	return lt_fail(r->err, LT_EINVAL, "%.*s", (int)(text.s->n < 500 ? text.s->n : 500),
		       text.s->data);
}

static int call_date(struct mdl_jrun *r, const struct mdl_jcall *call, struct mdl_jval *out)
{
	const struct mdl_jval *v = call->n_pos == 1 ? &call->pos[0] : mdl_jkeyword(call, "format");

	if (!v || call->n_pos + call->n_kw != 1 || v->kind != MDL_J_STR)
		return mdl_jfail(r, "strftime_now takes one argument, a format");
	return mdl_jdate(r, v->s, out);
}

int mdl_jcall_global(struct mdl_jrun *r, unsigned which, const struct mdl_jcall *call,
		     struct mdl_jval *out)
{
	switch (which) {
	case RANGE: return call_range(r, call, out);
	case DICT: return collect_pairs(r, call, out);
	case NAMESPACE: return call_namespace(r, call, out);
	case CYCLER: return call_cycler(r, call, out);
	case JOINER: return call_joiner(r, call, out);
	case RAISE: return call_raise(r, call);
	case DATE: return call_date(r, call, out);
	default:
		return lt_fail(r->err, LT_EUNSUPPORTED,
			       "line %u: the function '%s' is not supported", r->line,
			       global_names[which]);
	}
}
