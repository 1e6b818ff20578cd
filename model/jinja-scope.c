/*
 * Names to slots. The language resolves names when a template is parsed, not when it runs, and
 * published templates rely on what follows from that:
 *   - a block with a scope of its own (loop body, macro, call, filter, set block, with) has its own
 *     variable for every name it assigns; on entry that starts out as the outer one's value, or,
 *     where no outer scope has one, as "not set", or, if it was read or assigned in an "if" first,
 *     as the input's variable;
 *   - "if" is no scope: what its branches assign belongs to the scope around it;
 *   - macros and call bodies are functions: they see the variables around their definition as they
 *     are when called.
 * Two walks for every scope: `see` finds out which names it has, `bind` then writes slots into the
 * nodes and goes into the scopes inside. Recursion is bounded by the depth of the parsed tree.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/jinja-run.h"

struct func {
	struct func *parent;
	uint32_t depth;
	uint32_t n_slots;
};

struct entry {
	bool own;    /* this scope has a variable of that name */
	bool stored; /* and assigns it */
	bool has_slot;
	enum mdl_jload_how how;
	struct mdl_jref from; /* LOAD_COPY: hops are from this scope's function */
	uint32_t slot;
};

struct change {
	uint32_t name;
	struct entry before;
};

struct scope {
	struct scope *parent;
	struct func *func;
	struct entry *entries;	// [n_names]
	struct change *changes; // [n_changes] for undoing a branch
	size_t n_changes, cap_changes;
};

struct resolver {
	struct mdl_template *t;
	struct lt_err *err;
	bool soft;	    /* inside "if": unknown filters are a fault only when reached */
	uint32_t in_for;    /* loops around this place */
	uint32_t loop_name; /* id of "loop", or n_names */
};

static int no_memory(struct resolver *r)
{
	return lt_fail(r->err, LT_ENOMEM, "no memory for the template's variables");
}

static int scope_init(struct resolver *r, struct scope *s, struct scope *parent, struct func *func)
{
	*s = (struct scope){.parent = parent, .func = func};
	s->entries = lt_alloc(r->t->n_names, sizeof(*s->entries));
	return s->entries ? 0 : no_memory(r);
}

static void scope_fini(struct scope *s)
{
	free(s->entries);
	free(s->changes);
}

/* --- which names a scope has ------------------------------------------------------------------- */

static bool find(const struct scope *from, const struct scope *s, uint32_t name,
		 struct mdl_jref *out)
{
	for (; s; s = s->parent) {
		if (!s->entries[name].own)
			continue;
		*out = (struct mdl_jref){.hops = from->func->depth - s->func->depth,
					 .slot = s->entries[name].slot};
		return true;
	}
	return false;
}

/* The entry of `name`, about to be changed. */
static int touch(struct resolver *r, struct scope *s, uint32_t name, struct entry **out)
{
	if (lt_reserve(&s->changes, &s->cap_changes, s->n_changes + 1, sizeof(*s->changes)) < 0)
		return no_memory(r);
	*out = &s->entries[name];
	s->changes[s->n_changes++] = (struct change){.name = name, .before = **out};
	return 0;
}

static void own(struct scope *s, struct entry *e)
{
	e->own = true;
	if (!e->has_slot) {
		e->slot = s->func->n_slots++;
		e->has_slot = true;
	}
}

static int declare(struct resolver *r, struct scope *s, uint32_t name)
{
	struct entry *e;

	if (touch(r, s, name, &e) < 0)
		return LT_ENOMEM;
	own(s, e);
	e->stored = true;
	e->how = MDL_J_LOAD_PARAM;
	return 0;
}

static int load(struct resolver *r, struct scope *s, uint32_t name)
{
	struct mdl_jref ref;
	struct entry *e;

	if (find(s, s, name, &ref))
		return 0;
	if (touch(r, s, name, &e) < 0)
		return LT_ENOMEM;
	own(s, e);
	e->how = MDL_J_LOAD_CONTEXT;
	return 0;
}

static int store(struct resolver *r, struct scope *s, uint32_t name)
{
	struct entry *e = &s->entries[name];

	if (e->own && e->stored)
		return 0;
	if (touch(r, s, name, &e) < 0)
		return LT_ENOMEM;
	e->stored = true;
	if (!e->own) {
		e->how = find(s, s->parent, name, &e->from) ? MDL_J_LOAD_COPY : MDL_J_LOAD_NOTHING;
		own(s, e);
	}
	return 0;
}

/* Takes back the changes since `mark` and appends what they were to `seen`, if not NULL. */
static int undo(struct resolver *r, struct scope *s, size_t mark, struct change **seen,
		size_t *n_seen, size_t *cap)
{
	while (s->n_changes > mark) {
		struct change *c = &s->changes[--s->n_changes];
		struct entry *e = &s->entries[c->name];
		struct entry now = *e;

		if (lt_reserve(seen, cap, *n_seen + 1, sizeof(**seen)) < 0)
			return no_memory(r);
		(*seen)[(*n_seen)++] = (struct change){.name = c->name, .before = now};
		*e = c->before;
		e->slot = now.slot; /* the same variable if another branch has it too */
		e->has_slot = now.has_slot;
	}
	return 0;
}

/* What the branches of an "if" did becomes the scope's: a name assigned in any of them starts as
 * the outer variable or the input's. */
static int merge(struct resolver *r, struct scope *s, const struct change *seen, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct entry *was = &seen[i].before;
		struct entry *e = &s->entries[seen[i].name];
		bool stores = was->stored && !e->stored;

		if (!stores && (e->own || !was->own))
			continue;
		if (touch(r, s, seen[i].name, &e) < 0)
			return LT_ENOMEM;
		own(s, e);
		e->stored |= was->stored;
		e->how = MDL_J_LOAD_CONTEXT;
		if (stores && find(s, s->parent, seen[i].name, &e->from))
			e->how = MDL_J_LOAD_COPY;
	}
	return 0;
}

static int see_expr(struct resolver *r, struct scope *s, const struct mdl_jnode *n);
static int see_all(struct resolver *r, struct scope *s, const struct mdl_jnodes *list);

static int see_args(struct resolver *r, struct scope *s, const struct mdl_jargs *args)
{
	if (see_all(r, s, &args->pos) < 0 || see_all(r, s, &args->kw) < 0 ||
	    see_expr(r, s, args->dyn_pos) < 0 || see_expr(r, s, args->dyn_kw) < 0)
		return LT_ENOMEM;
	return 0;
}

static int see_expr(struct resolver *r, struct scope *s, const struct mdl_jnode *n)
{
	if (!n)
		return 0;
	if (n->type == MDL_JN_NAME || n->type == MDL_JN_NSREF)
		return load(r, s, n->name);
	if ((n->type == MDL_JN_CALL || n->type == MDL_JN_FILTER || n->type == MDL_JN_TEST) &&
	    see_args(r, s, n->args) < 0)
		return LT_ENOMEM;
	if (see_expr(r, s, n->a) < 0 || see_expr(r, s, n->b) < 0 || see_expr(r, s, n->c) < 0)
		return LT_ENOMEM;
	return see_all(r, s, &n->kids);
}

static int see_all(struct resolver *r, struct scope *s, const struct mdl_jnodes *list)
{
	for (uint32_t i = 0; i < list->n; i++) {
		if (see_expr(r, s, list->v[i]) < 0)
			return LT_ENOMEM;
	}
	return 0;
}

static int see_target(struct resolver *r, struct scope *s, const struct mdl_jnode *n, bool param)
{
	int rc = 0;

	if (n->type == MDL_JN_NAME)
		return param ? declare(r, s, n->name) : store(r, s, n->name);
	if (n->type == MDL_JN_NSREF)
		return load(r, s, n->name);
	for (uint32_t i = 0; rc == 0 && i < n->kids.n; i++)
		rc = see_target(r, s, n->kids.v[i], param);
	return rc;
}

static int see_body(struct resolver *r, struct scope *s, const struct mdl_jnodes *body);

/* Branches [from, to) of an "if", each seen as if alone. The condition of an "elif" belongs to the
 * branches after the first, which are seen together. */
static int see_branches(struct resolver *r, struct scope *s, const struct mdl_jnode *n)
{
	struct change *seen = NULL;
	size_t n_seen = 0, cap = 0, mark;
	int rc = see_expr(r, s, n->kids.v[0]->a);

	for (uint32_t i = 0; rc == 0 && i < n->kids.n; i++) {
		mark = s->n_changes;
		if (i > 0)
			rc = see_expr(r, s, n->kids.v[i]->a);
		if (rc == 0)
			rc = see_body(r, s, &n->kids.v[i]->kids);
		if (rc == 0)
			rc = undo(r, s, mark, &seen, &n_seen, &cap);
	}
	if (rc == 0)
		rc = merge(r, s, seen, n_seen);
	free(seen);
	return rc;
}

static int see_statement(struct resolver *r, struct scope *s, const struct mdl_jnode *n)
{
	switch (n->type) {
	case MDL_JN_OUTPUT: return see_expr(r, s, n->a);
	case MDL_JN_IF: return see_branches(r, s, n);
	case MDL_JN_FOR: return see_expr(r, s, n->b);
	case MDL_JN_SET: {
		int rc = see_expr(r, s, n->b);

		return rc < 0 ? rc : see_target(r, s, n->a, false);
	}
	case MDL_JN_SET_BLOCK: return see_target(r, s, n->a, false);
	case MDL_JN_MACRO: return store(r, s, n->name);
	case MDL_JN_CALL_BLOCK: return see_expr(r, s, n->a);
	case MDL_JN_FILTER_BLOCK:
	case MDL_JN_WITH: return see_expr(r, s, n->b);
	default: return 0;
	}
}

static int see_body(struct resolver *r, struct scope *s, const struct mdl_jnodes *body)
{
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < body->n; i++)
		rc = see_statement(r, s, body->v[i]);
	return rc;
}

/* --- slots into nodes -------------------------------------------------------------------------- */

static int bind_body(struct resolver *r, struct scope *s, const struct mdl_jnodes *body);
static int bind_expr(struct resolver *r, struct scope *s, struct mdl_jnode *n);

/* Writes down what entering the scope does. */
static int finish(struct resolver *r, const struct scope *s, struct mdl_jscope *out)
{
	size_t n = 0;

	for (uint32_t i = 0; i < r->t->n_names; i++)
		n += s->entries[i].own;
	out->loads = mdl_jarena_alloc(&r->t->arena, n, sizeof(*out->loads));
	if (!out->loads)
		return no_memory(r);
	for (uint32_t i = 0; i < r->t->n_names; i++) {
		const struct entry *e = &s->entries[i];

		if (e->own)
			out->loads[out->n_loads++] = (struct mdl_jload){
				.how = e->how, .slot = e->slot, .name = i, .from = e->from};
	}
	return 0;
}

static int bind_name(struct resolver *r, struct scope *s, uint32_t name, struct mdl_jref *out)
{
	/* not seen before only where the language itself would trip: then it is an input variable */
	if (load(r, s, name) < 0)
		return LT_ENOMEM;
	find(s, s, name, out);
	return 0;
}

static int bind_list(struct resolver *r, struct scope *s, const struct mdl_jnodes *list)
{
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < list->n; i++)
		rc = bind_expr(r, s, list->v[i]);
	return rc;
}

/* Looks a filter or test up. */
static int bind_spec(struct resolver *r, struct mdl_jnode *n)
{
	const char *what = n->type == MDL_JN_FILTER ? "filter" : "test";
	const struct mdl_jstr *name = n->value.s;

	n->args->spec = n->type == MDL_JN_FILTER ? mdl_jfilter_find(name) : mdl_jtest_find(name);
	if (n->args->spec && !n->args->spec->fn)
		return lt_fail(r->err, LT_EUNSUPPORTED, "line %u: the %s '%s' is not supported",
			       n->line, what, n->args->spec->name);
	if (!n->args->spec && !r->soft)
		return lt_fail(r->err, LT_EFORMAT, "line %u: no %s named '%.*s'", n->line, what,
			       (int)(name->n < 64 ? name->n : 64), name->data);
	return 0;
}

static int bind_expr(struct resolver *r, struct scope *s, struct mdl_jnode *n)
{
	bool soft = r->soft;
	int rc = 0;

	if (!n)
		return 0;
	if (n->type == MDL_JN_NAME || n->type == MDL_JN_NSREF)
		return bind_name(r, s, n->name, &n->ref);
	if (n->type == MDL_JN_FILTER || n->type == MDL_JN_TEST)
		rc = bind_spec(r, n);
	if (rc == 0 &&
	    (n->type == MDL_JN_CALL || n->type == MDL_JN_FILTER || n->type == MDL_JN_TEST)) {
		if ((rc = bind_list(r, s, &n->args->pos)) == 0 &&
		    (rc = bind_list(r, s, &n->args->kw)) == 0 &&
		    (rc = bind_expr(r, s, n->args->dyn_pos)) == 0)
			rc = bind_expr(r, s, n->args->dyn_kw);
	}
	r->soft |= n->type == MDL_JN_COND;
	if (rc == 0 && (rc = bind_expr(r, s, n->a)) == 0 && (rc = bind_expr(r, s, n->b)) == 0 &&
	    (rc = bind_expr(r, s, n->c)) == 0)
		rc = bind_list(r, s, &n->kids);
	r->soft = soft;
	return rc;
}

/* `stores`: an assignment, which must leave the special variable of a loop alone. */
static int bind_target(struct resolver *r, struct scope *s, struct mdl_jnode *n, bool stores)
{
	int rc = 0;

	if (n->type != MDL_JN_TUPLE) {
		if (stores && r->in_for && n->type == MDL_JN_NAME && n->name == r->loop_name)
			return lt_fail(r->err, LT_EFORMAT,
				       "line %u: 'loop' can't be assigned to inside a loop",
				       n->line);
		return bind_name(r, s, n->name, &n->ref);
	}
	for (uint32_t i = 0; rc == 0 && i < n->kids.n; i++)
		rc = bind_target(r, s, n->kids.v[i], stores);
	return rc;
}

/* A target's tree again, for the scope of a loop's condition. */
static int copy_target(struct resolver *r, const struct mdl_jnode *n, struct mdl_jnode **out)
{
	struct mdl_jnode *copy = mdl_jarena_alloc(&r->t->arena, 1, sizeof(*copy));
	int rc = 0;

	if (!copy)
		return no_memory(r);
	*copy = *n;
	*out = copy;
	if (n->kids.n == 0)
		return 0;
	copy->kids.v = mdl_jarena_alloc(&r->t->arena, n->kids.n, sizeof(*copy->kids.v));
	if (!copy->kids.v)
		return no_memory(r);
	for (uint32_t i = 0; rc == 0 && i < n->kids.n; i++)
		rc = copy_target(r, n->kids.v[i], &copy->kids.v[i]);
	return rc;
}

static int bind_loop_body(struct resolver *r, struct scope *outer, struct mdl_jnode *n)
{
	struct scope s;
	int rc = scope_init(r, &s, outer, outer->func);

	if (rc == 0 && n->loop->extended)
		rc = declare(r, &s, r->loop_name);
	if (rc == 0 && (rc = see_target(r, &s, n->a, true)) == 0 &&
	    (rc = see_body(r, &s, &n->kids)) == 0 && (rc = bind_target(r, &s, n->a, true)) == 0)
		rc = bind_body(r, &s, &n->kids);
	if (rc == 0 && n->loop->extended)
		rc = bind_name(r, &s, r->loop_name, &n->loop->loop);
	if (rc == 0)
		rc = finish(r, &s, &n->loop->body_scope);
	scope_fini(&s);
	return rc;
}

static int bind_loop_rest(struct resolver *r, struct scope *outer, struct mdl_jnode *n)
{
	struct scope s;
	int rc = scope_init(r, &s, outer, outer->func);

	if (rc == 0 && (rc = see_body(r, &s, &n->loop->else_body)) == 0 &&
	    (rc = bind_body(r, &s, &n->loop->else_body)) == 0)
		rc = finish(r, &s, &n->loop->else_scope);
	scope_fini(&s);
	if (rc < 0 || !n->c)
		return rc;
	rc = scope_init(r, &s, outer, outer->func);
	if (rc == 0 && (rc = copy_target(r, n->a, &n->loop->test_target)) == 0 &&
	    (rc = see_target(r, &s, n->a, true)) == 0 && (rc = see_expr(r, &s, n->c)) == 0 &&
	    (rc = bind_target(r, &s, n->loop->test_target, true)) == 0 &&
	    (rc = bind_expr(r, &s, n->c)) == 0)
		rc = finish(r, &s, &n->loop->test_scope);
	scope_fini(&s);
	return rc;
}

static int bind_for(struct resolver *r, struct scope *s, struct mdl_jnode *n)
{
	bool soft = r->soft;
	int rc;

	r->in_for++;
	rc = bind_expr(r, s, n->b);
	r->soft = false;
	if (rc == 0)
		rc = bind_loop_body(r, s, n);
	if (rc == 0)
		rc = bind_loop_rest(r, s, n);
	r->soft = soft;
	r->in_for--;
	return rc;
}

static uint32_t name_id(const struct mdl_template *t, const char *name)
{
	uint32_t i = 0;

	while (i < t->n_names && !mdl_jstr_is(t->names[i], name))
		i++;
	return i;
}

/* A special variable of a function, declared like a parameter. */
static int bind_special(struct resolver *r, struct scope *s, bool wanted, const char *name,
			struct mdl_jref *out)
{
	uint32_t id = name_id(r->t, name);

	if (!wanted)
		return 0;
	if (declare(r, s, id) < 0)
		return LT_ENOMEM;
	return bind_name(r, s, id, out);
}

static int bind_func(struct resolver *r, struct scope *outer, struct mdl_jfunc *f)
{
	struct func func = {.parent = outer ? outer->func : NULL,
			    .depth = outer ? outer->func->depth + 1 : 0};
	struct scope s;
	bool soft = r->soft;
	int rc = scope_init(r, &s, outer, &func);

	r->soft = false;
	for (uint32_t i = 0; rc == 0 && i < f->params.n; i++) {
		rc = declare(r, &s, f->params.v[i]->name);
		if (rc == 0)
			rc = bind_target(r, &s, f->params.v[i], false);
	}
	if (rc == 0 &&
	    (rc = bind_special(r, &s, f->takes_caller && !f->param_caller, "caller", &f->caller)) ==
		    0 &&
	    (rc = bind_special(r, &s, f->takes_kwargs, "kwargs", &f->kwargs)) == 0 &&
	    (rc = bind_special(r, &s, f->takes_varargs, "varargs", &f->varargs)) == 0 &&
	    (rc = see_all(r, &s, &f->defaults)) == 0 && (rc = see_body(r, &s, &f->body)) == 0 &&
	    (rc = bind_list(r, &s, &f->defaults)) == 0 && (rc = bind_body(r, &s, &f->body)) == 0)
		rc = finish(r, &s, &f->scope);
	f->n_slots = func.n_slots;
	r->soft = soft;
	scope_fini(&s);
	return rc;
}

/* Set block, filter block and with: one scope inside the function. */
static int bind_block(struct resolver *r, struct scope *outer, struct mdl_jnode *n)
{
	bool soft = r->soft, with = n->type == MDL_JN_WITH;
	struct scope s;
	int rc = scope_init(r, &s, outer, outer->func);

	if (rc == 0 && with)
		rc = bind_expr(r, outer, n->b);
	r->soft = false;
	if (rc == 0 && with)
		rc = see_target(r, &s, n->a, true);
	if (rc == 0)
		rc = see_body(r, &s, &n->kids);
	if (rc == 0 && n->type == MDL_JN_FILTER_BLOCK)
		rc = see_expr(r, &s, n->b);
	if (rc == 0 && with)
		rc = bind_target(r, &s, n->a, false);
	if (rc == 0)
		rc = bind_body(r, &s, &n->kids);
	if (rc == 0 && !with)
		rc = bind_expr(r, &s, n->b);
	if (rc == 0)
		rc = finish(r, &s, n->scope);
	r->soft = soft;
	if (rc == 0 && n->type == MDL_JN_SET_BLOCK)
		rc = bind_target(r, outer, n->a, true);
	scope_fini(&s);
	return rc;
}

static int bind_if(struct resolver *r, struct scope *s, struct mdl_jnode *n)
{
	bool soft = r->soft;
	int rc = 0;

	r->soft = true;
	for (uint32_t i = 0; rc == 0 && i < n->kids.n; i++) {
		rc = bind_expr(r, s, n->kids.v[i]->a);
		if (rc == 0)
			rc = bind_body(r, s, &n->kids.v[i]->kids);
	}
	r->soft = soft;
	return rc;
}

static int bind_statement(struct resolver *r, struct scope *s, struct mdl_jnode *n)
{
	int rc;

	switch (n->type) {
	case MDL_JN_OUTPUT: return bind_expr(r, s, n->a);
	case MDL_JN_IF: return bind_if(r, s, n);
	case MDL_JN_FOR: return bind_for(r, s, n);
	case MDL_JN_SET:
		rc = bind_expr(r, s, n->b);
		return rc < 0 ? rc : bind_target(r, s, n->a, true);
	case MDL_JN_MACRO:
		rc = bind_name(r, s, n->name, &n->ref);
		return rc < 0 ? rc : bind_func(r, s, n->func);
	case MDL_JN_CALL_BLOCK:
		rc = bind_expr(r, s, n->a);
		return rc < 0 ? rc : bind_func(r, s, n->func);
	case MDL_JN_SET_BLOCK:
	case MDL_JN_FILTER_BLOCK:
	case MDL_JN_WITH: return bind_block(r, s, n);
	default: return 0;
	}
}

static int bind_body(struct resolver *r, struct scope *s, const struct mdl_jnodes *body)
{
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < body->n; i++)
		rc = bind_statement(r, s, body->v[i]);
	return rc;
}

int mdl_jresolve(struct mdl_template *t, struct lt_err *err)
{
	struct resolver r = {.t = t, .err = err, .loop_name = name_id(t, "loop")};

	t->root.id = t->n_funcs++;
	return bind_func(&r, NULL, &t->root);
}
