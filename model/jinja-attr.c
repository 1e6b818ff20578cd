/*
 * x.name, x[key] and x[a:b:c]. "x.name" means an attribute first (methods), then an item; "x[key]"
 * an item first. What is not there is undefined, which is a fault only when it is used. Whatever
 * would change a list or dict is undefined too, and says so when it is called.
 */
#include <string.h>

#include "model/jinja-run.h"
#include "model/jinja-unicode.h"

static struct mdl_jval undefined(enum mdl_jundef why, struct mdl_jval obj, const struct mdl_jstr *s)
{
	return (struct mdl_jval){
		.kind = MDL_J_UNDEF, .sub = (uint8_t)why, .what = obj.kind, .s = s};
}

int mdl_jfail_undef(struct mdl_jrun *r, struct mdl_jval v)
{
	int n = v.s ? (int)(v.s->n < 100 ? v.s->n : 100) : 0;
	const char *s = v.s ? v.s->data : "", *of = mdl_jkind_name(v.what);

	if (v.what == MDL_J_NONE)
		of = "None";
	switch (v.sub) {
	case MDL_J_UNDEF_NAME: return mdl_jfail(r, "'%.*s' is undefined", n, s);
	case MDL_J_UNDEF_ATTR:
		return mdl_jfail(r, "'%s%s' has no attribute '%.*s'", of,
				 v.what == MDL_J_NONE ? "" : " object", n, s);
	case MDL_J_UNDEF_ITEM:
		return mdl_jfail(r, "%s%s has no such element", of,
				 v.what == MDL_J_NONE ? "" : " object");
	case MDL_J_UNDEF_UNSAFE:
		return mdl_jfail(r, "'%.*s' of a %s is not allowed: it would change it", n, s, of);
	default: return mdl_jfail(r, "%.*s", n, s);
	}
}

static bool is_one_of(const struct mdl_jstr *name, const char *const *list)
{
	for (; *list; list++) {
		if (mdl_jstr_is(name, *list))
			return true;
	}
	return false;
}

/* Methods that exist but change their object; and what the language hides from templates. */
static bool is_unsafe(unsigned kind, const struct mdl_jstr *name)
{
	static const char *const list[] = {"append", "clear",	"extend", "insert", "pop",
					   "remove", "reverse", "sort",	  NULL};
	static const char *const dict[] = {"clear", "pop", "popitem", "setdefault", "update", NULL};

	if (kind == MDL_J_LIST)
		return is_one_of(name, list);
	if (kind == MDL_J_DICT)
		return is_one_of(name, dict);
	return false;
}

static int macro_attr(struct mdl_jrun *r, const struct mdl_jfunc *f, const struct mdl_jstr *name,
		      struct mdl_jval *out, bool *found)
{
	struct mdl_jlb lb = {0};
	int rc = 0;

	*found = true;
	if (mdl_jstr_is(name, "name"))
		*out = f->name ? MDL_JSTR(f->name) : MDL_JNONE;
	else if (mdl_jstr_is(name, "caller"))
		*out = MDL_JBOOL(f->takes_caller);
	else if (mdl_jstr_is(name, "catch_kwargs"))
		*out = MDL_JBOOL(f->takes_kwargs);
	else if (mdl_jstr_is(name, "catch_varargs"))
		*out = MDL_JBOOL(f->takes_varargs);
	else if (mdl_jstr_is(name, "arguments")) {
		for (uint32_t i = 0; rc == 0 && i < f->params.n; i++)
			rc = mdl_jlb_add(r, &lb, MDL_JSTR(r->t->names[f->params.v[i]->name]));
		return rc < 0 ? rc : mdl_jlb_finish(r, &lb, MDL_J_TUPLE, out);
	} else
		*found = false;
	return 0;
}

/* Attributes that are data. */
static int data_attr(struct mdl_jrun *r, struct mdl_jval obj, const struct mdl_jstr *name,
		     struct mdl_jval *out, bool *found)
{
	const struct mdl_jval *v;

	*found = false;
	switch (obj.kind) {
	case MDL_J_NAMESPACE:
		v = mdl_jspace_get(obj.ns, name);
		*found = v != NULL;
		if (v)
			*out = *v;
		return 0;
	case MDL_J_LOOP: return mdl_jloop_attr(r, obj.loop, name, out, found);
	case MDL_J_MACRO: return macro_attr(r, obj.macro->func, name, out, found);
	case MDL_J_CYCLER:
		*found = mdl_jstr_is(name, "current");
		if (*found)
			*out = obj.cycler->items.v[obj.cycler->at];
		return 0;
	case MDL_J_RANGE:
		*found = mdl_jstr_is(name, "start") || mdl_jstr_is(name, "stop") ||
			 mdl_jstr_is(name, "step");
		if (*found)
			*out = MDL_JINT(name->n == 5	       ? obj.range->start
					: name->data[2] == 'o' ? obj.range->stop
							       : obj.range->step);
		return 0;
	case MDL_J_TUPLE:
		*found =
			obj.sub == 1 && (mdl_jstr_is(name, "grouper") || mdl_jstr_is(name, "list"));
		if (*found)
			*out = obj.l->v[name->n == 4];
		return 0;
	default: return 0;
	}
}

int mdl_jattribute(struct mdl_jrun *r, struct mdl_jval obj, const struct mdl_jstr *name,
		   struct mdl_jval *out, bool *found)
{
	const struct mdl_jspec *method;
	struct mdl_jbound *bound;
	int rc;

	if (obj.kind == MDL_J_UNDEF)
		return mdl_jfail_undef(r, obj);
	rc = data_attr(r, obj, name, out, found);
	if (rc < 0 || *found)
		return rc;
	*found = true;
	if (is_unsafe(obj.kind, name) ||
	    (obj.kind != MDL_J_NAMESPACE && name->n > 4 && memcmp(name->data, "__", 2) == 0 &&
	     memcmp(name->data + name->n - 2, "__", 2) == 0)) {
		*out = undefined(MDL_J_UNDEF_UNSAFE, obj, name);
		return 0;
	}
	method = mdl_jmethod_find(obj.kind, name);
	*found = method != NULL;
	if (!method)
		return 0;
	bound = mdl_jarena_alloc(&r->arena, 1, sizeof(*bound));
	if (!bound)
		return mdl_jno_memory(r);
	*bound = (struct mdl_jbound){.self = obj, .method = method};
	*out = (struct mdl_jval){.kind = MDL_J_METHOD, .bound = bound};
	return 0;
}

/* The item, if there is one: no attribute, no fault. */
static int item(struct mdl_jrun *r, struct mdl_jval obj, struct mdl_jval key, struct mdl_jval *out,
		bool *found)
{
	const struct mdl_jval *v;
	size_t n, from, len;
	int64_t i;

	*found = false;
	if (obj.kind == MDL_J_DICT) {
		v = mdl_jdict_get(r, obj.d, key);
		*found = v != NULL;
		if (v)
			*out = *v;
		return 0;
	}
	if ((obj.kind != MDL_J_LIST && obj.kind != MDL_J_TUPLE && obj.kind != MDL_J_STR &&
	     obj.kind != MDL_J_RANGE) ||
	    !mdl_jinteger(key, &i) || !mdl_jlength(obj, &n))
		return 0;
	if (i < 0)
		i += (int64_t)n;
	if (i < 0 || (uint64_t)i >= n)
		return 0;
	*found = true;
	if (obj.kind == MDL_J_RANGE)
		*out = mdl_jrange_at(obj.range, (size_t)i);
	else if (obj.kind != MDL_J_STR)
		*out = obj.l->v[i];
	else if (n == obj.s->n)
		return mdl_jstr_sub(r, obj.s, (size_t)i, 1, out);
	else {
		from = mdl_juni_offset(obj.s->data, obj.s->n, (size_t)i);
		mdl_juni_next(obj.s->data + from, obj.s->n - from, &len);
		if (mdl_jstep_bytes(r, from) < 0)
			return LT_ETIMEOUT;
		return mdl_jstr_sub(r, obj.s, from, len, out);
	}
	return 0;
}

int mdl_jgetattr(struct mdl_jrun *r, struct mdl_jval obj, const struct mdl_jstr *name,
		 struct mdl_jval *out)
{
	bool found;
	int rc = mdl_jattribute(r, obj, name, out, &found);

	if (rc == 0 && !found)
		rc = item(r, obj, MDL_JSTR(name), out, &found);
	if (rc == 0 && !found)
		*out = undefined(MDL_J_UNDEF_ATTR, obj, name);
	return rc;
}

int mdl_jgetitem(struct mdl_jrun *r, struct mdl_jval obj, struct mdl_jval key, struct mdl_jval *out)
{
	bool found;
	int rc;

	if (obj.kind == MDL_J_UNDEF)
		return mdl_jfail_undef(r, obj);
	rc = item(r, obj, key, out, &found);
	if (rc == 0 && !found && key.kind == MDL_J_STR)
		rc = mdl_jattribute(r, obj, key.s, out, &found);
	if (rc == 0 && !found)
		*out = key.kind == MDL_J_STR ? undefined(MDL_J_UNDEF_ATTR, obj, key.s)
					     : undefined(MDL_J_UNDEF_ITEM, obj, NULL);
	return rc;
}

/* --- slices ------------------------------------------------------------------------------------ */

/* One bound: none gives `none`; negative counts from the end; clipped to [lo, hi]. */
static int bound(struct mdl_jrun *r, struct mdl_jval v, int64_t none, int64_t n, int64_t lo,
		 int64_t hi, int64_t *out)
{
	if (v.kind == MDL_J_MISSING || v.kind == MDL_J_NONE) {
		*out = none;
		return 0;
	}
	if (!mdl_jinteger(v, out))
		return mdl_jfail(r, "slice indices must be integers or None, not %s",
				 mdl_jtype_name(v));
	if (*out < 0)
		*out += n; /* n >= 0: no overflow */
	if (*out < lo)
		*out = lo;
	if (*out > hi)
		*out = hi;
	return 0;
}

/* start, step and number of items of a slice of n items. */
static int bounds(struct mdl_jrun *r, struct mdl_jval start, struct mdl_jval stop,
		  struct mdl_jval step, int64_t n, int64_t *from, int64_t *by, int64_t *count)
{
	int64_t to = 0;
	bool back;
	int rc;

	*by = 1;
	if (step.kind != MDL_J_MISSING && step.kind != MDL_J_NONE && !mdl_jinteger(step, by))
		return mdl_jfail(r, "slice indices must be integers or None, not %s",
				 mdl_jtype_name(step));
	if (*by == 0)
		return mdl_jfail(r, "slice step cannot be zero");
	if (*by < -INT64_MAX)
		*by = -INT64_MAX;
	back = *by < 0;
	rc = bound(r, start, back ? n - 1 : 0, n, back ? -1 : 0, back ? n - 1 : n, from);
	if (rc == 0)
		rc = bound(r, stop, back ? -1 : n, n, back ? -1 : 0, back ? n - 1 : n, &to);
	if (rc < 0)
		return rc;
	*count = back ? (*from - to - 1) / -*by + 1 : (to - *from - 1) / *by + 1;
	if (back ? to >= *from : *from >= to)
		*count = 0;
	return 0;
}

static int slice_str(struct mdl_jrun *r, const struct mdl_jstr *s, int64_t from, int64_t by,
		     int64_t count, struct mdl_jval *out)
{
	bool ascii = mdl_jstr_chars(s) == s->n;
	struct mdl_jsb sb = {0};
	int rc = mdl_jstep_bytes(r, s->n);

	if (rc < 0)
		return rc;
	if (by == 1 || count <= 1) {
		size_t a = ascii ? (size_t)from : mdl_juni_offset(s->data, s->n, (size_t)from);
		size_t len = ascii ? (size_t)count
				   : mdl_juni_offset(s->data + a, s->n - a, (size_t)count);

		return mdl_jstr_sub(r, s, count ? a : 0, len, out);
	}
	/* Walks in one direction, character by character. */
	size_t at = ascii ? (size_t)from : mdl_juni_offset(s->data, s->n, (size_t)from), len;

	for (int64_t i = 0; rc == 0 && i < count; i++) {
		mdl_juni_next(s->data + at, s->n - at, &len);
		rc = mdl_jsb_add_sub(r, &sb, s, at, len);
		for (int64_t k = 0; i + 1 < count && k < (by < 0 ? -by : by); k++) {
			if (by < 0)
				mdl_juni_prev(s->data, at, &len);
			else
				mdl_juni_next(s->data + at, s->n - at, &len);
			at = by < 0 ? at - len : at + len;
		}
	}
	return rc < 0 ? rc : mdl_jsb_finish(r, &sb, out);
}

static int slice_list(struct mdl_jrun *r, struct mdl_jval v, int64_t from, int64_t by,
		      int64_t count, struct mdl_jval *out)
{
	struct mdl_jlb lb = {0};
	struct mdl_jlist *l;
	int rc = 0;

	if (by == 1) {
		l = mdl_jarena_alloc(&r->arena, 1, sizeof(*l));
		if (!l)
			return mdl_jno_memory(r);
		*l = (struct mdl_jlist){.v = v.l->v + (count ? from : 0), .n = (size_t)count};
		*out = (struct mdl_jval){.kind = v.kind, .l = l};
		return 0;
	}
	for (int64_t i = 0; rc == 0 && i < count; i++)
		rc = mdl_jlb_add(r, &lb, v.l->v[from + i * by]);
	return rc < 0 ? rc : mdl_jlb_finish(r, &lb, (enum mdl_jkind)v.kind, out);
}

static int slice_range(struct mdl_jrun *r, const struct mdl_jrange *v, int64_t from, int64_t by,
		       int64_t count, struct mdl_jval *out)
{
	struct mdl_jrange *range = mdl_jarena_alloc(&r->arena, 1, sizeof(*range));

	if (!range)
		return mdl_jno_memory(r);
	*range = (struct mdl_jrange){.n = (size_t)count};
	if (__builtin_mul_overflow(v->step, by, &range->step) ||
	    __builtin_mul_overflow(v->step, from, &range->start) ||
	    __builtin_add_overflow(v->start, range->start, &range->start) ||
	    __builtin_mul_overflow(range->step, count, &range->stop) ||
	    __builtin_add_overflow(range->start, range->stop, &range->stop))
		return mdl_jfail(r, "integer beyond 64 bits");
	*out = (struct mdl_jval){.kind = MDL_J_RANGE, .range = range};
	return 0;
}

int mdl_jslice(struct mdl_jrun *r, struct mdl_jval obj, struct mdl_jval start, struct mdl_jval stop,
	       struct mdl_jval step, struct mdl_jval *out)
{
	int64_t from = 0, by = 1, count = 0;
	size_t n = 0;
	int rc;

	if (obj.kind == MDL_J_UNDEF)
		return mdl_jfail_undef(r, obj);
	if (obj.kind != MDL_J_STR && obj.kind != MDL_J_LIST && obj.kind != MDL_J_TUPLE &&
	    obj.kind != MDL_J_RANGE)
		return mdl_jfail(r, "'%s' object can't be sliced", mdl_jtype_name(obj));
	mdl_jlength(obj, &n);
	rc = bounds(r, start, stop, step, (int64_t)n, &from, &by, &count);
	if (rc < 0)
		return rc;
	if (obj.kind == MDL_J_STR)
		return slice_str(r, obj.s, from, by, count, out);
	if (obj.kind == MDL_J_RANGE)
		return slice_range(r, obj.range, from, by, count, out);
	return slice_list(r, obj, from, by, count, out);
}
