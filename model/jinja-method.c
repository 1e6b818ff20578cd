/*
 * Methods of strings, lists, tuples, dicts, floats, loops and cyclers. Positions and widths are in
 * characters. Parameters that the language takes by position only are written "-".
 */
#include <math.h>
#include <string.h>

#include "model/jinja-text.h"
#include "model/jinja-unicode.h"

#define METHOD(name)                                                                               \
	static int name(struct mdl_jrun *r, struct mdl_jval self, const struct mdl_jval *argv,     \
			const struct mdl_jcall *call, struct mdl_jval *out)
#define UNUSED (void)r, (void)self, (void)argv, (void)call

/* --- strings: whole text ----------------------------------------------------------------------- */

#define CASE(name, how)                                                                            \
	METHOD(name)                                                                               \
	{                                                                                          \
		UNUSED;                                                                            \
		return mdl_jtext_case(r, self.s, how, out);                                        \
	}

CASE(str_upper, MDL_J_UPPER)
CASE(str_lower, MDL_J_LOWER)
CASE(str_capitalize, MDL_J_CAPITALIZE)
CASE(str_title, MDL_J_TITLE)
CASE(str_swapcase, MDL_J_SWAP)

static int strip(struct mdl_jrun *r, struct mdl_jval self, struct mdl_jval chars, int sides,
		 struct mdl_jval *out)
{
	const struct mdl_jstr *s;
	int rc = mdl_jarg_str(r, chars, &s);

	return rc < 0 ? rc : mdl_jtext_strip(r, self.s, s, sides, out);
}

METHOD(str_strip)
{
	UNUSED;
	return strip(r, self, argv[0], MDL_J_LEFT | MDL_J_RIGHT, out);
}

METHOD(str_lstrip)
{
	UNUSED;
	return strip(r, self, argv[0], MDL_J_LEFT, out);
}

METHOD(str_rstrip)
{
	UNUSED;
	return strip(r, self, argv[0], MDL_J_RIGHT, out);
}

/* A required argument that must be a string. */
static int need_str(struct mdl_jrun *r, struct mdl_jval v, const struct mdl_jstr **out)
{
	*out = v.kind == MDL_J_STR ? v.s : NULL;
	return *out ? 0 : mdl_jfail(r, "argument must be str, not %s", mdl_jtype_name(v));
}

METHOD(str_replace)
{
	const struct mdl_jstr *old, *new;
	int64_t count;

	UNUSED;
	if (need_str(r, argv[0], &old) < 0 || need_str(r, argv[1], &new) < 0)
		return LT_EFORMAT;
	if (mdl_jarg_int(r, argv[2], -1, &count) < 0)
		return LT_EFORMAT;
	return mdl_jtext_replace(r, self.s, old, new, count, out);
}

static int split(struct mdl_jrun *r, struct mdl_jval self, const struct mdl_jval *argv,
		 bool from_right, struct mdl_jval *out)
{
	const struct mdl_jstr *sep;
	struct mdl_jlb parts = {0};
	int64_t max;
	int rc;

	if ((rc = mdl_jarg_str(r, argv[0], &sep)) < 0 ||
	    (rc = mdl_jarg_int(r, argv[1], -1, &max)) < 0 ||
	    (rc = mdl_jtext_split(r, self.s, sep, max, from_right, &parts)) < 0)
		return rc;
	return mdl_jlb_finish(r, &parts, MDL_J_LIST, out);
}

METHOD(str_split)
{
	UNUSED;
	return split(r, self, argv, false, out);
}

METHOD(str_rsplit)
{
	UNUSED;
	return split(r, self, argv, true, out);
}

METHOD(str_splitlines)
{
	struct mdl_jlb lines = {0};
	int rc = mdl_jtext_lines(r, self.s, mdl_jtruth(argv[0]), &lines);

	UNUSED;
	return rc < 0 ? rc : mdl_jlb_finish(r, &lines, MDL_J_LIST, out);
}

METHOD(str_join)
{
	UNUSED;
	return mdl_jtext_join(r, self.s, argv[0], true, out);
}

/* (before, sep, after), or the text and two empty strings. */
static int partition(struct mdl_jrun *r, struct mdl_jval self, struct mdl_jval by, bool last,
		     struct mdl_jval *out)
{
	const struct mdl_jstr *sep;
	struct mdl_jval part[3];
	size_t at;
	int rc = need_str(r, by, &sep);

	if (rc < 0)
		return rc;
	if (sep->n == 0)
		return mdl_jfail(r, "empty separator");
	at = mdl_jtext_find(self.s, sep, 0, self.s->n, last);
	if (at == SIZE_MAX) {
		if (mdl_jstr_lit(r, "", &part[0]) < 0)
			return r->err->code;
		part[1] = part[2] = part[0];
		part[last ? 2 : 0] = self;
	} else if ((rc = mdl_jstr_sub(r, self.s, 0, at, &part[0])) < 0 ||
		   (rc = mdl_jstr_sub(r, self.s, at, sep->n, &part[1])) < 0 ||
		   (rc = mdl_jstr_sub(r, self.s, at + sep->n, self.s->n - at - sep->n, &part[2])) <
			   0) {
		return rc;
	}
	rc = mdl_jlist_new(r, part, 3, MDL_J_TUPLE, out);
	return rc < 0 ? rc : mdl_jstep_bytes(r, self.s->n);
}

METHOD(str_partition)
{
	UNUSED;
	return partition(r, self, argv[0], false, out);
}

METHOD(str_rpartition)
{
	UNUSED;
	return partition(r, self, argv[0], true, out);
}

METHOD(str_removeprefix)
{
	const struct mdl_jstr *what;
	int rc = need_str(r, argv[0], &what);

	UNUSED;
	*out = self;
	if (rc < 0 || what->n > self.s->n || memcmp(self.s->data, what->data, what->n) != 0)
		return rc;
	return mdl_jstr_sub(r, self.s, what->n, self.s->n - what->n, out);
}

METHOD(str_removesuffix)
{
	const struct mdl_jstr *what;
	int rc = need_str(r, argv[0], &what);

	UNUSED;
	*out = self;
	if (rc < 0 || what->n > self.s->n ||
	    memcmp(self.s->data + self.s->n - what->n, what->data, what->n) != 0)
		return rc;
	return mdl_jstr_sub(r, self.s, 0, self.s->n - what->n, out);
}

static int pad(struct mdl_jrun *r, struct mdl_jval self, const struct mdl_jval *argv, int sides,
	       struct mdl_jval *out)
{
	const struct mdl_jstr *fill;
	int64_t width;
	int rc = mdl_jarg_int(r, argv[0], 0, &width);

	if (rc == 0)
		rc = mdl_jarg_str(r, argv[1], &fill);
	return rc < 0 ? rc : mdl_jtext_pad(r, self.s, width, fill, sides, out);
}

METHOD(str_center)
{
	UNUSED;
	return pad(r, self, argv, MDL_J_LEFT | MDL_J_RIGHT, out);
}

METHOD(str_ljust)
{
	UNUSED;
	return pad(r, self, argv, MDL_J_RIGHT, out);
}

METHOD(str_rjust)
{
	UNUSED;
	return pad(r, self, argv, MDL_J_LEFT, out);
}

METHOD(str_zfill)
{
	static const struct mdl_jstr zero = {.data = "0", .n = 1, .chars = 1};
	struct mdl_jval sign, rest, zeros;
	int64_t width;
	size_t n = self.s->n > 0 && (self.s->data[0] == '+' || self.s->data[0] == '-');
	int rc = mdl_jarg_int(r, argv[0], 0, &width);

	UNUSED;
	if (rc < 0 || (rc = mdl_jstr_sub(r, self.s, 0, n, &sign)) < 0 ||
	    (rc = mdl_jstr_sub(r, self.s, n, self.s->n - n, &rest)) < 0)
		return rc;
	if (width < INT64_MIN + 1)
		width = 0;
	rc = mdl_jtext_pad(r, rest.s, width - (int64_t)n, &zero, MDL_J_LEFT, &zeros);
	return rc < 0 ? rc : mdl_jstr_concat(r, sign.s, zeros.s, out);
}

METHOD(str_format)
{
	UNUSED;
	return mdl_jformat_braces(r, self.s, call, out);
}

METHOD(str_format_map)
{
	struct mdl_jcall named = {0};

	UNUSED;
	if (argv[0].kind != MDL_J_DICT)
		return mdl_jfail(r, "format_map needs a dict, not %s", mdl_jtype_name(argv[0]));
	named.kw = mdl_jarena_alloc(&r->arena, argv[0].d->n, sizeof(*named.kw));
	if (!named.kw)
		return mdl_jno_memory(r);
	for (size_t i = 0; i < argv[0].d->n; i++) {
		if (argv[0].d->v[i].key.kind == MDL_J_STR)
			named.kw[named.n_kw++] = argv[0].d->v[i];
	}
	return mdl_jformat_braces(r, self.s, &named, out);
}

/* --- strings: searching ------------------------------------------------------------------------ */

/* A start or end argument in characters: clipped to the text. */
static int clip(struct mdl_jrun *r, struct mdl_jval v, int64_t otherwise, int64_t n, int64_t *out)
{
	int rc = mdl_jarg_int(r, v, otherwise, out);

	if (*out < 0)
		*out = *out + n < 0 ? 0 : *out + n;
	return rc;
}

/* Bytes [*from, *to) that argv[1] and argv[2] name; *from > *to if they name nothing. */
static int search_range(struct mdl_jrun *r, const struct mdl_jstr *s, const struct mdl_jval *argv,
			size_t *from, size_t *to)
{
	int64_t n = (int64_t)mdl_jstr_chars(s), a, b;

	if (clip(r, argv[1], 0, n, &a) < 0 || clip(r, argv[2], n, n, &b) < 0)
		return LT_EFORMAT;
	if (b > n)
		b = n;
	*from = 1;
	*to = 0;
	if (a > b)
		return 0;
	*from = mdl_juni_offset(s->data, s->n, (size_t)a);
	*to = mdl_juni_offset(s->data, s->n, (size_t)b);
	return mdl_jstep_bytes(r, s->n);
}

static int find(struct mdl_jrun *r, struct mdl_jval self, const struct mdl_jval *argv, bool last,
		bool must, struct mdl_jval *out)
{
	const struct mdl_jstr *what;
	size_t from, to, at;

	if (need_str(r, argv[0], &what) < 0 || search_range(r, self.s, argv, &from, &to) < 0)
		return r->err->code;
	at = mdl_jtext_find(self.s, what, from, to, last);
	if (at == SIZE_MAX && must)
		return mdl_jfail(r, "substring not found");
	*out = MDL_JINT(at == SIZE_MAX ? -1 : (int64_t)mdl_juni_count(self.s->data, at));
	return 0;
}

METHOD(str_find)
{
	UNUSED;
	return find(r, self, argv, false, false, out);
}

METHOD(str_rfind)
{
	UNUSED;
	return find(r, self, argv, true, false, out);
}

METHOD(str_index)
{
	UNUSED;
	return find(r, self, argv, false, true, out);
}

METHOD(str_rindex)
{
	UNUSED;
	return find(r, self, argv, true, true, out);
}

METHOD(str_count)
{
	const struct mdl_jstr *what;
	size_t from, to, at;
	int64_t n = 0;

	UNUSED;
	if (need_str(r, argv[0], &what) < 0 || search_range(r, self.s, argv, &from, &to) < 0)
		return r->err->code;
	if (what->n == 0) {
		*out = MDL_JINT(
			from > to ? 0
				  : (int64_t)mdl_juni_count(self.s->data + from, to - from) + 1);
		return 0;
	}
	while ((at = mdl_jtext_find(self.s, what, from, to, false)) != SIZE_MAX) {
		n++;
		from = at + what->n;
	}
	*out = MDL_JINT(n);
	return 0;
}

static bool affix_at(const struct mdl_jstr *s, const struct mdl_jstr *what, size_t from, size_t to,
		     bool end)
{
	if (from > to || what->n > to - from)
		return false;
	return memcmp(s->data + (end ? to - what->n : from), what->data, what->n) == 0;
}

static int affix(struct mdl_jrun *r, struct mdl_jval self, const struct mdl_jval *argv, bool end,
		 struct mdl_jval *out)
{
	const struct mdl_jval *v = &argv[0];
	size_t from, to, n = 1;
	bool hit = false;

	if (argv[0].kind == MDL_J_TUPLE) {
		v = argv[0].l->v;
		n = argv[0].l->n;
	}
	if (search_range(r, self.s, argv, &from, &to) < 0)
		return r->err->code;
	for (size_t i = 0; i < n && !hit; i++) {
		if (v[i].kind != MDL_J_STR)
			return mdl_jfail(r, "%s first arg must be str or a tuple of str, not %s",
					 end ? "endswith" : "startswith", mdl_jtype_name(v[i]));
		hit = affix_at(self.s, v[i].s, from, to, end);
	}
	*out = MDL_JBOOL(hit);
	return mdl_jstep(r, n / 16);
}

METHOD(str_startswith)
{
	UNUSED;
	return affix(r, self, argv, false, out);
}

METHOD(str_endswith)
{
	UNUSED;
	return affix(r, self, argv, true, out);
}

/* --- strings: what they consist of ------------------------------------------------------------- */

static bool is_alnum(uint32_t cp)
{
	return mdl_juni_is_alpha(cp) || mdl_juni_is_digit(cp);
}

static bool is_ascii(uint32_t cp)
{
	return cp < 0x80;
}

static int consists(struct mdl_jrun *r, const struct mdl_jstr *s, bool (*of)(uint32_t cp),
		    bool empty, struct mdl_jval *out)
{
	bool all = s->n > 0 || empty;
	size_t len;

	for (size_t at = 0; all && at < s->n; at += len)
		all = of(mdl_juni_next(s->data + at, s->n - at, &len));
	*out = MDL_JBOOL(all);
	return mdl_jstep_bytes(r, s->n);
}

#define CONSISTS(name, of, empty)                                                                  \
	METHOD(name)                                                                               \
	{                                                                                          \
		UNUSED;                                                                            \
		return consists(r, self.s, of, empty, out);                                        \
	}

CONSISTS(str_isalpha, mdl_juni_is_alpha, false)
CONSISTS(str_isdigit, mdl_juni_is_digit, false)
CONSISTS(str_isalnum, is_alnum, false)
CONSISTS(str_isspace, mdl_juni_is_space, false)
CONSISTS(str_isascii, is_ascii, true)

static int is_case(struct mdl_jrun *r, struct mdl_jval self, const char *test, struct mdl_jval *out)
{
	struct mdl_jstr name = {.data = test, .n = strlen(test)};
	struct mdl_jcall none = {0};

	return mdl_japply(r, mdl_jtest_find(&name), "test", self, &none, out);
}

METHOD(str_isupper)
{
	UNUSED;
	return is_case(r, self, "upper", out);
}

METHOD(str_islower)
{
	UNUSED;
	return is_case(r, self, "lower", out);
}

METHOD(str_istitle)
{
	bool after_cased = false, any = false, ok = true;
	size_t len;

	UNUSED;
	for (size_t at = 0; ok && at < self.s->n; at += len) {
		uint32_t cp = mdl_juni_next(self.s->data + at, self.s->n - at, &len);
		bool upper = mdl_juni_is_upper(cp), lower = mdl_juni_is_lower(cp);

		ok = upper ? !after_cased : !lower || after_cased;
		after_cased = upper || lower;
		any |= after_cased;
	}
	*out = MDL_JBOOL(ok && any);
	return mdl_jstep_bytes(r, self.s->n);
}

/* --- other types ------------------------------------------------------------------------------- */

METHOD(list_copy)
{
	UNUSED;
	*out = self;
	return 0;
}

METHOD(list_count)
{
	int64_t n = 0;
	bool same;
	int rc = 0;

	UNUSED;
	for (size_t i = 0; rc == 0 && i < self.l->n; i++) {
		rc = mdl_jequal(r, self.l->v[i], argv[0], &same);
		n += rc == 0 && same;
	}
	*out = MDL_JINT(n);
	return rc;
}

METHOD(list_index)
{
	int64_t from, to;
	bool same;
	int rc;

	UNUSED;
	if ((rc = clip(r, argv[1], 0, (int64_t)self.l->n, &from)) < 0 ||
	    (rc = clip(r, argv[2], (int64_t)self.l->n, (int64_t)self.l->n, &to)) < 0)
		return rc;
	for (int64_t i = from; i < to && i < (int64_t)self.l->n; i++) {
		rc = mdl_jequal(r, self.l->v[i], argv[0], &same);
		*out = MDL_JINT(i);
		if (rc < 0 || same)
			return rc;
	}
	return mdl_jfail(r, "value is not in %s", mdl_jtype_name(self));
}

METHOD(dict_get)
{
	const struct mdl_jval *v = mdl_jdict_get(r, self.d, argv[0]);

	UNUSED;
	if (!mdl_jhashable(argv[0]))
		return mdl_jfail(r, "unhashable type: '%s'", mdl_jtype_name(argv[0]));
	*out = v ? *v : argv[1].kind == MDL_J_MISSING ? MDL_JNONE : argv[1];
	return 0;
}

static struct mdl_jval view(struct mdl_jval dict, enum mdl_jview which)
{
	return (struct mdl_jval){.kind = MDL_J_VIEW, .sub = (uint8_t)which, .d = dict.d};
}

METHOD(dict_keys)
{
	UNUSED;
	*out = view(self, MDL_J_KEYS);
	return 0;
}

METHOD(dict_values)
{
	UNUSED;
	*out = view(self, MDL_J_VALUES);
	return 0;
}

METHOD(dict_items)
{
	UNUSED;
	*out = view(self, MDL_J_ITEMS);
	return 0;
}

METHOD(float_is_integer)
{
	UNUSED;
	*out = MDL_JBOOL(isfinite(self.f) && floor(self.f) == self.f);
	return 0;
}

METHOD(loop_cycle)
{
	UNUSED;
	if (call->n_pos == 0)
		return mdl_jfail(r, "no items for cycling given");
	*out = call->pos[(uint64_t)self.loop->index0 % call->n_pos];
	return 0;
}

METHOD(loop_changed)
{
	struct mdl_jval now;
	bool same = false;
	int rc = mdl_jlist_new(r, call->pos, call->n_pos, MDL_J_TUPLE, &now);

	UNUSED;
	if (rc == 0 && self.loop->changed.kind != MDL_J_MISSING)
		rc = mdl_jequal(r, self.loop->changed, now, &same);
	if (rc == 0 && !same)
		self.loop->changed = now;
	*out = MDL_JBOOL(!same);
	return rc;
}

METHOD(cycler_next)
{
	struct mdl_jcycler *c = self.cycler;

	UNUSED;
	*out = c->items.v[c->at];
	c->at = (c->at + 1) % c->items.n;
	return 0;
}

METHOD(cycler_reset)
{
	UNUSED;
	self.cycler->at = 0;
	*out = MDL_JNONE;
	return 0;
}

/* --- tables ------------------------------------------------------------------------------------ */

static const struct mdl_jspec str_methods[] = {
	{"capitalize", str_capitalize, NULL, 0, false},
	{"casefold", str_lower, NULL, 0, false},
	{"center", str_center, "- -", 1, false},
	{"count", str_count, "- - -", 1, false},
	{"endswith", str_endswith, "- - -", 1, false},
	{"find", str_find, "- - -", 1, false},
	{"format", str_format, NULL, 0, true},
	{"format_map", str_format_map, "-", 1, false},
	{"index", str_index, "- - -", 1, false},
	{"isalnum", str_isalnum, NULL, 0, false},
	{"isalpha", str_isalpha, NULL, 0, false},
	{"isascii", str_isascii, NULL, 0, false},
	{"isdecimal", str_isdigit, NULL, 0, false},
	{"isdigit", str_isdigit, NULL, 0, false},
	{"islower", str_islower, NULL, 0, false},
	{"isnumeric", str_isdigit, NULL, 0, false},
	{"isspace", str_isspace, NULL, 0, false},
	{"istitle", str_istitle, NULL, 0, false},
	{"isupper", str_isupper, NULL, 0, false},
	{"join", str_join, "-", 1, false},
	{"ljust", str_ljust, "- -", 1, false},
	{"lower", str_lower, NULL, 0, false},
	{"lstrip", str_lstrip, "-", 0, false},
	{"partition", str_partition, "-", 1, false},
	{"removeprefix", str_removeprefix, "-", 1, false},
	{"removesuffix", str_removesuffix, "-", 1, false},
	{"replace", str_replace, "- - -", 2, false},
	{"rfind", str_rfind, "- - -", 1, false},
	{"rindex", str_rindex, "- - -", 1, false},
	{"rjust", str_rjust, "- -", 1, false},
	{"rpartition", str_rpartition, "-", 1, false},
	{"rsplit", str_rsplit, "sep maxsplit", 0, false},
	{"rstrip", str_rstrip, "-", 0, false},
	{"split", str_split, "sep maxsplit", 0, false},
	{"splitlines", str_splitlines, "keepends", 0, false},
	{"startswith", str_startswith, "- - -", 1, false},
	{"strip", str_strip, "-", 0, false},
	{"swapcase", str_swapcase, NULL, 0, false},
	{"title", str_title, NULL, 0, false},
	{"upper", str_upper, NULL, 0, false},
	{"zfill", str_zfill, "-", 1, false},
	{"encode", NULL, NULL, 0, false},
	{"expandtabs", NULL, NULL, 0, false},
	{"isidentifier", NULL, NULL, 0, false},
	{"isprintable", NULL, NULL, 0, false},
	{"maketrans", NULL, NULL, 0, false},
	{"translate", NULL, NULL, 0, false},
	{NULL, NULL, NULL, 0, false},
};

static const struct mdl_jspec list_methods[] = {
	{"count", list_count, "-", 1, false},
	{"index", list_index, "- - -", 1, false},
	{"copy", list_copy, NULL, 0, false}, /* lists only: see mdl_jmethod_find */
	{NULL, NULL, NULL, 0, false},
};

static const struct mdl_jspec dict_methods[] = {
	{"copy", list_copy, NULL, 0, false},
	{"get", dict_get, "- -", 1, false},
	{"items", dict_items, NULL, 0, false},
	{"keys", dict_keys, NULL, 0, false},
	{"values", dict_values, NULL, 0, false},
	{"fromkeys", NULL, NULL, 0, false},
	{NULL, NULL, NULL, 0, false},
};

static const struct mdl_jspec float_methods[] = {
	{"is_integer", float_is_integer, NULL, 0, false},
	{NULL, NULL, NULL, 0, false},
};

static const struct mdl_jspec loop_methods[] = {
	{"changed", loop_changed, NULL, 0, true},
	{"cycle", loop_cycle, NULL, 0, true},
	{NULL, NULL, NULL, 0, false},
};

static const struct mdl_jspec cycler_methods[] = {
	{"next", cycler_next, NULL, 0, false},
	{"reset", cycler_reset, NULL, 0, false},
	{NULL, NULL, NULL, 0, false},
};

const struct mdl_jspec *mdl_jmethod_find(unsigned kind, const struct mdl_jstr *name)
{
	switch (kind) {
	case MDL_J_STR: return mdl_jspec_find(str_methods, name);
	case MDL_J_LIST: return mdl_jspec_find(list_methods, name);
	case MDL_J_TUPLE:
		return mdl_jstr_is(name, "copy") ? NULL : mdl_jspec_find(list_methods, name);
	case MDL_J_DICT: return mdl_jspec_find(dict_methods, name);
	case MDL_J_FLOAT: return mdl_jspec_find(float_methods, name);
	case MDL_J_LOOP: return mdl_jspec_find(loop_methods, name);
	case MDL_J_CYCLER: return mdl_jspec_find(cycler_methods, name);
	default: return NULL;
	}
}
