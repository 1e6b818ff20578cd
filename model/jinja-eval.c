/*
 * Expressions. Each node costs a step; nesting counts against the rendering's depth, so that the
 * stack is bounded whatever a template does.
 */
#include <string.h>

#include "model/jinja-run.h"

struct mdl_jval *mdl_jslot(struct mdl_jrun *r, struct mdl_jref ref)
{
	struct mdl_jframe *f = r->frame;

	for (uint32_t i = 0; i < ref.hops; i++)
		f = f->parent;
	return &f->v[ref.slot];
}

static int eval_name(struct mdl_jrun *r, const struct mdl_jnode *n, struct mdl_jval *out)
{
	*out = *mdl_jslot(r, n->ref);
	if (out->kind == MDL_J_MISSING)
		*out = (struct mdl_jval){
			.kind = MDL_J_UNDEF, .sub = MDL_J_UNDEF_NAME, .s = r->t->names[n->name]};
	return 0;
}

static int eval_items(struct mdl_jrun *r, const struct mdl_jnode *n, enum mdl_jkind kind,
		      struct mdl_jval *out)
{
	struct mdl_jlb lb = {0};
	struct mdl_jval item;
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < n->kids.n; i++) {
		rc = mdl_jeval(r, n->kids.v[i], &item);
		if (rc == 0)
			rc = mdl_jlb_add(r, &lb, item);
	}
	return rc < 0 ? rc : mdl_jlb_finish(r, &lb, kind, out);
}

static int eval_dict(struct mdl_jrun *r, const struct mdl_jnode *n, struct mdl_jval *out)
{
	size_t count = n->kids.n / 2;
	struct mdl_jpair *v = mdl_jarena_alloc(&r->arena, count, sizeof(*v));
	int rc = 0;

	if (!v)
		return mdl_jno_memory(r);
	for (size_t i = 0; rc == 0 && i < count; i++) {
		rc = mdl_jeval(r, n->kids.v[2 * i], &v[i].key);
		if (rc == 0)
			rc = mdl_jeval(r, n->kids.v[2 * i + 1], &v[i].value);
	}
	return rc < 0 ? rc : mdl_jdict_new(r, v, count, out);
}

static int eval_cond(struct mdl_jrun *r, const struct mdl_jnode *n, struct mdl_jval *out)
{
	static const struct mdl_jstr why = {
		.data = "an inline 'if' without 'else' was false", .n = 39, .chars = 39};
	struct mdl_jval test;
	int rc = mdl_jeval(r, n->a, &test);

	if (rc < 0)
		return rc;
	if (mdl_jtruth(test))
		return mdl_jeval(r, n->b, out);
	if (n->c)
		return mdl_jeval(r, n->c, out);
	*out = (struct mdl_jval){.kind = MDL_J_UNDEF, .sub = MDL_J_UNDEF_HINT, .s = &why};
	return 0;
}

/* and, or: the operand that decides. */
static int eval_logic(struct mdl_jrun *r, const struct mdl_jnode *n, struct mdl_jval *out)
{
	int rc = mdl_jeval(r, n->a, out);

	if (rc < 0 || mdl_jtruth(*out) == (n->type == MDL_JN_OR))
		return rc;
	return mdl_jeval(r, n->b, out);
}

static int compare(struct mdl_jrun *r, enum mdl_jtok op, struct mdl_jval a, struct mdl_jval b,
		   bool *out)
{
	int rc;

	switch (op) {
	case MDL_JT_EQ: return mdl_jequal(r, a, b, out);
	case MDL_JT_NE:
		rc = mdl_jequal(r, a, b, out);
		*out = !*out;
		return rc;
	case MDL_JT_IN: return mdl_jcontains(r, a, b, out);
	case MDL_JT_NOT_IN:
		rc = mdl_jcontains(r, a, b, out);
		*out = !*out;
		return rc;
	default: return mdl_jorder(r, a, b, op, out);
	}
}

/* a < b < c ...: each operand once, until one comparison fails. */
static int eval_compare(struct mdl_jrun *r, const struct mdl_jnode *n, struct mdl_jval *out)
{
	struct mdl_jval left, right;
	bool holds = true;
	int rc = mdl_jeval(r, n->a, &left);

	for (uint32_t i = 0; rc == 0 && holds && i < n->kids.n; i++) {
		rc = mdl_jeval(r, n->kids.v[i]->a, &right);
		if (rc == 0)
			rc = compare(r, (enum mdl_jtok)n->kids.v[i]->op, left, right, &holds);
		left = right;
	}
	*out = MDL_JBOOL(holds);
	return rc;
}

static int eval_concat(struct mdl_jrun *r, const struct mdl_jnode *n, struct mdl_jval *out)
{
	struct mdl_jval left, right;
	int rc = mdl_jeval(r, n->kids.v[0], &left);

	if (rc == 0)
		rc = mdl_jto_str(r, left, &left);
	for (uint32_t i = 1; rc == 0 && i < n->kids.n; i++) {
		rc = mdl_jeval(r, n->kids.v[i], &right);
		if (rc == 0)
			rc = mdl_jto_str(r, right, &right);
		if (rc == 0)
			rc = mdl_jstr_concat(r, left.s, right.s, &left);
	}
	if (rc == 0 && left.s->markup) { /* the result is a plain string */
		struct mdl_jval plain;

		rc = mdl_jstr_new(r, left.s->data, left.s->n, left.s->trusted, &plain);
		if (rc == 0)
			((struct mdl_jstr *)plain.s)->trust = left.s->trust;
		left = plain;
	}
	*out = left;
	return rc;
}

/* Part of a slice; MISSING if it is not there. */
static int eval_part(struct mdl_jrun *r, const struct mdl_jnode *n, struct mdl_jval *out)
{
	*out = MDL_JMISSING;
	return n ? mdl_jeval(r, n, out) : 0;
}

static int eval_item(struct mdl_jrun *r, const struct mdl_jnode *n, struct mdl_jval *out)
{
	struct mdl_jval obj, key, part[3];
	int rc = mdl_jeval(r, n->a, &obj);

	if (rc < 0)
		return rc;
	if (n->b->type != MDL_JN_SLICE) {
		rc = mdl_jeval(r, n->b, &key);
		return rc < 0 ? rc : mdl_jgetitem(r, obj, key, out);
	}
	if ((rc = eval_part(r, n->b->a, &part[0])) < 0 ||
	    (rc = eval_part(r, n->b->b, &part[1])) < 0 ||
	    (rc = eval_part(r, n->b->c, &part[2])) < 0)
		return rc;
	return mdl_jslice(r, obj, part[0], part[1], part[2], out);
}

/* --- calls ------------------------------------------------------------------------------------- */

static int add_pos(struct mdl_jrun *r, struct mdl_jcall *call, size_t *cap, struct mdl_jval v)
{
	if (call->n_pos == *cap) {
		struct mdl_jval *wider = mdl_jarena_alloc(&r->arena, *cap * 2, sizeof(*wider));

		if (!wider)
			return mdl_jno_memory(r);
		memcpy(wider, call->pos, call->n_pos * sizeof(*wider));
		call->pos = wider;
		*cap *= 2;
	}
	call->pos[call->n_pos++] = v;
	return 0;
}

static int add_kw(struct mdl_jrun *r, struct mdl_jcall *call, size_t *cap, struct mdl_jval key,
		  struct mdl_jval v)
{
	for (size_t i = 0; i < call->n_kw; i++) {
		if (mdl_jstr_eq(call->kw[i].key.s, key.s))
			return mdl_jfail(r, "keyword argument '%.*s' given twice",
					 (int)(key.s->n < 64 ? key.s->n : 64), key.s->data);
	}
	if (call->n_kw == *cap) {
		struct mdl_jpair *wider = mdl_jarena_alloc(&r->arena, *cap * 2, sizeof(*wider));

		if (!wider)
			return mdl_jno_memory(r);
		memcpy(wider, call->kw, call->n_kw * sizeof(*wider));
		call->kw = wider;
		*cap *= 2;
	}
	call->kw[call->n_kw++] = (struct mdl_jpair){.key = key, .value = v};
	return mdl_jstep(r, call->n_kw / 16);
}

static int add_dyn_pos(struct mdl_jrun *r, const struct mdl_jnode *n, struct mdl_jcall *call,
		       size_t *cap)
{
	struct mdl_jlb lb = {0};
	struct mdl_jval v;
	int rc = mdl_jeval(r, n, &v);

	if (rc == 0)
		rc = mdl_jcollect(r, v, &lb);
	for (size_t i = 0; rc == 0 && i < lb.n; i++)
		rc = add_pos(r, call, cap, lb.v[i]);
	return rc;
}

static int add_dyn_kw(struct mdl_jrun *r, const struct mdl_jnode *n, struct mdl_jcall *call,
		      size_t *cap)
{
	struct mdl_jval v;
	int rc = mdl_jeval(r, n, &v);

	if (rc == 0 && v.kind != MDL_J_DICT)
		return mdl_jfail(r, "argument after ** must be a mapping, not %s",
				 mdl_jtype_name(v));
	for (size_t i = 0; rc == 0 && i < v.d->n; i++) {
		if (v.d->v[i].key.kind != MDL_J_STR)
			return mdl_jfail(r, "keywords must be strings");
		rc = add_kw(r, call, cap, v.d->v[i].key, v.d->v[i].value);
	}
	return rc;
}

int mdl_jeval_args(struct mdl_jrun *r, const struct mdl_jargs *args, struct mdl_jcall *call)
{
	size_t cap_pos = sizeof(call->own_pos) / sizeof(call->own_pos[0]);
	size_t cap_kw = sizeof(call->own_kw) / sizeof(call->own_kw[0]);
	struct mdl_jval v;
	int rc = 0;

	call->pos = call->own_pos;
	call->kw = call->own_kw;
	call->n_pos = call->n_kw = 0;
	for (uint32_t i = 0; rc == 0 && i < args->pos.n; i++) {
		rc = mdl_jeval(r, args->pos.v[i], &v);
		if (rc == 0)
			rc = add_pos(r, call, &cap_pos, v);
	}
	if (rc == 0 && args->dyn_pos)
		rc = add_dyn_pos(r, args->dyn_pos, call, &cap_pos);
	for (uint32_t i = 0; rc == 0 && i < args->kw.n; i++) {
		rc = mdl_jeval(r, args->kw.v[i], &v);
		if (rc == 0)
			rc = add_kw(r, call, &cap_kw, MDL_JSTR(args->kw_names[i]), v);
	}
	if (rc == 0 && args->dyn_kw)
		rc = add_dyn_kw(r, args->dyn_kw, call, &cap_kw);
	return rc;
}

static int add_caller(struct mdl_jrun *r, struct mdl_jcall *call, struct mdl_jval caller)
{
	static const struct mdl_jstr name = {.data = "caller", .n = 6, .chars = 6};
	size_t cap =
		call->kw == call->own_kw ? 2 : call->n_kw; /* at worst it is copied once more */

	return add_kw(r, call, &cap, MDL_JSTR(&name), caller);
}

int mdl_jeval_call(struct mdl_jrun *r, const struct mdl_jnode *n, const struct mdl_jval *caller,
		   struct mdl_jval *out)
{
	const struct mdl_jnode *callee = n->a;
	const struct mdl_jspec *method = NULL;
	struct mdl_jval f, self;
	struct mdl_jcall call;
	int rc;

	/* obj.method(...) is so common that it goes without a bound method in between */
	if (callee->type == MDL_JN_ATTR) {
		rc = mdl_jeval(r, callee->a, &self);
		if (rc == 0)
			method = mdl_jmethod_find(self.kind, callee->value.s);
		if (rc == 0 && !method)
			rc = mdl_jgetattr(r, self, callee->value.s, &f);
	} else {
		rc = mdl_jeval(r, callee, &f);
	}
	if (rc == 0)
		rc = mdl_jeval_args(r, n->args, &call);
	if (rc == 0 && caller)
		rc = add_caller(r, &call, *caller);
	if (rc < 0)
		return rc;
	r->line = n->line;
	if (method)
		return mdl_japply(r, method, "method", self, &call, out);
	return mdl_jcall(r, f, &call, out);
}

static int eval_filter(struct mdl_jrun *r, const struct mdl_jnode *n, struct mdl_jval *out)
{
	const char *what = n->type == MDL_JN_FILTER ? "filter" : "test";
	struct mdl_jval self;
	struct mdl_jcall call;
	int rc = 0;

	if (!n->args->spec)
		return mdl_jfail(r, "no %s named '%.*s'", what, (int)n->value.s->n,
				 n->value.s->data);
	if (n->a)
		rc = mdl_jeval(r, n->a, &self);
	else
		self = *r->block_text;
	if (rc == 0)
		rc = mdl_jeval_args(r, n->args, &call);
	if (rc < 0)
		return rc;
	r->line = n->line;
	return mdl_japply(r, n->args->spec, what, self, &call, out);
}

/* --- every node -------------------------------------------------------------------------------- */

static int eval_deep(struct mdl_jrun *r, const struct mdl_jnode *n, struct mdl_jval *out)
{
	struct mdl_jval a, b;
	int rc;

	switch (n->type) {
	case MDL_JN_TUPLE: return eval_items(r, n, MDL_J_TUPLE, out);
	case MDL_JN_LIST: return eval_items(r, n, MDL_J_LIST, out);
	case MDL_JN_DICT: return eval_dict(r, n, out);
	case MDL_JN_COND: return eval_cond(r, n, out);
	case MDL_JN_OR:
	case MDL_JN_AND: return eval_logic(r, n, out);
	case MDL_JN_NOT:
		rc = mdl_jeval(r, n->a, &a);
		*out = MDL_JBOOL(rc == 0 && !mdl_jtruth(a));
		return rc;
	case MDL_JN_NEG:
	case MDL_JN_POS:
		rc = mdl_jeval(r, n->a, &a);
		return rc < 0 ? rc : mdl_jnegate(r, a, n->type == MDL_JN_NEG, out);
	case MDL_JN_BIN:
		if ((rc = mdl_jeval(r, n->a, &a)) < 0 || (rc = mdl_jeval(r, n->b, &b)) < 0)
			return rc;
		r->line = n->line;
		return mdl_jbinary(r, (enum mdl_jtok)n->op, a, b, out);
	case MDL_JN_COMPARE: return eval_compare(r, n, out);
	case MDL_JN_CONCAT: return eval_concat(r, n, out);
	case MDL_JN_ATTR:
		rc = mdl_jeval(r, n->a, &a);
		return rc < 0 ? rc : mdl_jgetattr(r, a, n->value.s, out);
	case MDL_JN_ITEM: return eval_item(r, n, out);
	case MDL_JN_CALL: return mdl_jeval_call(r, n, NULL, out);
	default: return eval_filter(r, n, out);
	}
}

int mdl_jeval(struct mdl_jrun *r, const struct mdl_jnode *n, struct mdl_jval *out)
{
	int rc = mdl_jstep(r, 1);

	if (rc < 0)
		return rc;
	r->line = n->line;
	if (n->type == MDL_JN_CONST) {
		*out = n->value;
		return 0;
	}
	if (n->type == MDL_JN_NAME)
		return eval_name(r, n, out);
	rc = mdl_jenter(r);
	if (rc < 0)
		return rc;
	rc = eval_deep(r, n, out);
	mdl_jleave(r);
	return rc;
}
