/*
 * Filters on sequences, and sorting. Where the language gives a lazy generator (map, select, batch,
 * ...), the items are made at once here, but can likewise be gone through only once.
 */
#include <string.h>

#include "model/jinja-text.h"
#include "model/jinja-unicode.h"

#define FILTER(name)                                                                               \
	static int name(struct mdl_jrun *r, struct mdl_jval self, const struct mdl_jval *argv,     \
			const struct mdl_jcall *call, struct mdl_jval *out)
#define UNUSED (void)argv, (void)call

static bool flag(struct mdl_jval v)
{
	return v.kind != MDL_J_MISSING && mdl_jtruth(v);
}

static struct mdl_jval empty_sequence(const struct mdl_jstr *why)
{
	return (struct mdl_jval){.kind = MDL_J_UNDEF, .sub = MDL_J_UNDEF_HINT, .s = why};
}

/* --- attributes by path ------------------------------------------------------------------------ */

/* One step of a path: digits are an index. */
static int path_step(struct mdl_jrun *r, struct mdl_jval *item, struct mdl_jval part)
{
	int64_t i;
	bool too_big, number = part.s->n > 0 && part.s->n < 19;

	for (size_t k = 0; k < part.s->n; k++)
		number &= part.s->data[k] >= '0' && part.s->data[k] <= '9';
	if (number && mdl_jtext_to_int(part.s, 10, &i, &too_big))
		part = MDL_JINT(i);
	return mdl_jgetitem(r, *item, part, item);
}

int mdl_jpath(struct mdl_jrun *r, struct mdl_jval item, struct mdl_jval attribute,
	      struct mdl_jval otherwise, struct mdl_jval *out)
{
	static const struct mdl_jstr dot = {.data = ".", .n = 1, .chars = 1};
	bool has_default = otherwise.kind != MDL_J_MISSING && otherwise.kind != MDL_J_NONE;
	struct mdl_jlb parts = {0};
	int rc = 0;

	*out = item;
	if (attribute.kind == MDL_J_MISSING || attribute.kind == MDL_J_NONE)
		return 0;
	if (attribute.kind != MDL_J_STR) {
		rc = mdl_jgetitem(r, item, attribute, out);
		if (rc == 0 && has_default && out->kind == MDL_J_UNDEF)
			*out = otherwise;
		return rc;
	}
	if (!memchr(attribute.s->data, '.', attribute.s->n))
		rc = mdl_jlb_add(r, &parts, attribute);
	else
		rc = mdl_jtext_split(r, attribute.s, &dot, -1, false, &parts);
	for (size_t i = 0; rc == 0 && i < parts.n; i++) {
		rc = path_step(r, out, parts.v[i]);
		if (rc == 0 && has_default && out->kind == MDL_J_UNDEF)
			*out = otherwise;
	}
	return rc;
}

/* The value to compare an item by. */
static int sort_key(struct mdl_jrun *r, struct mdl_jval item, struct mdl_jval attribute,
		    struct mdl_jval otherwise, bool case_sensitive, struct mdl_jval *out)
{
	int rc = mdl_jpath(r, item, attribute, otherwise, out);

	if (rc == 0 && !case_sensitive && out->kind == MDL_J_STR)
		rc = mdl_jtext_case(r, out->s, MDL_J_LOWER, out);
	return rc;
}

/* --- sorting ----------------------------------------------------------------------------------- */

/* Merges the sorted runs [from, mid) and [mid, end) of a into b. */
static int merge(struct mdl_jrun *r, const struct mdl_jval *keys, const uint32_t *a, uint32_t *b,
		 const size_t bounds[3], bool reverse)
{
	size_t i = bounds[0], j = bounds[1];
	bool second;
	int rc = 0;

	for (size_t k = bounds[0]; rc == 0 && k < bounds[2]; k++) {
		second = i == bounds[1];
		if (!second && j < bounds[2])
			rc = mdl_jorder(r, keys[reverse ? a[i] : a[j]], keys[reverse ? a[j] : a[i]],
					MDL_JT_LT, &second);
		b[k] = second ? a[j++] : a[i++];
	}
	return rc;
}

int mdl_jsort(struct mdl_jrun *r, const struct mdl_jval *keys, uint32_t *perm, size_t n,
	      bool reverse)
{
	uint32_t *a = perm, *b = mdl_jarena_alloc(&r->arena, n, sizeof(*b)), *swap;
	int rc = 0;

	if (!b)
		return mdl_jno_memory(r);
	for (size_t width = 1; rc == 0 && width < n; width *= 2) {
		for (size_t from = 0; rc == 0 && from < n; from += 2 * width) {
			size_t mid = from + width < n ? from + width : n;
			size_t end = mid + width < n ? mid + width : n;

			rc = merge(r, keys, a, b, (size_t[3]){from, mid, end}, reverse);
		}
		swap = a;
		a = b;
		b = swap;
	}
	if (a != perm && n > 0)
		memcpy(perm, a, n * sizeof(*perm));
	return rc;
}

/* Items in the order of their keys. */
static int sort_items(struct mdl_jrun *r, const struct mdl_jlb *items, const struct mdl_jval *keys,
		      bool reverse, struct mdl_jlb *out)
{
	uint32_t *perm = mdl_jarena_alloc(&r->arena, items->n, sizeof(*perm));
	int rc;

	if (!perm)
		return mdl_jno_memory(r);
	for (size_t i = 0; i < items->n; i++)
		perm[i] = (uint32_t)i;
	rc = mdl_jsort(r, keys, perm, items->n, reverse);
	for (size_t i = 0; rc == 0 && i < items->n; i++)
		rc = mdl_jlb_add(r, out, items->v[perm[i]]);
	return rc;
}

/* sort's key: the list of the values at each of the comma-separated paths. */
static int multi_key(struct mdl_jrun *r, struct mdl_jval item, struct mdl_jval attribute,
		     bool case_sensitive, struct mdl_jval *out)
{
	static const struct mdl_jstr comma = {.data = ",", .n = 1, .chars = 1};
	struct mdl_jlb paths = {0}, key = {0};
	struct mdl_jval v;
	int rc;

	if (attribute.kind == MDL_J_STR && memchr(attribute.s->data, ',', attribute.s->n))
		rc = mdl_jtext_split(r, attribute.s, &comma, -1, false, &paths);
	else
		rc = mdl_jlb_add(r, &paths, attribute);
	for (size_t i = 0; rc == 0 && i < paths.n; i++) {
		rc = sort_key(r, item, paths.v[i], MDL_JMISSING, case_sensitive, &v);
		if (rc == 0)
			rc = mdl_jlb_add(r, &key, v);
	}
	return rc < 0 ? rc : mdl_jlb_finish(r, &key, MDL_J_LIST, out);
}

FILTER(do_sort)
{
	struct mdl_jlb items = {0}, keys = {0}, sorted = {0};
	struct mdl_jval key;
	int rc = mdl_jcollect(r, self, &items);

	(void)call;
	for (size_t i = 0; rc == 0 && i < items.n; i++) {
		rc = multi_key(r, items.v[i], argv[2], flag(argv[1]), &key);
		if (rc == 0)
			rc = mdl_jlb_add(r, &keys, key);
	}
	if (rc == 0)
		rc = sort_items(r, &items, keys.v, flag(argv[0]), &sorted);
	return rc < 0 ? rc : mdl_jlb_finish(r, &sorted, MDL_J_LIST, out);
}

FILTER(do_dictsort)
{
	struct mdl_jlb items = {0}, keys = {0}, sorted = {0};
	struct mdl_jval key, view = self;
	const struct mdl_jstr *by;
	bool by_value;
	int rc = mdl_jarg_str(r, argv[1], &by);

	(void)call;
	if (rc < 0)
		return rc;
	by_value = by && mdl_jstr_is(by, "value");
	if (by && !by_value && !mdl_jstr_is(by, "key"))
		return mdl_jfail(r, "dictsort sorts by \"key\" or \"value\"");
	if (self.kind == MDL_J_UNDEF)
		return mdl_jfail_undef(r, self);
	if (self.kind != MDL_J_DICT)
		return mdl_jfail(r, "dictsort needs a mapping, not %s", mdl_jtype_name(self));
	view.kind = MDL_J_VIEW;
	view.sub = MDL_J_ITEMS;
	rc = mdl_jcollect(r, view, &items);
	for (size_t i = 0; rc == 0 && i < items.n; i++) {
		rc = sort_key(r, items.v[i].l->v[by_value], MDL_JMISSING, MDL_JMISSING,
			      flag(argv[0]), &key);
		if (rc == 0)
			rc = mdl_jlb_add(r, &keys, key);
	}
	if (rc == 0)
		rc = sort_items(r, &items, keys.v, flag(argv[2]), &sorted);
	return rc < 0 ? rc : mdl_jlb_finish(r, &sorted, MDL_J_LIST, out);
}

/* Puts the group items[from, to) into the list of groups. */
static int add_group(struct mdl_jrun *r, const struct mdl_jlb *items, size_t from, size_t to,
		     struct mdl_jval key, struct mdl_jlb *groups)
{
	struct mdl_jval pair[2] = {key, MDL_JNONE}, tuple;
	int rc = mdl_jlist_new(r, items->v + from, to - from, MDL_J_LIST, &pair[1]);

	if (rc == 0)
		rc = mdl_jlist_new(r, pair, 2, MDL_J_TUPLE, &tuple);
	if (rc < 0)
		return rc;
	tuple.sub = 1;
	return mdl_jlb_add(r, groups, tuple);
}

FILTER(do_groupby)
{
	struct mdl_jlb items = {0}, keys = {0}, sorted = {0}, groups = {0};
	struct mdl_jval key = MDL_JNONE, next, real;
	bool same, case_sensitive = flag(argv[2]);
	size_t from = 0;
	int rc = mdl_jcollect(r, self, &items);

	(void)call;
	for (size_t i = 0; rc == 0 && i < items.n; i++) {
		rc = sort_key(r, items.v[i], argv[0], argv[1], case_sensitive, &key);
		if (rc == 0)
			rc = mdl_jlb_add(r, &keys, key);
	}
	if (rc == 0)
		rc = sort_items(r, &items, keys.v, false, &sorted);
	for (size_t i = 0; rc == 0 && i <= sorted.n && sorted.n > 0; i++) {
		same = i > 0;
		if (i < sorted.n)
			rc = sort_key(r, sorted.v[i], argv[0], argv[1], case_sensitive, &next);
		if (rc == 0 && i > 0 && i < sorted.n)
			rc = mdl_jequal(r, key, next, &same);
		if (rc == 0 && i > 0 && (i == sorted.n || !same)) {
			rc = mdl_jpath(r, sorted.v[from], argv[0], argv[1], &real);
			if (rc == 0)
				rc = add_group(r, &sorted, from, i, real, &groups);
			from = i;
		}
		if (i == 0 || !same)
			key = next;
	}
	return rc < 0 ? rc : mdl_jlb_finish(r, &groups, MDL_J_LIST, out);
}

/* --- smallest, largest, sum, first, last ------------------------------------------------------- */

static int extreme(struct mdl_jrun *r, struct mdl_jval self, const struct mdl_jval *argv,
		   enum mdl_jtok better, struct mdl_jval *out)
{
	static const struct mdl_jstr none = {
		.data = "No aggregated item, sequence was empty.", .n = 39, .chars = 39};
	struct mdl_jlb items = {0};
	struct mdl_jval best, key;
	bool wins;
	int rc = mdl_jcollect(r, self, &items);

	*out = empty_sequence(&none);
	for (size_t i = 0; rc == 0 && i < items.n; i++) {
		rc = sort_key(r, items.v[i], argv[1], MDL_JMISSING, flag(argv[0]), &key);
		wins = i == 0;
		if (rc == 0 && !wins)
			rc = mdl_jorder(r, key, best, better, &wins);
		if (wins) {
			best = key;
			*out = items.v[i];
		}
	}
	return rc;
}

FILTER(do_min)
{
	(void)call;
	return extreme(r, self, argv, MDL_JT_LT, out);
}

FILTER(do_max)
{
	(void)call;
	return extreme(r, self, argv, MDL_JT_GT, out);
}

FILTER(do_sum)
{
	struct mdl_jiter own, *it;
	struct mdl_jval item;
	bool more = true;
	int rc = mdl_jiter_open(r, self, &own, &it);

	(void)call;
	*out = argv[1].kind == MDL_J_MISSING ? MDL_JINT(0) : argv[1];
	if (rc == 0 && out->kind == MDL_J_STR)
		return mdl_jfail(r, "sum() can't sum strings: use the filter 'join'");
	while (rc == 0) {
		rc = mdl_jiter_next(r, it, &item, &more);
		if (rc < 0 || !more)
			break;
		rc = mdl_jpath(r, item, argv[0], MDL_JMISSING, &item);
		if (rc == 0)
			rc = mdl_jbinary(r, MDL_JT_ADD, *out, item, out);
	}
	return rc;
}

FILTER(do_first)
{
	static const struct mdl_jstr none = {
		.data = "No first item, sequence was empty.", .n = 34, .chars = 34};
	struct mdl_jiter own, *it;
	bool more = true;
	int rc = mdl_jiter_open(r, self, &own, &it);

	UNUSED;
	if (rc == 0)
		rc = mdl_jiter_next(r, it, out, &more);
	if (rc == 0 && !more)
		*out = empty_sequence(&none);
	return rc;
}

/* Whether the items can be had from the end. */
static bool reversible(struct mdl_jval v)
{
	return v.kind != MDL_J_ITER && mdl_jiterable(v);
}

FILTER(do_last)
{
	static const struct mdl_jstr none = {
		.data = "No last item, sequence was empty.", .n = 33, .chars = 33};
	struct mdl_jiter it = {.over = self, .reversed = true};
	bool more = true;
	size_t len;
	int rc;

	UNUSED;
	if (!reversible(self))
		return mdl_jfail(r, "'%s' object is not reversible", mdl_jtype_name(self));
	if (self.kind == MDL_J_STR && self.s->n > 0) {
		mdl_juni_prev(self.s->data, self.s->n, &len);
		return mdl_jstr_sub(r, self.s, self.s->n - len, len, out);
	}
	rc = mdl_jiter_next(r, &it, out, &more);
	if (rc == 0 && !more)
		*out = empty_sequence(&none);
	return rc;
}

FILTER(do_reverse)
{
	struct mdl_jiter *it;
	struct mdl_jlb lb = {0};

	UNUSED;
	if (self.kind == MDL_J_STR)
		return mdl_jslice(r, self, MDL_JMISSING, MDL_JMISSING, MDL_JINT(-1), out);
	if (!reversible(self)) { /* a plain list then */
		struct mdl_jval list;
		int rc = mdl_jcollect(r, self, &lb);

		if (rc == 0)
			rc = mdl_jlb_finish(r, &lb, MDL_J_LIST, &list);
		return rc < 0 ? rc
			      : mdl_jslice(r, list, MDL_JMISSING, MDL_JMISSING, MDL_JINT(-1), out);
	}
	it = mdl_jarena_alloc(&r->arena, 1, sizeof(*it));
	if (!it)
		return mdl_jno_memory(r);
	*it = (struct mdl_jiter){.over = self, .reversed = true};
	*out = (struct mdl_jval){.kind = MDL_J_ITER, .it = it};
	return 0;
}

/* --- lists ------------------------------------------------------------------------------------- */

FILTER(do_list)
{
	struct mdl_jlb lb = {0};
	int rc = mdl_jcollect(r, self, &lb);

	UNUSED;
	return rc < 0 ? rc : mdl_jlb_finish(r, &lb, MDL_J_LIST, out);
}

FILTER(do_items)
{
	struct mdl_jlb lb = {0};
	int rc;

	UNUSED;
	if (self.kind != MDL_J_DICT && self.kind != MDL_J_UNDEF)
		return mdl_jfail(r, "can only get item pairs from a mapping, not %s",
				 mdl_jtype_name(self));
	if (self.kind == MDL_J_DICT) {
		self.kind = MDL_J_VIEW;
		self.sub = MDL_J_ITEMS;
	}
	rc = mdl_jcollect(r, self, &lb);
	return rc < 0 ? rc : mdl_jlb_iter(r, &lb, out);
}

FILTER(do_join)
{
	static const struct mdl_jstr empty = {.data = ""};
	struct mdl_jval sep = MDL_JSTR(&empty), items = self;
	struct mdl_jlb all = {0};
	int rc = 0;

	(void)call;
	if (argv[0].kind != MDL_J_MISSING)
		rc = mdl_jto_str(r, argv[0], &sep);
	if (rc == 0 && argv[1].kind != MDL_J_MISSING && argv[1].kind != MDL_J_NONE) {
		rc = mdl_jcollect(r, self, &all);
		for (size_t i = 0; rc == 0 && i < all.n; i++)
			rc = mdl_jpath(r, all.v[i], argv[1], MDL_JMISSING, &all.v[i]);
		if (rc == 0)
			rc = mdl_jlb_finish(r, &all, MDL_J_LIST, &items);
	}
	return rc < 0 ? rc : mdl_jtext_join(r, sep.s, items, false, out);
}

FILTER(do_unique)
{
	struct mdl_jlb items = {0}, keys = {0}, kept = {0};
	struct mdl_jval key;
	bool seen;
	int rc = mdl_jcollect(r, self, &items);

	(void)call;
	for (size_t i = 0; rc == 0 && i < items.n; i++) {
		rc = sort_key(r, items.v[i], argv[1], MDL_JMISSING, flag(argv[0]), &key);
		if (rc == 0 && !mdl_jhashable(key))
			return mdl_jfail(r, "unhashable type: '%s'", mdl_jtype_name(key));
		seen = false;
		for (size_t k = 0; rc == 0 && !seen && k < keys.n; k++)
			rc = mdl_jequal(r, key, keys.v[k], &seen);
		if (rc == 0 && !seen && (rc = mdl_jlb_add(r, &keys, key)) == 0)
			rc = mdl_jlb_add(r, &kept, items.v[i]);
	}
	return rc < 0 ? rc : mdl_jlb_iter(r, &kept, out);
}

/* Appends items[from, from + n), then `fill` until there are `want`, as one list. */
static int add_chunk(struct mdl_jrun *r, const struct mdl_jlb *items, size_t from, size_t n,
		     size_t want, struct mdl_jval fill, struct mdl_jlb *out)
{
	struct mdl_jlb chunk = {0};
	struct mdl_jval list;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < n; i++)
		rc = mdl_jlb_add(r, &chunk, items->v[from + i]);
	if (fill.kind == MDL_J_MISSING || fill.kind == MDL_J_NONE)
		want = n;
	for (size_t i = n; rc == 0 && i < want; i++)
		rc = mdl_jlb_add(r, &chunk, fill);
	if (rc == 0)
		rc = mdl_jlb_finish(r, &chunk, MDL_J_LIST, &list);
	return rc < 0 ? rc : mdl_jlb_add(r, out, list);
}

FILTER(do_batch)
{
	struct mdl_jlb items = {0}, batches = {0};
	int64_t size;
	int rc = mdl_jarg_int(r, argv[0], 0, &size);

	(void)call;
	if (rc == 0)
		rc = mdl_jcollect(r, self, &items);
	if (rc == 0 && size < 1)
		return mdl_jfail(r, "batch needs a size of at least 1");
	for (size_t at = 0, n; rc == 0 && at < items.n; at += n) {
		n = items.n - at < (uint64_t)size ? items.n - at : (size_t)size;
		rc = add_chunk(r, &items, at, n, (size_t)size, argv[1], &batches);
	}
	return rc < 0 ? rc : mdl_jlb_iter(r, &batches, out);
}

FILTER(do_slice)
{
	struct mdl_jlb items = {0}, slices = {0};
	size_t at = 0, base, extra;
	int64_t count;
	int rc = mdl_jarg_int(r, argv[0], 0, &count);

	(void)call;
	if (rc == 0)
		rc = mdl_jcollect(r, self, &items);
	if (rc == 0 && (count < 1 || count > INT32_MAX))
		return mdl_jfail(r, "slice needs a number of slices of at least 1");
	if (rc < 0)
		return rc;
	base = items.n / (size_t)count;
	extra = items.n % (size_t)count;
	for (size_t i = 0; rc == 0 && i < (size_t)count; i++) {
		size_t n = base + (i < extra);

		rc = add_chunk(r, &items, at, n, i >= extra ? n + 1 : n, argv[1], &slices);
		at += n;
	}
	return rc < 0 ? rc : mdl_jlb_iter(r, &slices, out);
}

/* --- map, select, reject ----------------------------------------------------------------------- */

/* The call's arguments after the first `skip`. */
static void rest_of(const struct mdl_jcall *call, size_t skip, struct mdl_jcall *rest)
{
	rest->pos = call->pos + skip;
	rest->n_pos = call->n_pos - skip;
	rest->kw = call->kw;
	rest->n_kw = call->n_kw;
}

static int named(struct mdl_jrun *r, struct mdl_jval name, bool filter,
		 const struct mdl_jspec **out)
{
	const char *what = filter ? "filter" : "test";

	if (name.kind == MDL_J_UNDEF)
		return mdl_jfail(r, "the name of a %s is undefined; put it in quotes", what);
	if (name.kind != MDL_J_STR)
		return mdl_jfail(r, "the name of a %s must be a string", what);
	*out = filter ? mdl_jfilter_find(name.s) : mdl_jtest_find(name.s);
	if (!*out)
		return mdl_jfail(r, "no %s named '%.*s'", what,
				 (int)(name.s->n < 64 ? name.s->n : 64), name.s->data);
	return 0;
}

FILTER(do_map)
{
	const struct mdl_jval *attribute = call->n_pos ? NULL : mdl_jkeyword(call, "attribute"),
			      *otherwise = mdl_jkeyword(call, "default");
	const struct mdl_jspec *spec = NULL;
	struct mdl_jlb items = {0};
	struct mdl_jcall rest;
	int rc = 0;

	(void)argv;
	if (!mdl_jtruth(self))
		return mdl_jlb_iter(r, &items, out);
	if (attribute && call->n_kw > 1 + (otherwise != NULL))
		return mdl_jfail(r, "map takes the keyword arguments attribute and default");
	if (!attribute && call->n_pos == 0)
		return mdl_jfail(r, "map requires a filter argument");
	if (!attribute) {
		rc = named(r, call->pos[0], true, &spec);
		rest_of(call, 1, &rest);
	}
	if (rc == 0)
		rc = mdl_jcollect(r, self, &items);
	for (size_t i = 0; rc == 0 && i < items.n; i++) {
		if (attribute)
			rc = mdl_jpath(r, items.v[i], *attribute,
				       otherwise ? *otherwise : MDL_JMISSING, &items.v[i]);
		else
			rc = mdl_japply(r, spec, "filter", items.v[i], &rest, &items.v[i]);
	}
	return rc < 0 ? rc : mdl_jlb_iter(r, &items, out);
}

/* Keeps the items whose test (of an attribute, with `attr`) comes out as `wanted`. */
static int select_items(struct mdl_jrun *r, struct mdl_jval self, const struct mdl_jcall *call,
			bool attr, bool wanted, struct mdl_jval *out)
{
	const struct mdl_jspec *spec = NULL;
	struct mdl_jlb items = {0}, kept = {0};
	struct mdl_jcall rest;
	struct mdl_jval v;
	int rc = 0;

	if (!mdl_jtruth(self))
		return mdl_jlb_iter(r, &items, out);
	if (attr && call->n_pos == 0)
		return mdl_jfail(r, "missing parameter for attribute name");
	if (call->n_pos > attr) {
		rc = named(r, call->pos[attr], false, &spec);
		rest_of(call, (size_t)attr + 1, &rest);
	}
	if (rc == 0)
		rc = mdl_jcollect(r, self, &items);
	for (size_t i = 0; rc == 0 && i < items.n; i++) {
		v = items.v[i];
		if (attr)
			rc = mdl_jpath(r, v, call->pos[0], MDL_JMISSING, &v);
		if (rc == 0 && spec)
			rc = mdl_japply(r, spec, "test", v, &rest, &v);
		if (rc == 0 && mdl_jtruth(v) == wanted)
			rc = mdl_jlb_add(r, &kept, items.v[i]);
	}
	return rc < 0 ? rc : mdl_jlb_iter(r, &kept, out);
}

FILTER(do_select)
{
	(void)argv;
	return select_items(r, self, call, false, true, out);
}

FILTER(do_reject)
{
	(void)argv;
	return select_items(r, self, call, false, false, out);
}

FILTER(do_selectattr)
{
	(void)argv;
	return select_items(r, self, call, true, true, out);
}

FILTER(do_rejectattr)
{
	(void)argv;
	return select_items(r, self, call, true, false, out);
}

const struct mdl_jspec mdl_jseq_filters[] = {
	{"batch", do_batch, "linecount fill_with", 1, false},
	{"dictsort", do_dictsort, "case_sensitive by reverse", 0, false},
	{"first", do_first, NULL, 0, false},
	{"groupby", do_groupby, "attribute default case_sensitive", 1, false},
	{"items", do_items, NULL, 0, false},
	{"join", do_join, "d attribute", 0, false},
	{"last", do_last, NULL, 0, false},
	{"list", do_list, NULL, 0, false},
	{"map", do_map, NULL, 0, true},
	{"max", do_max, "case_sensitive attribute", 0, false},
	{"min", do_min, "case_sensitive attribute", 0, false},
	{"reject", do_reject, NULL, 0, true},
	{"rejectattr", do_rejectattr, NULL, 0, true},
	{"reverse", do_reverse, NULL, 0, false},
	{"select", do_select, NULL, 0, true},
	{"selectattr", do_selectattr, NULL, 0, true},
	{"slice", do_slice, "slices fill_with", 1, false},
	{"sort", do_sort, "reverse case_sensitive attribute", 0, false},
	{"sum", do_sum, "attribute start", 0, false},
	{"unique", do_unique, "case_sensitive attribute", 0, false},
	{NULL, NULL, NULL, 0, false},
};
