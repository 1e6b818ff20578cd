/*
 * Lists, dicts and other containers: making, looking up, going through, comparing, sorting.
 * Recursion into nested values counts against the rendering's depth.
 */
#define _GNU_SOURCE /* memmem */
#include <math.h>
#include <string.h>

#include "model/jinja-run.h"
#include "model/jinja-unicode.h"

enum { SMALL_DICT = 12 }; /* up to so many keys are searched one by one */

struct mdl_jroom {
	struct mdl_jval *v; // [cap]
	size_t cap, used;
};

const char *mdl_jkind_name(unsigned kind)
{
	static const char *const names[] = {
		[MDL_J_MISSING] = "Undefined",
		[MDL_J_UNDEF] = "Undefined",
		[MDL_J_NONE] = "NoneType",
		[MDL_J_BOOL] = "bool",
		[MDL_J_INT] = "int",
		[MDL_J_BIGINT] = "int",
		[MDL_J_FLOAT] = "float",
		[MDL_J_STR] = "str",
		[MDL_J_LIST] = "list",
		[MDL_J_TUPLE] = "tuple",
		[MDL_J_DICT] = "dict",
		[MDL_J_VIEW] = "dict view",
		[MDL_J_RANGE] = "range",
		[MDL_J_ITER] = "generator",
		[MDL_J_NAMESPACE] = "Namespace",
		[MDL_J_LOOP] = "LoopContext",
		[MDL_J_MACRO] = "Macro",
		[MDL_J_FUNC] = "function",
		[MDL_J_METHOD] = "method",
		[MDL_J_CYCLER] = "Cycler",
		[MDL_J_JOINER] = "Joiner",
	};

	return names[kind];
}

const char *mdl_jtype_name(struct mdl_jval v)
{
	return mdl_jkind_name(v.kind);
}

/* --- lists ------------------------------------------------------------------------------------- */

static int list_wrap(struct mdl_jrun *r, const struct mdl_jval *v, size_t n, struct mdl_jroom *room,
		     enum mdl_jkind kind, struct mdl_jval *out)
{
	static const struct mdl_jval nothing[1];
	struct mdl_jlist *l = mdl_jarena_alloc(&r->arena, 1, sizeof(*l));

	if (!l)
		return mdl_jno_memory(r);
	*l = (struct mdl_jlist){.v = v ? v : nothing, .n = n, .room = room};
	*out = (struct mdl_jval){.kind = (uint8_t)kind, .l = l};
	return 0;
}

int mdl_jlist_new(struct mdl_jrun *r, const struct mdl_jval *v, size_t n, enum mdl_jkind kind,
		  struct mdl_jval *out)
{
	struct mdl_jval *copy = mdl_jarena_alloc(&r->arena, n, sizeof(*copy));

	if (!copy)
		return mdl_jno_memory(r);
	if (n > 0)
		memcpy(copy, v, n * sizeof(*copy));
	return list_wrap(r, copy, n, NULL, kind, out);
}

int mdl_jlist_concat(struct mdl_jrun *r, struct mdl_jval a, struct mdl_jval b, struct mdl_jval *out)
{
	struct mdl_jroom *room = a.l->room;
	size_t n = a.l->n + b.l->n;

	if (b.l->n == 0) {
		*out = a;
		return 0;
	}
	if (!room || a.l->v + a.l->n != room->v + room->used || room->cap - room->used < b.l->n) {
		size_t cap = room ? 2 * n : n;

		if (mdl_jstep_bytes(r, a.l->n * sizeof(*a.l->v)) < 0)
			return LT_ETIMEOUT;
		room = mdl_jarena_alloc(&r->arena, 1, sizeof(*room));
		if (!room)
			return mdl_jno_memory(r);
		*room = (struct mdl_jroom){.cap = cap, .used = a.l->n};
		room->v = mdl_jarena_alloc(&r->arena, cap, sizeof(*room->v));
		if (!room->v)
			return mdl_jno_memory(r);
		if (a.l->n > 0)
			memcpy(room->v, a.l->v, a.l->n * sizeof(*room->v));
	}
	if (mdl_jstep_bytes(r, b.l->n * sizeof(*room->v)) < 0)
		return LT_ETIMEOUT;
	memcpy(room->v + room->used, b.l->v, b.l->n * sizeof(*room->v));
	room->used += b.l->n;
	return list_wrap(r, room->v + room->used - n, n, room, a.kind, out);
}

int mdl_jlb_add(struct mdl_jrun *r, struct mdl_jlb *lb, struct mdl_jval v)
{
	if (lb->n == lb->cap) {
		size_t want = lb->cap ? lb->cap * 2 : 8;
		void *p = mdl_jarena_grow(&r->arena, lb->v, lb->cap * sizeof(v), want * sizeof(v));

		if (!p)
			return mdl_jno_memory(r);
		lb->v = p;
		lb->cap = want;
	}
	lb->v[lb->n++] = v;
	return mdl_jstep(r, 1);
}

int mdl_jlb_finish(struct mdl_jrun *r, struct mdl_jlb *lb, enum mdl_jkind kind,
		   struct mdl_jval *out)
{
	return list_wrap(r, lb->v, lb->n, NULL, kind, out);
}

int mdl_jlb_iter(struct mdl_jrun *r, struct mdl_jlb *lb, struct mdl_jval *out)
{
	struct mdl_jiter *it = mdl_jarena_alloc(&r->arena, 1, sizeof(*it));

	if (!it)
		return mdl_jno_memory(r);
	*it = (struct mdl_jiter){0};
	*out = (struct mdl_jval){.kind = MDL_J_ITER, .it = it};
	return mdl_jlb_finish(r, lb, MDL_J_LIST, &it->over);
}

struct mdl_jval mdl_jrange_at(const struct mdl_jrange *range, size_t i)
{
	/* within [start, stop), so it can't overflow */
	return MDL_JINT((int64_t)((uint64_t)range->start + (uint64_t)range->step * i));
}

/* --- dicts and namespaces ---------------------------------------------------------------------- */

bool mdl_jhashable(struct mdl_jval v)
{
	if (v.kind == MDL_J_TUPLE) {
		for (size_t i = 0; i < v.l->n; i++) {
			if (v.l->v[i].kind == MDL_J_TUPLE || !mdl_jhashable(v.l->v[i]))
				return false; /* nested tuples as keys: nobody needs them */
		}
		return true;
	}
	return v.kind != MDL_J_LIST && v.kind != MDL_J_DICT && v.kind != MDL_J_VIEW;
}

static int pair_cmp(const struct mdl_jpair *v, uint32_t a, uint32_t b)
{
	int c = mdl_jstr_cmp(v[a].key.s, v[b].key.s);

	return c ? c : (a > b) - (a < b);
}

/* Bottom-up merge sort of indices by key, equal keys in order of insertion. */
static uint32_t *sort_pairs(const struct mdl_jpair *v, uint32_t *perm, uint32_t *other, size_t n)
{
	for (size_t width = 1; width < n; width *= 2) {
		uint32_t *swap = perm;

		for (size_t from = 0; from < n; from += 2 * width) {
			size_t mid = from + width < n ? from + width : n;
			size_t end = mid + width < n ? mid + width : n;
			size_t a = from, b = mid;

			for (size_t i = from; i < end; i++) {
				if (a < mid && (b == end || pair_cmp(v, perm[a], perm[b]) < 0))
					other[i] = perm[a++];
				else
					other[i] = perm[b++];
			}
		}
		perm = other;
		other = swap;
	}
	return perm;
}

/* Drops entries whose key stood before, moving the last value to the first place. `sorted` has the
 * entries by key. Returns how many are left; `sorted` is then out of date if that is less. */
static size_t drop_repeated(struct mdl_jpair *v, const uint32_t *sorted, size_t n)
{
	size_t kept = 0;

	for (size_t i = 1, first = 0; i < n; i++) {
		if (!mdl_jstr_eq(v[sorted[i]].key.s, v[sorted[first]].key.s)) {
			first = i;
			continue;
		}
		v[sorted[first]].value = v[sorted[i]].value;
		v[sorted[i]].value = MDL_JMISSING;
	}
	for (size_t i = 0; i < n; i++) {
		if (v[i].value.kind != MDL_J_MISSING)
			v[kept++] = v[i];
	}
	return kept;
}

static int dict_index(struct mdl_jrun *r, struct mdl_jdict *d, struct mdl_jpair *v)
{
	uint32_t *perm, *other;
	size_t n;

	do {
		n = d->n;
		perm = mdl_jarena_alloc(&r->arena, n, sizeof(*perm));
		other = mdl_jarena_alloc(&r->arena, n, sizeof(*other));
		if (!perm || !other)
			return mdl_jno_memory(r);
		if (mdl_jstep(r, n) < 0)
			return LT_ETIMEOUT;
		for (size_t i = 0; i < n; i++)
			perm[i] = (uint32_t)i;
		d->sorted = sort_pairs(v, perm, other, n);
		d->n = drop_repeated(v, d->sorted, n);
	} while (d->n != n); /* at most twice */
	return 0;
}

/* Index of the key among v[0..n), or n. */
static int search(struct mdl_jrun *r, const struct mdl_jpair *v, size_t n, struct mdl_jval key,
		  size_t *out)
{
	bool same = false;
	int rc = 0;

	for (*out = 0; *out < n; ++*out) {
		if (key.kind == MDL_J_STR && v[*out].key.kind == MDL_J_STR)
			same = mdl_jstr_eq(key.s, v[*out].key.s);
		else
			rc = mdl_jequal(r, v[*out].key, key, &same);
		if (rc < 0 || same)
			break;
	}
	return rc < 0 ? rc : mdl_jstep(r, *out / 16);
}

int mdl_jdict_new(struct mdl_jrun *r, struct mdl_jpair *v, size_t n, struct mdl_jval *out)
{
	struct mdl_jdict *d = mdl_jarena_alloc(&r->arena, 1, sizeof(*d));
	bool strings = true;
	size_t kept = 0, at;
	int rc;

	if (!d)
		return mdl_jno_memory(r);
	*d = (struct mdl_jdict){.v = v, .n = n};
	*out = (struct mdl_jval){.kind = MDL_J_DICT, .d = d};
	for (size_t i = 0; i < n; i++) {
		strings &= v[i].key.kind == MDL_J_STR;
		if (!mdl_jhashable(v[i].key))
			return mdl_jfail(r, "unhashable type: '%s'", mdl_jtype_name(v[i].key));
	}
	if (n > SMALL_DICT && strings && n < UINT32_MAX)
		return dict_index(r, d, v);
	for (size_t i = 0; i < n; i++) {
		rc = search(r, v, kept, v[i].key, &at);
		if (rc < 0)
			return rc;
		if (at == kept)
			v[kept++] = v[i];
		else
			v[at].value = v[i].value;
	}
	d->n = kept;
	return 0;
}

const struct mdl_jval *mdl_jdict_get(struct mdl_jrun *r, const struct mdl_jdict *d,
				     struct mdl_jval key)
{
	size_t lo = 0, hi = d->n, at;

	if (!d->sorted || key.kind != MDL_J_STR)
		return mdl_jhashable(key) && search(r, d->v, d->n, key, &at) == 0 && at < d->n
			       ? &d->v[at].value
			       : NULL;
	while (lo < hi) {
		int c;

		at = lo + (hi - lo) / 2;
		c = mdl_jstr_cmp(key.s, d->v[d->sorted[at]].key.s);
		if (c == 0)
			return &d->v[d->sorted[at]].value;
		if (c < 0)
			hi = at;
		else
			lo = at + 1;
	}
	return NULL;
}

static struct mdl_jval *space_find(const struct mdl_jspace *ns, const struct mdl_jstr *key)
{
	for (size_t i = 0; i < ns->n; i++) {
		if (mdl_jstr_eq(ns->v[i].key.s, key))
			return &ns->v[i].value;
	}
	return NULL;
}

const struct mdl_jval *mdl_jspace_get(const struct mdl_jspace *ns, const struct mdl_jstr *key)
{
	return space_find(ns, key);
}

int mdl_jspace_set(struct mdl_jrun *r, struct mdl_jspace *ns, const struct mdl_jstr *key,
		   struct mdl_jval value)
{
	struct mdl_jval *old = space_find(ns, key);

	if (old) {
		*old = value;
		return 0;
	}
	if (ns->n == ns->cap) {
		size_t want = ns->cap ? ns->cap * 2 : 8;
		void *p = mdl_jarena_grow(&r->arena, ns->v, ns->cap * sizeof(*ns->v),
					  want * sizeof(*ns->v));

		if (!p)
			return mdl_jno_memory(r);
		ns->v = p;
		ns->cap = want;
	}
	ns->v[ns->n++] = (struct mdl_jpair){.key = MDL_JSTR(key), .value = value};
	return 0;
}

/* --- truth, length, going through -------------------------------------------------------------- */

bool mdl_jlength(struct mdl_jval v, size_t *out)
{
	switch (v.kind) {
	case MDL_J_UNDEF: *out = 0; return true;
	case MDL_J_STR: *out = mdl_jstr_chars(v.s); return true;
	case MDL_J_LIST:
	case MDL_J_TUPLE: *out = v.l->n; return true;
	case MDL_J_DICT:
	case MDL_J_VIEW: *out = v.d->n; return true;
	case MDL_J_RANGE: *out = v.range->n; return true;
	default: return false;
	}
}

bool mdl_jtruth(struct mdl_jval v)
{
	switch (v.kind) {
	case MDL_J_MISSING:
	case MDL_J_UNDEF:
	case MDL_J_NONE: return false;
	case MDL_J_BOOL: return v.b;
	case MDL_J_INT: return v.i != 0;
	case MDL_J_FLOAT: return v.f != 0;
	case MDL_J_STR: return v.s->n > 0;
	case MDL_J_LIST:
	case MDL_J_TUPLE: return v.l->n > 0;
	case MDL_J_DICT:
	case MDL_J_VIEW: return v.d->n > 0;
	case MDL_J_RANGE: return v.range->n > 0;
	default: return true;
	}
}

bool mdl_jiterable(struct mdl_jval v)
{
	size_t n;

	return v.kind == MDL_J_ITER || mdl_jlength(v, &n);
}

int mdl_jiter_open(struct mdl_jrun *r, struct mdl_jval v, struct mdl_jiter *own,
		   struct mdl_jiter **out)
{
	if (!mdl_jiterable(v))
		return mdl_jfail(r, "'%s' object is not iterable", mdl_jtype_name(v));
	*own = (struct mdl_jiter){.over = v};
	*out = v.kind == MDL_J_ITER ? v.it : own;
	return 0;
}

static size_t item_count(struct mdl_jval v)
{
	size_t n = 0;

	if (v.kind != MDL_J_STR)
		mdl_jlength(v, &n);
	else
		n = v.s->n; /* bytes */
	return n;
}

size_t mdl_jiter_left(const struct mdl_jiter *it)
{
	if (it->over.kind == MDL_J_STR)
		return mdl_juni_count(it->over.s->data + it->at, it->over.s->n - it->at);
	return item_count(it->over) - it->at;
}

static int view_item(struct mdl_jrun *r, struct mdl_jval view, size_t i, struct mdl_jval *out)
{
	const struct mdl_jpair *pair = &view.d->v[i];
	struct mdl_jval both[2] = {pair->key, pair->value};

	if (view.kind == MDL_J_VIEW && view.sub == MDL_J_ITEMS)
		return mdl_jlist_new(r, both, 2, MDL_J_TUPLE, out);
	*out = view.kind == MDL_J_VIEW && view.sub == MDL_J_VALUES ? pair->value : pair->key;
	return 0;
}

int mdl_jiter_next(struct mdl_jrun *r, struct mdl_jiter *it, struct mdl_jval *out, bool *more)
{
	struct mdl_jval v = it->over;
	size_t n, at = it->at, len;
	int rc = mdl_jstep(r, 1);

	if (rc < 0)
		return rc;
	n = item_count(v);
	*more = at < n;
	if (!*more)
		return 0;
	if (v.kind == MDL_J_STR) {
		mdl_juni_next(v.s->data + at, n - at, &len);
		it->at += len;
		return mdl_jstr_sub(r, v.s, at, len, out);
	}
	it->at++;
	if (it->reversed)
		at = n - 1 - at;
	if (v.kind == MDL_J_LIST || v.kind == MDL_J_TUPLE)
		*out = v.l->v[at];
	else if (v.kind == MDL_J_RANGE)
		*out = mdl_jrange_at(v.range, at);
	else
		rc = view_item(r, v, at, out);
	return rc;
}

int mdl_jcollect(struct mdl_jrun *r, struct mdl_jval v, struct mdl_jlb *lb)
{
	struct mdl_jiter own, *it;
	struct mdl_jval item;
	bool more = true;
	int rc = mdl_jiter_open(r, v, &own, &it);

	while (rc == 0 && more) {
		rc = mdl_jiter_next(r, it, &item, &more);
		if (rc == 0 && more)
			rc = mdl_jlb_add(r, lb, item);
	}
	return rc;
}

/* --- comparing --------------------------------------------------------------------------------- */

static bool is_number(struct mdl_jval v)
{
	return v.kind == MDL_J_BOOL || v.kind == MDL_J_INT || v.kind == MDL_J_FLOAT ||
	       v.kind == MDL_J_BIGINT;
}

/* -1, 0, 1 for a double against an integer, exactly; 2 if f is not a number. */
static int float_int_cmp(double f, int64_t i)
{
	double whole;
	int64_t w;

	if (isnan(f))
		return 2;
	if (f >= 9223372036854775808.0)
		return 1;
	if (f < -9223372036854775808.0)
		return -1;
	whole = trunc(f);
	w = (int64_t)whole;
	if (w != i)
		return w < i ? -1 : 1;
	return (f > whole) - (f < whole);
}

static int bigint_cmp(const struct mdl_jstr *a, const struct mdl_jstr *b)
{
	bool minus = a->data[0] == '-';

	if (minus != (b->data[0] == '-'))
		return minus ? -1 : 1;
	if (a->n != b->n)
		return (a->n < b->n) != minus ? -1 : 1;
	return minus ? -mdl_jstr_cmp(a, b) : mdl_jstr_cmp(a, b);
}

/* -1, 0, 1, or 2 (not comparable: NaN). */
static int number_cmp(struct mdl_jval a, struct mdl_jval b)
{
	int64_t x = a.kind == MDL_J_BOOL ? a.b : a.i, y = b.kind == MDL_J_BOOL ? b.b : b.i;
	int c;

	if (a.kind == MDL_J_BIGINT || b.kind == MDL_J_BIGINT) {
		if (a.kind == b.kind)
			return bigint_cmp(a.s, b.s);
		if (a.kind == MDL_J_BIGINT) /* beyond any 64-bit integer; floats: nearly so */
			return a.s->data[0] == '-' ? -1 : 1;
		return b.s->data[0] == '-' ? 1 : -1;
	}
	if (a.kind == MDL_J_FLOAT && b.kind == MDL_J_FLOAT)
		return isnan(a.f) || isnan(b.f) ? 2 : (a.f > b.f) - (a.f < b.f);
	if (a.kind == MDL_J_FLOAT)
		return float_int_cmp(a.f, y);
	if (b.kind == MDL_J_FLOAT) {
		c = float_int_cmp(b.f, x);
		return c == 2 ? 2 : -c;
	}
	return (x > y) - (x < y);
}

static int list_equal(struct mdl_jrun *r, const struct mdl_jlist *a, const struct mdl_jlist *b,
		      bool *out)
{
	int rc = mdl_jenter(r);

	if (rc < 0)
		return rc;
	*out = a->n == b->n;
	for (size_t i = 0; rc == 0 && *out && i < a->n; i++)
		rc = mdl_jequal(r, a->v[i], b->v[i], out);
	mdl_jleave(r);
	return rc;
}

static int dict_equal(struct mdl_jrun *r, const struct mdl_jdict *a, const struct mdl_jdict *b,
		      bool *out)
{
	int rc = mdl_jenter(r);

	if (rc < 0)
		return rc;
	*out = a->n == b->n;
	for (size_t i = 0; rc == 0 && *out && i < a->n; i++) {
		const struct mdl_jval *other = mdl_jdict_get(r, b, a->v[i].key);

		*out = other != NULL;
		if (other)
			rc = mdl_jequal(r, a->v[i].value, *other, out);
	}
	mdl_jleave(r);
	return rc;
}

int mdl_jequal(struct mdl_jrun *r, struct mdl_jval a, struct mdl_jval b, bool *out)
{
	if (mdl_jstep(r, 1) < 0)
		return LT_ETIMEOUT;
	*out = false;
	if (is_number(a) && is_number(b)) {
		*out = number_cmp(a, b) == 0;
		return 0;
	}
	if (a.kind != b.kind)
		return 0;
	switch (a.kind) {
	case MDL_J_UNDEF:
	case MDL_J_NONE: *out = true; return 0;
	case MDL_J_STR: *out = mdl_jstr_eq(a.s, b.s); return mdl_jstep_bytes(r, a.s->n);
	case MDL_J_LIST:
	case MDL_J_TUPLE: return list_equal(r, a.l, b.l, out);
	case MDL_J_DICT: return dict_equal(r, a.d, b.d, out);
	case MDL_J_RANGE:
		*out = a.range->n == b.range->n &&
		       (a.range->n == 0 || a.range->start == b.range->start) &&
		       (a.range->n < 2 || a.range->step == b.range->step);
		return 0;
	case MDL_J_VIEW: *out = a.d == b.d && a.sub == b.sub; return 0;
	case MDL_J_FUNC: *out = a.what == b.what; return 0;
	default: *out = a.l == b.l; return 0; /* the same object */
	}
}

static bool holds(int c, enum mdl_jtok op)
{
	if (c == 2)
		return false;
	return op == MDL_JT_LT	 ? c < 0
	       : op == MDL_JT_LE ? c <= 0
	       : op == MDL_JT_GT ? c > 0
				 : c >= 0;
}

int mdl_jorder(struct mdl_jrun *r, struct mdl_jval a, struct mdl_jval b, enum mdl_jtok op,
	       bool *out)
{
	static const char *const signs[] = {
		[MDL_JT_GT] = ">", [MDL_JT_GE] = ">=", [MDL_JT_LT] = "<", [MDL_JT_LE] = "<="};
	bool same = true;
	size_t i = 0;
	int rc = mdl_jstep(r, 1);

	if (rc < 0)
		return rc;
	if (is_number(a) && is_number(b)) {
		*out = holds(number_cmp(a, b), op);
		return 0;
	}
	if (a.kind == MDL_J_STR && b.kind == MDL_J_STR) {
		*out = holds((mdl_jstr_cmp(a.s, b.s) > 0) - (mdl_jstr_cmp(a.s, b.s) < 0), op);
		return mdl_jstep_bytes(r, a.s->n < b.s->n ? a.s->n : b.s->n);
	}
	if ((a.kind == MDL_J_LIST || a.kind == MDL_J_TUPLE) && a.kind == b.kind) {
		for (; rc == 0 && same && i < a.l->n && i < b.l->n; i += same)
			rc = mdl_jequal(r, a.l->v[i], b.l->v[i], &same);
		if (rc < 0)
			return rc;
		if (same) {
			*out = holds((a.l->n > b.l->n) - (a.l->n < b.l->n), op);
			return 0;
		}
		if ((rc = mdl_jenter(r)) < 0)
			return rc;
		rc = mdl_jorder(r, a.l->v[i], b.l->v[i], op, out);
		mdl_jleave(r);
		return rc;
	}
	if (a.kind == MDL_J_UNDEF)
		return mdl_jfail_undef(r, a);
	if (b.kind == MDL_J_UNDEF)
		return mdl_jfail_undef(r, b);
	return mdl_jfail(r, "'%s' not supported between instances of '%s' and '%s'", signs[op],
			 mdl_jtype_name(a), mdl_jtype_name(b));
}

int mdl_jcontains(struct mdl_jrun *r, struct mdl_jval item, struct mdl_jval in, bool *out)
{
	struct mdl_jiter own, *it;
	struct mdl_jval other;
	bool more = true;
	int rc;

	*out = false;
	if (in.kind == MDL_J_STR) {
		if (item.kind != MDL_J_STR)
			return mdl_jfail(r, "'in <string>' requires string as left operand, not %s",
					 mdl_jtype_name(item));
		*out = memmem(in.s->data, in.s->n, item.s->data, item.s->n) != NULL;
		return mdl_jstep_bytes(r, in.s->n);
	}
	if (in.kind == MDL_J_DICT || (in.kind == MDL_J_VIEW && in.sub == MDL_J_KEYS)) {
		if (!mdl_jhashable(item))
			return mdl_jfail(r, "unhashable type: '%s'", mdl_jtype_name(item));
		*out = mdl_jdict_get(r, in.d, item) != NULL;
		return 0;
	}
	if (!mdl_jiterable(in))
		return mdl_jfail(r, "argument of type '%s' is not iterable", mdl_jtype_name(in));
	rc = mdl_jiter_open(r, in, &own, &it);
	while (rc == 0 && !*out) {
		rc = mdl_jiter_next(r, it, &other, &more);
		if (rc < 0 || !more)
			break;
		rc = mdl_jequal(r, item, other, out);
	}
	return rc;
}
