/*
 * Statements, scopes and loops.
 */
#include <string.h>

#include "model/jinja-run.h"

/* --- frames and scopes ------------------------------------------------------------------------- */

int mdl_jframe_open(struct mdl_jrun *r, const struct mdl_jfunc *func, struct mdl_jframe *parent,
		    struct mdl_jframe **out)
{
	struct mdl_jframe *f = r->free_frames[func->id];

	if (f) {
		r->free_frames[func->id] = f->next_free;
	} else {
		f = mdl_jarena_alloc(&r->arena, 1, sizeof(*f) + func->n_slots * sizeof(f->v[0]));
		if (!f)
			return mdl_jno_memory(r);
	}
	f->parent = parent;
	f->next_free = NULL;
	f->func = func;
	f->captured = false;
	for (uint32_t i = 0; i < func->n_slots; i++)
		f->v[i] = MDL_JMISSING;
	*out = f;
	return mdl_jstep(r, func->n_slots / 16);
}

void mdl_jframe_close(struct mdl_jrun *r, struct mdl_jframe *f)
{
	if (f->captured)
		return;
	f->next_free = r->free_frames[f->func->id];
	r->free_frames[f->func->id] = f;
}

void mdl_jscope_enter(struct mdl_jrun *r, const struct mdl_jscope *scope)
{
	for (uint32_t i = 0; i < scope->n_loads; i++) {
		const struct mdl_jload *load = &scope->loads[i];
		struct mdl_jval *slot = &r->frame->v[load->slot];

		if (load->how == MDL_J_LOAD_CONTEXT)
			*slot = r->context[load->name];
		else if (load->how == MDL_J_LOAD_COPY)
			*slot = *mdl_jslot(r, load->from);
		else if (load->how == MDL_J_LOAD_NOTHING)
			*slot = MDL_JMISSING;
	}
	r->steps += scope->n_loads / 4; /* checked with the next step */
}

void mdl_jscope_leave(struct mdl_jrun *r, const struct mdl_jscope *scope)
{
	for (uint32_t i = 0; i < scope->n_loads; i++)
		r->frame->v[scope->loads[i].slot] = MDL_JMISSING;
}

/* --- assignment -------------------------------------------------------------------------------- */

static int unpack(struct mdl_jrun *r, const struct mdl_jnode *target, struct mdl_jval value)
{
	struct mdl_jlb lb = {0};
	int rc;

	if (!mdl_jiterable(value))
		return mdl_jfail(r, "cannot unpack non-iterable %s object", mdl_jtype_name(value));
	rc = mdl_jcollect(r, value, &lb);
	if (rc == 0 && lb.n != target->kids.n)
		return mdl_jfail(r, "%s values to unpack (expected %u, got %zu)",
				 lb.n < target->kids.n ? "not enough" : "too many", target->kids.n,
				 lb.n);
	for (size_t i = 0; rc == 0 && i < lb.n; i++)
		rc = mdl_jassign(r, target->kids.v[i], lb.v[i]);
	return rc;
}

int mdl_jassign(struct mdl_jrun *r, const struct mdl_jnode *target, struct mdl_jval value)
{
	struct mdl_jval *slot;

	if (target->type == MDL_JN_TUPLE)
		return unpack(r, target, value);
	slot = mdl_jslot(r, target->ref);
	if (target->type == MDL_JN_NAME) {
		*slot = value;
		return 0;
	}
	if (slot->kind != MDL_J_NAMESPACE)
		return mdl_jfail(r, "cannot assign attribute on non-namespace object");
	return mdl_jspace_set(r, slot->ns, target->value.s, value);
}

/* --- loops ------------------------------------------------------------------------------------- */

/* Whether the item passes the loop's condition, which runs in the variables of the loop's own
 * function, wherever the question comes from. */
static int passes(struct mdl_jrun *r, struct mdl_jloop *loop, struct mdl_jval item, bool *out)
{
	struct mdl_jframe *before = r->frame;
	struct mdl_jval test;
	int rc;

	*out = true;
	if (!loop->node->c || loop->tested)
		return 0;
	r->frame = loop->frame;
	rc = mdl_jassign(r, loop->node->loop->test_target, item);
	if (rc == 0)
		rc = mdl_jeval(r, loop->node->c, &test);
	r->frame = before;
	*out = rc == 0 && mdl_jtruth(test);
	return rc;
}

int mdl_jloop_pull(struct mdl_jrun *r, struct mdl_jloop *loop, struct mdl_jval *out, bool *more)
{
	bool found = false;
	int rc = 0;

	*more = !loop->over;
	while (rc == 0 && *more && !found) {
		rc = mdl_jiter_next(r, loop->it, out, more);
		if (rc == 0 && *more)
			rc = passes(r, loop, *out, &found);
	}
	loop->over = !*more;
	return rc;
}

/* The next item without taking it; MISSING at the end. */
static int peek(struct mdl_jrun *r, struct mdl_jloop *loop)
{
	struct mdl_jval item;
	bool more;
	int rc;

	if (loop->peeked.kind != MDL_J_MISSING)
		return 0;
	rc = mdl_jloop_pull(r, loop, &item, &more);
	if (rc == 0 && more)
		loop->peeked = item;
	return rc;
}

/* The number of items in all. If the iterable can't tell, or has a condition, what is left of it is
 * gone through now and kept. */
int mdl_jloop_length(struct mdl_jrun *r, struct mdl_jloop *loop, size_t *out)
{
	struct mdl_jlb rest = {0};
	struct mdl_jval item, list;
	bool more = true;
	int rc = 0;

	if (loop->length == SIZE_MAX && !loop->node->c &&
	    mdl_jlength(loop->own.over, &loop->length))
		LT_ASSERT(loop->length != SIZE_MAX);
	*out = loop->length;
	if (loop->length != SIZE_MAX)
		return 0;
	while (rc == 0 && more) {
		rc = mdl_jloop_pull(r, loop, &item, &more);
		if (rc == 0 && more)
			rc = mdl_jlb_add(r, &rest, item);
	}
	if (rc == 0)
		rc = mdl_jlb_finish(r, &rest, MDL_J_LIST, &list);
	if (rc < 0)
		return rc;
	loop->own = (struct mdl_jiter){.over = list};
	loop->it = &loop->own;
	loop->tested = true;
	loop->over = false;
	loop->length = rest.n + (size_t)(loop->index0 + 1) + (loop->peeked.kind != MDL_J_MISSING);
	*out = loop->length;
	return 0;
}

static struct mdl_jval no_item(const struct mdl_jstr *why)
{
	return (struct mdl_jval){.kind = MDL_J_UNDEF, .sub = MDL_J_UNDEF_HINT, .s = why};
}

/* Attributes for which the end of the loop must be known. */
static int look_ahead(struct mdl_jrun *r, struct mdl_jloop *loop, const struct mdl_jstr *name,
		      struct mdl_jval *out, bool *found)
{
	static const struct mdl_jstr no_next = {
		.data = "there is no next item", .n = 21, .chars = 21};
	size_t length;
	int rc;

	*found = true;
	if (mdl_jstr_is(name, "last") || mdl_jstr_is(name, "nextitem")) {
		bool last;

		rc = peek(r, loop);
		last = loop->peeked.kind == MDL_J_MISSING;
		if (name->n == 4)
			*out = MDL_JBOOL(last);
		else
			*out = last ? no_item(&no_next) : loop->peeked;
		return rc;
	}
	*found = mdl_jstr_is(name, "length") || mdl_jstr_is(name, "revindex") ||
		 mdl_jstr_is(name, "revindex0");
	if (!*found)
		return 0;
	rc = mdl_jloop_length(r, loop, &length);
	if (rc < 0)
		return rc;
	*out = MDL_JINT((int64_t)length);
	if (name->n > 6)
		out->i -= loop->index0 + (name->n == 9);
	return 0;
}

int mdl_jloop_attr(struct mdl_jrun *r, struct mdl_jloop *loop, const struct mdl_jstr *name,
		   struct mdl_jval *out, bool *found)
{
	static const struct mdl_jstr no_previous = {
		.data = "there is no previous item", .n = 25, .chars = 25};

	*found = true;
	if (mdl_jstr_is(name, "index0"))
		*out = MDL_JINT(loop->index0);
	else if (mdl_jstr_is(name, "index"))
		*out = MDL_JINT(loop->index0 + 1);
	else if (mdl_jstr_is(name, "first"))
		*out = MDL_JBOOL(loop->index0 == 0);
	else if (mdl_jstr_is(name, "depth") || mdl_jstr_is(name, "depth0"))
		*out = MDL_JINT(name->n == 5);
	else if (mdl_jstr_is(name, "previtem"))
		*out = loop->index0 == 0 ? no_item(&no_previous) : loop->previous;
	else
		return look_ahead(r, loop, name, out, found);
	return 0;
}

/* Steps to the next item and runs the body for it. */
static int iterate(struct mdl_jrun *r, const struct mdl_jnode *n, struct mdl_jloop *loop,
		   bool *more)
{
	struct mdl_jval item = loop->peeked;
	int rc = 0;

	*more = true;
	loop->peeked = MDL_JMISSING;
	if (item.kind == MDL_J_MISSING)
		rc = mdl_jloop_pull(r, loop, &item, more);
	if (rc < 0 || !*more)
		return rc;
	loop->index0++;
	loop->previous = loop->current;
	loop->current = item;
	rc = mdl_jassign(r, n->a, item);
	if (rc < 0)
		return rc;
	mdl_jscope_enter(r, &n->loop->body_scope);
	return mdl_jexec(r, &n->kids);
}

static int exec_for(struct mdl_jrun *r, const struct mdl_jnode *n)
{
	struct mdl_jloop plain, *loop = &plain;
	struct mdl_jval over;
	bool more = true, completed = false;
	int rc = mdl_jeval(r, n->b, &over);

	if (rc == 0 && n->loop->extended) {
		loop = mdl_jarena_alloc(&r->arena, 1, sizeof(*loop));
		if (!loop)
			return mdl_jno_memory(r);
	}
	if (rc < 0)
		return rc;
	*loop = (struct mdl_jloop){.node = n, .frame = r->frame, .index0 = -1, .length = SIZE_MAX};
	rc = mdl_jiter_open(r, over, &loop->own, &loop->it);
	if (rc < 0)
		return rc;
	if (n->loop->extended)
		*mdl_jslot(r, n->loop->loop) = (struct mdl_jval){.kind = MDL_J_LOOP, .loop = loop};
	mdl_jscope_enter(r, &n->loop->test_scope);
	while (rc >= 0 && rc != MDL_J_BREAK && more) {
		rc = iterate(r, n, loop, &more);
		completed |= rc == MDL_J_NEXT && more;
	}
	mdl_jscope_leave(r, &n->loop->body_scope);
	if (rc < 0)
		return rc;
	/* "else" is for loops of which no round came to its end, be it for lack of items or by a
	 * jump: so the language has it */
	if (!completed) {
		mdl_jscope_enter(r, &n->loop->else_scope);
		rc = mdl_jexec(r, &n->loop->else_body);
		mdl_jscope_leave(r, &n->loop->else_scope);
		return rc;
	}
	return MDL_J_NEXT;
}

/* --- other statements -------------------------------------------------------------------------- */

static int exec_if(struct mdl_jrun *r, const struct mdl_jnode *n)
{
	struct mdl_jval test;
	int rc;

	for (uint32_t i = 0; i < n->kids.n; i++) {
		const struct mdl_jnode *branch = n->kids.v[i];

		if (branch->a) {
			rc = mdl_jeval(r, branch->a, &test);
			if (rc < 0)
				return rc;
			if (!mdl_jtruth(test))
				continue;
		}
		return mdl_jexec(r, &branch->kids);
	}
	return MDL_J_NEXT;
}

/* Runs the body with its output captured in *text. A jump out of the body leaves no text. */
static int capture(struct mdl_jrun *r, const struct mdl_jnodes *body, struct mdl_jval *text)
{
	struct mdl_jsb sb = {0}, *before = r->out;
	int rc;

	r->out = &sb;
	rc = mdl_jexec(r, body);
	r->out = before;
	return rc != MDL_J_NEXT ? rc : mdl_jsb_finish(r, &sb, text);
}

/* Outputs what a filter or call block gives, which must be text. */
static int put_text(struct mdl_jrun *r, struct mdl_jval v)
{
	if (v.kind != MDL_J_STR)
		return mdl_jfail(r, "the block gives %s, not text", mdl_jtype_name(v));
	return mdl_jsb_add_str(r, r->out, v.s);
}

/* Set and filter blocks: the body's text through the filters. */
static int exec_block(struct mdl_jrun *r, const struct mdl_jnode *n)
{
	const struct mdl_jval *before = r->block_text;
	struct mdl_jval text, value;
	int rc;

	mdl_jscope_enter(r, n->scope);
	rc = capture(r, &n->kids, &text);
	if (rc != MDL_J_NEXT)
		return rc;
	value = text;
	if (n->b) {
		r->block_text = &text;
		rc = mdl_jeval(r, n->b, &value);
		r->block_text = before;
	}
	if (rc == 0 && n->type == MDL_JN_FILTER_BLOCK)
		rc = put_text(r, value);
	else if (rc == 0)
		rc = mdl_jassign(r, n->a, value);
	mdl_jscope_leave(r, n->scope);
	return rc;
}

static int exec_with(struct mdl_jrun *r, const struct mdl_jnode *n)
{
	struct mdl_jval value;
	int rc = 0;

	mdl_jscope_enter(r, n->scope);
	for (uint32_t i = 0; rc == 0 && i < n->a->kids.n; i++) {
		rc = mdl_jeval(r, n->b->kids.v[i], &value);
		if (rc == 0)
			rc = mdl_jassign(r, n->a->kids.v[i], value);
	}
	if (rc == 0)
		rc = mdl_jexec(r, &n->kids);
	mdl_jscope_leave(r, n->scope);
	return rc;
}

/* A macro, or the body of a call block, with the variables it is defined among. */
static int make_macro(struct mdl_jrun *r, const struct mdl_jfunc *func, struct mdl_jval *out)
{
	struct mdl_jmacro *m = mdl_jarena_alloc(&r->arena, 1, sizeof(*m));

	if (!m)
		return mdl_jno_memory(r);
	*m = (struct mdl_jmacro){.func = func, .env = r->frame};
	r->frame->captured = true;
	*out = (struct mdl_jval){.kind = MDL_J_MACRO, .macro = m};
	return 0;
}

static int exec_call_block(struct mdl_jrun *r, const struct mdl_jnode *n)
{
	struct mdl_jval caller, result;
	int rc = make_macro(r, n->func, &caller);

	if (rc == 0)
		rc = mdl_jeval_call(r, n->a, &caller, &result);
	return rc < 0 ? rc : put_text(r, result);
}

static int exec_one(struct mdl_jrun *r, const struct mdl_jnode *n)
{
	struct mdl_jval v;
	int rc;

	switch (n->type) {
	case MDL_JN_DATA: return mdl_jsb_add_str(r, r->out, n->value.s);
	case MDL_JN_OUTPUT:
		rc = mdl_jeval(r, n->a, &v);
		return rc < 0 ? rc : mdl_jprint(r, r->out, v);
	case MDL_JN_SET: rc = mdl_jeval(r, n->b, &v); return rc < 0 ? rc : mdl_jassign(r, n->a, v);
	case MDL_JN_IF: return exec_if(r, n);
	case MDL_JN_FOR: return exec_for(r, n);
	case MDL_JN_WITH: return exec_with(r, n);
	case MDL_JN_SET_BLOCK:
	case MDL_JN_FILTER_BLOCK: return exec_block(r, n);
	case MDL_JN_CALL_BLOCK: return exec_call_block(r, n);
	case MDL_JN_MACRO: return make_macro(r, n->func, mdl_jslot(r, n->ref));
	case MDL_JN_BREAK: return MDL_J_BREAK;
	default: return MDL_J_CONTINUE;
	}
}

int mdl_jexec(struct mdl_jrun *r, const struct mdl_jnodes *body)
{
	int rc = mdl_jenter(r);

	if (rc < 0)
		return rc;
	for (uint32_t i = 0; rc == MDL_J_NEXT && i < body->n; i++) {
		rc = mdl_jstep(r, 1);
		r->line = body->v[i]->line;
		if (rc == 0)
			rc = exec_one(r, body->v[i]);
	}
	mdl_jleave(r);
	return rc;
}
