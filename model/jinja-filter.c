/*
 * Filters on single values; the table of all filters. Those on sequences: jinja-filter-seq.c.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/jinja-text.h"
#include "model/jinja-unicode.h"

#define FILTER(name)                                                                               \
	static int name(struct mdl_jrun *r, struct mdl_jval self, const struct mdl_jval *argv,     \
			const struct mdl_jcall *call, struct mdl_jval *out)
#define UNUSED (void)argv, (void)call

static bool given(struct mdl_jval v)
{
	return v.kind != MDL_J_MISSING;
}

static bool flag(struct mdl_jval v)
{
	return given(v) && mdl_jtruth(v);
}

/* --- text -------------------------------------------------------------------------------------- */

int mdl_jescape(struct mdl_jrun *r, const struct mdl_jstr *s, struct mdl_jval *out)
{
	static const char special[] = "&<>\"'";
	static const char *const entities[] = {"&amp;", "&lt;", "&gt;", "&#34;", "&#39;"};
	struct mdl_jsb sb = {0};
	int rc = 0;

	for (size_t at = 0, n; rc == 0 && at < s->n; at += n + 1) {
		const char *hit;

		for (n = 0; at + n < s->n; n++) {
			if (s->data[at + n] && strchr(special, s->data[at + n]))
				break;
		}
		rc = mdl_jsb_add_sub(r, &sb, s, at, n);
		if (rc < 0 || at + n == s->n)
			break;
		hit = strchr(special, s->data[at + n]);
		rc = mdl_jsb_add(r, &sb, entities[hit - special], strlen(entities[hit - special]),
				 mdl_jstr_trusted_at(s, at + n));
	}
	if (rc == 0)
		rc = mdl_jsb_finish(r, &sb, out);
	if (rc == 0)
		((struct mdl_jstr *)out->s)->markup = true; /* just made: nobody shares it yet */
	return rc;
}

FILTER(do_escape)
{
	UNUSED;
	if (self.kind == MDL_J_STR && self.s->markup) {
		*out = self;
		return 0;
	}
	if (mdl_jto_str(r, self, &self) < 0)
		return r->err->code;
	return mdl_jescape(r, self.s, out);
}

FILTER(do_forceescape)
{
	UNUSED;
	if (mdl_jto_str(r, self, &self) < 0)
		return r->err->code;
	return mdl_jescape(r, self.s, out);
}

FILTER(do_safe)
{
	struct mdl_jstr *s;

	UNUSED;
	if (mdl_jto_str(r, self, &self) < 0)
		return r->err->code;
	s = mdl_jarena_alloc(&r->arena, 1, sizeof(*s));
	if (!s)
		return mdl_jno_memory(r);
	*s = *self.s;
	s->markup = true;
	*out = MDL_JSTR(s);
	return 0;
}

FILTER(do_string)
{
	UNUSED;
	return mdl_jto_str(r, self, out);
}

static int to_case(struct mdl_jrun *r, struct mdl_jval self, enum mdl_jcase how,
		   struct mdl_jval *out)
{
	int rc = mdl_jto_str(r, self, &self);

	return rc < 0 ? rc : mdl_jtext_case(r, self.s, how, out);
}

FILTER(do_upper)
{
	UNUSED;
	return to_case(r, self, MDL_J_UPPER, out);
}

FILTER(do_lower)
{
	UNUSED;
	return to_case(r, self, MDL_J_LOWER, out);
}

FILTER(do_capitalize)
{
	UNUSED;
	return to_case(r, self, MDL_J_CAPITALIZE, out);
}

FILTER(do_title)
{
	UNUSED;
	return to_case(r, self, MDL_J_WORDS, out);
}

FILTER(do_trim)
{
	const struct mdl_jstr *chars;
	int rc = mdl_jto_str(r, self, &self);

	(void)call;
	if (rc == 0)
		rc = mdl_jarg_str(r, argv[0], &chars);
	return rc < 0 ? rc : mdl_jtext_strip(r, self.s, chars, MDL_J_LEFT | MDL_J_RIGHT, out);
}

FILTER(do_replace)
{
	struct mdl_jval old, new;
	int64_t count;
	int rc;

	(void)call;
	if ((rc = mdl_jto_str(r, self, &self)) < 0 || (rc = mdl_jto_str(r, argv[0], &old)) < 0 ||
	    (rc = mdl_jto_str(r, argv[1], &new)) < 0 ||
	    (rc = mdl_jarg_int(r, argv[2], -1, &count)) < 0)
		return rc;
	return mdl_jtext_replace(r, self.s, old.s, new.s, count, out);
}

FILTER(do_center)
{
	int64_t width;
	int rc = mdl_jto_str(r, self, &self);

	(void)call;
	if (rc == 0)
		rc = mdl_jarg_int(r, argv[0], 80, &width);
	return rc < 0 ? rc : mdl_jtext_pad(r, self.s, width, NULL, MDL_J_LEFT | MDL_J_RIGHT, out);
}

/* The text before each line but the first: `width` spaces, or the string given as width. */
static int indent_text(struct mdl_jrun *r, struct mdl_jval width, struct mdl_jval *out)
{
	static const struct mdl_jstr empty = {.data = "", .chars = 0};
	int64_t n;
	int rc;

	if (width.kind == MDL_J_STR) {
		*out = width;
		return 0;
	}
	rc = mdl_jarg_int(r, width, 4, &n);
	return rc < 0 ? rc : mdl_jtext_pad(r, &empty, n, NULL, MDL_J_LEFT, out);
}

FILTER(do_indent)
{
	bool first = flag(argv[1]), blank = flag(argv[2]);
	struct mdl_jlb lines = {0};
	struct mdl_jsb sb = {0};
	struct mdl_jval indent, text;
	int rc;

	(void)call;
	if (self.kind == MDL_J_UNDEF)
		return mdl_jfail_undef(r, self);
	if (self.kind != MDL_J_STR)
		return mdl_jfail(r, "indent needs a string, not %s", mdl_jtype_name(self));
	if ((rc = indent_text(r, argv[0], &indent)) < 0 ||
	    (rc = mdl_jsb_add_str(r, &sb, self.s)) < 0 || (rc = mdl_jsb_adds(r, &sb, "\n")) < 0 ||
	    (rc = mdl_jsb_finish(r, &sb, &text)) < 0 ||
	    (rc = mdl_jtext_lines(r, text.s, false, &lines)) < 0)
		return rc;
	sb = (struct mdl_jsb){0};
	for (size_t i = 0; rc == 0 && i < lines.n; i++) {
		if (i > 0)
			rc = mdl_jsb_adds(r, &sb, "\n");
		if (rc == 0 && (i == 0 ? first : blank || lines.v[i].s->n > 0))
			rc = mdl_jsb_add_str(r, &sb, indent.s);
		if (rc == 0)
			rc = mdl_jsb_add_str(r, &sb, lines.v[i].s);
	}
	return rc < 0 ? rc : mdl_jsb_finish(r, &sb, out);
}

FILTER(do_truncate)
{
	static const struct mdl_jstr dots = {.data = "...", .n = 3, .chars = 3},
				     space = {.data = " ", .n = 1, .chars = 1};
	const struct mdl_jstr *end;
	int64_t length, leeway, keep;
	struct mdl_jval cut;
	size_t at, n;
	int rc;

	(void)call;
	if ((rc = mdl_jarg_int(r, argv[0], 255, &length)) < 0 ||
	    (rc = mdl_jarg_str(r, argv[2], &end)) < 0 ||
	    (rc = mdl_jarg_int(r, argv[3], 5, &leeway)) < 0)
		return rc;
	if (!mdl_jlength(self, &n))
		return mdl_jfail(r, "truncate needs a string, not %s", mdl_jtype_name(self));
	end = end ? end : &dots;
	if (length < (int64_t)mdl_jstr_chars(end) || leeway < 0 || leeway > INT32_MAX)
		return mdl_jfail(r, "truncate needs a length of at least that of its ending");
	*out = self;
	if (length > INT32_MAX || (int64_t)n <= length + leeway)
		return 0;
	if (self.kind != MDL_J_STR)
		return mdl_jfail(r, "truncate needs a string, not %s", mdl_jtype_name(self));
	keep = length - (int64_t)mdl_jstr_chars(end);
	rc = mdl_jslice(r, self, MDL_JMISSING, MDL_JINT(keep), MDL_JMISSING, &cut);
	if (rc < 0)
		return rc;
	at = flag(argv[1]) ? SIZE_MAX : mdl_jtext_find(cut.s, &space, 0, cut.s->n, true);
	if (at != SIZE_MAX && (rc = mdl_jstr_sub(r, cut.s, 0, at, &cut)) < 0)
		return rc;
	return mdl_jstr_concat(r, cut.s, end, out);
}

FILTER(do_wordcount)
{
	int64_t words = 0;
	bool in_word = false, is_word;
	size_t len;
	int rc = mdl_jto_str(r, self, &self);

	UNUSED;
	if (rc == 0)
		rc = mdl_jstep_bytes(r, self.s->n);
	for (size_t at = 0; rc == 0 && at < self.s->n; at += len) {
		uint32_t cp = mdl_juni_next(self.s->data + at, self.s->n - at, &len);

		is_word = cp == '_' || mdl_juni_is_alpha(cp) || mdl_juni_is_digit(cp);
		words += is_word && !in_word;
		in_word = is_word;
	}
	*out = MDL_JINT(words);
	return rc;
}

/* --- URLs -------------------------------------------------------------------------------------- */

static int quote(struct mdl_jrun *r, struct mdl_jsb *sb, struct mdl_jval v, bool query)
{
	char buf[4];
	int rc = mdl_jto_str(r, v, &v);

	for (size_t i = 0; rc == 0 && i < v.s->n; i++) {
		unsigned char c = (unsigned char)v.s->data[i];
		bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			     (c >= '0' && c <= '9') || (c && strchr("_.-~", c)) ||
			     (c == '/' && !query);

		snprintf(buf, sizeof(buf), plain ? "%c" : "%%%02X", c);
		if (c == ' ' && query)
			snprintf(buf, sizeof(buf), "+");
		rc = mdl_jsb_add(r, sb, buf, strlen(buf), mdl_jstr_trusted_at(v.s, i));
	}
	return rc;
}

FILTER(do_urlencode)
{
	struct mdl_jsb sb = {0};
	struct mdl_jlb items = {0}, pair;
	int rc = 0;

	UNUSED;
	if (self.kind == MDL_J_STR || !mdl_jiterable(self)) {
		rc = quote(r, &sb, self, false);
		return rc < 0 ? rc : mdl_jsb_finish(r, &sb, out);
	}
	if (self.kind == MDL_J_DICT) {
		self.kind = MDL_J_VIEW;
		self.sub = MDL_J_ITEMS;
	}
	rc = mdl_jcollect(r, self, &items);
	for (size_t i = 0; rc == 0 && i < items.n; i++) {
		pair = (struct mdl_jlb){0};
		rc = mdl_jcollect(r, items.v[i], &pair);
		if (rc == 0 && pair.n != 2)
			return mdl_jfail(r, "urlencode needs pairs of key and value");
		if (rc == 0 && i > 0)
			rc = mdl_jsb_adds(r, &sb, "&");
		if (rc == 0 && (rc = quote(r, &sb, pair.v[0], true)) == 0 &&
		    (rc = mdl_jsb_adds(r, &sb, "=")) == 0)
			rc = quote(r, &sb, pair.v[1], true);
	}
	return rc < 0 ? rc : mdl_jsb_finish(r, &sb, out);
}

/* --- JSON -------------------------------------------------------------------------------------- */

static int json_separators(struct mdl_jrun *r, struct mdl_jval v, struct mdl_jjson_style *style)
{
	if (v.kind == MDL_J_MISSING || v.kind == MDL_J_NONE)
		return 0;
	if ((v.kind != MDL_J_LIST && v.kind != MDL_J_TUPLE) || v.l->n != 2 ||
	    v.l->v[0].kind != MDL_J_STR || v.l->v[1].kind != MDL_J_STR)
		return mdl_jfail(r, "the separators of tojson must be two strings");
	style->item_sep = v.l->v[0].s;
	style->key_sep = v.l->v[1].s;
	return 0;
}

FILTER(do_tojson)
{
	static const struct mdl_jstr comma = {.data = ",", .n = 1, .chars = 1},
				     comma_space = {.data = ", ", .n = 2, .chars = 2},
				     colon = {.data = ": ", .n = 2, .chars = 2};
	struct mdl_jjson_style style = {.item_sep = &comma_space,
					.key_sep = &colon,
					.ascii = flag(argv[0]),
					.sort_keys = flag(argv[3])};
	struct mdl_jsb sb = {0};
	struct mdl_jval indent;
	int rc = 0;

	(void)call;
	if (given(argv[1]) && argv[1].kind != MDL_J_NONE) {
		rc = indent_text(r, argv[1], &indent);
		if (rc < 0)
			return rc;
		style.indent = indent.s;
		style.item_sep = &comma;
	}
	rc = json_separators(r, argv[2], &style);
	if (rc == 0)
		rc = mdl_jjson_write(r, &sb, self, &style);
	return rc < 0 ? rc : mdl_jsb_finish(r, &sb, out);
}

/* --- numbers ----------------------------------------------------------------------------------- */

static int float_to_int(struct mdl_jrun *r, double f, struct mdl_jval *out)
{
	if (!(f > -9223372036854775808.0 && f < 9223372036854775808.0))
		return mdl_jfail(r, "integer beyond 64 bits");
	*out = MDL_JINT((int64_t)f);
	return 0;
}

FILTER(do_int)
{
	int64_t base, i;
	bool too_big = false;
	double f;
	int rc = mdl_jarg_int(r, argv[1], 10, &base);

	(void)call;
	if (rc < 0)
		return rc;
	if (self.kind == MDL_J_UNDEF)
		return mdl_jfail_undef(r, self);
	*out = given(argv[0]) ? argv[0] : MDL_JINT(0);
	if (mdl_jinteger(self, &i)) {
		*out = MDL_JINT(i);
	} else if (self.kind == MDL_J_BIGINT) {
		*out = self;
	} else if (self.kind == MDL_J_FLOAT) {
		return isnan(self.f) ? 0 : float_to_int(r, self.f, out);
	} else if (self.kind == MDL_J_STR) {
		if (mdl_jtext_to_int(self.s, base < -1 || base > 36 ? 1 : (int)base, &i,
				     &too_big)) {
			if (too_big)
				return mdl_jfail(r, "integer beyond 64 bits");
			*out = MDL_JINT(i);
		} else if (mdl_jtext_to_float(self.s, &f) && !isnan(f) && !isinf(f)) {
			return float_to_int(r, f, out);
		}
	}
	return 0;
}

FILTER(do_float)
{
	double f;

	(void)call;
	if (self.kind == MDL_J_UNDEF)
		return mdl_jfail_undef(r, self);
	*out = given(argv[0]) ? argv[0] : MDL_JFLOAT(0.0);
	if (mdl_jnumber(self, &f) || ((self.kind == MDL_J_STR || self.kind == MDL_J_BIGINT) &&
				      mdl_jtext_to_float(self.s, &f)))
		*out = MDL_JFLOAT(f);
	return 0;
}

FILTER(do_abs)
{
	int64_t i;

	UNUSED;
	if (self.kind == MDL_J_FLOAT) {
		*out = MDL_JFLOAT(fabs(self.f));
		return 0;
	}
	if (self.kind == MDL_J_UNDEF || !mdl_jinteger(self, &i))
		return mdl_jfail(r, "bad operand type for abs(): '%s'", mdl_jtype_name(self));
	*out = MDL_JINT(i);
	return i < 0 ? mdl_jnegate(r, *out, true, out) : 0;
}

/* Rounded to `places` decimal places, exact ties to even: by way of the decimal text. */
static double round_float(double f, int64_t places)
{
	char buf[700];
	double scale;

	if (places > 320 || isnan(f) || isinf(f))
		return f;
	if (places < -308)
		return copysign(0.0, f);
	if (places < 0) {
		scale = pow(10, (double)-places);
		return rint(f / scale) * scale;
	}
	snprintf(buf, sizeof(buf), "%.*f", (int)places, f);
	return strtod(buf, NULL);
}

static int round_int(struct mdl_jrun *r, int64_t i, int64_t places, struct mdl_jval *out)
{
	int64_t unit = 1, rest, down;

	*out = MDL_JINT(i);
	for (; places < 0; places++) {
		if (__builtin_mul_overflow(unit, 10, &unit)) {
			*out = MDL_JINT(0);
			return 0;
		}
	}
	rest = i % unit;
	if (rest < 0)
		rest += unit;
	down = i - rest;
	if (rest > unit / 2 || (unit > 1 && rest == unit / 2 && (down / unit) % 2 != 0)) {
		if (__builtin_add_overflow(down, unit, &down))
			return mdl_jfail(r, "integer beyond 64 bits");
	}
	*out = MDL_JINT(down);
	return 0;
}

FILTER(do_round)
{
	const struct mdl_jstr *method;
	int64_t places, i;
	double f, scale;
	int rc;

	(void)call;
	if ((rc = mdl_jarg_int(r, argv[0], 0, &places)) < 0 ||
	    (rc = mdl_jarg_str(r, argv[1], &method)) < 0)
		return rc;
	if (!mdl_jnumber(self, &f))
		return mdl_jfail(r, "round needs a number, not %s", mdl_jtype_name(self));
	if (!method || mdl_jstr_is(method, "common")) {
		if (mdl_jinteger(self, &i))
			return round_int(r, i, places, out);
		*out = MDL_JFLOAT(round_float(f, places));
		return 0;
	}
	if (!mdl_jstr_is(method, "ceil") && !mdl_jstr_is(method, "floor"))
		return mdl_jfail(r, "the method of round must be common, ceil or floor");
	if (places < -300 || places > 300)
		return mdl_jfail(r, "the precision of round must lie between -300 and 300");
	scale = places < 0 ? 1 / pow(10, (double)-places) : pow(10, (double)places);
	f = method->data[0] == 'c' ? ceil(f * scale) : floor(f * scale);
	*out = MDL_JFLOAT(f / scale);
	return isnan(f) || isinf(f) ? mdl_jfail(r, "round needs a finite number") : 0;
}

FILTER(do_filesizeformat)
{
	static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"};
	double f, base = flag(argv[0]) ? 1024 : 1000, unit = base;
	char buf[64];
	int n = 1;

	(void)call;
	if (!mdl_jnumber(self, &f) && !(self.kind == MDL_J_STR && mdl_jtext_to_float(self.s, &f)))
		return mdl_jfail(r, "filesizeformat needs a number, not %s", mdl_jtype_name(self));
	for (; n < 8 && f >= unit * base; n++)
		unit *= base;
	if (f == 1)
		snprintf(buf, sizeof(buf), "1 Byte");
	else if (f < base)
		snprintf(buf, sizeof(buf), "%.0f Bytes", trunc(f));
	else
		snprintf(buf, sizeof(buf), "%.1f %c%s", f / unit,
			 base > 1000 && n == 1 ? 'K' : units[n][0], base > 1000 ? "iB" : "B");
	struct mdl_jsb sb = {0};
	int rc = mdl_jsb_adds(r, &sb, buf);

	return rc < 0 ? rc : mdl_jsb_finish(r, &sb, out);
}

/* --- others ------------------------------------------------------------------------------------ */

FILTER(do_default)
{
	(void)call;
	*out = self;
	if (self.kind != MDL_J_UNDEF && !(flag(argv[1]) && !mdl_jtruth(self)))
		return 0;
	if (!given(argv[0]))
		return mdl_jstr_lit(r, "", out);
	*out = argv[0];
	return 0;
}

FILTER(do_length)
{
	size_t n;
	int rc;

	UNUSED;
	if (self.kind == MDL_J_LOOP) {
		rc = mdl_jloop_length(r, self.loop, &n);
		if (rc < 0)
			return rc;
	} else if (!mdl_jlength(self, &n)) {
		return mdl_jfail(r, "object of type '%s' has no len()", mdl_jtype_name(self));
	}
	*out = MDL_JINT((int64_t)n);
	return 0;
}

FILTER(do_attr)
{
	struct mdl_jval name;
	bool found;
	int rc = mdl_jto_str(r, argv[0], &name);

	(void)call;
	if (rc == 0)
		rc = mdl_jattribute(r, self, name.s, out, &found);
	if (rc == 0 && !found)
		*out = (struct mdl_jval){.kind = MDL_J_UNDEF,
					 .sub = MDL_J_UNDEF_ATTR,
					 .what = self.kind,
					 .s = name.s};
	return rc;
}

FILTER(do_format)
{
	struct mdl_jval args;
	int rc = mdl_jto_str(r, self, &self);

	(void)argv;
	if (rc == 0 && call->n_pos > 0 && call->n_kw > 0)
		return mdl_jfail(r, "format takes positional or keyword arguments, not both");
	if (rc == 0 && call->n_kw > 0) {
		struct mdl_jpair *v = mdl_jarena_alloc(&r->arena, call->n_kw, sizeof(*v));

		if (!v)
			return mdl_jno_memory(r);
		memcpy(v, call->kw, call->n_kw * sizeof(*v));
		rc = mdl_jdict_new(r, v, call->n_kw, &args);
	} else if (rc == 0) {
		rc = mdl_jlist_new(r, call->pos, call->n_pos, MDL_J_TUPLE, &args);
	}
	return rc < 0 ? rc : mdl_jformat_percent(r, self.s, args, out);
}

static const struct mdl_jspec value_filters[] = {
	{"abs", do_abs, NULL, 0, false},
	{"attr", do_attr, "name", 1, false},
	{"capitalize", do_capitalize, NULL, 0, false},
	{"center", do_center, "width", 0, false},
	{"count", do_length, NULL, 0, false},
	{"d", do_default, "default_value boolean", 0, false},
	{"default", do_default, "default_value boolean", 0, false},
	{"e", do_escape, NULL, 0, false},
	{"escape", do_escape, NULL, 0, false},
	{"filesizeformat", do_filesizeformat, "binary", 0, false},
	{"float", do_float, "default", 0, false},
	{"forceescape", do_forceescape, NULL, 0, false},
	{"format", do_format, NULL, 0, true},
	{"indent", do_indent, "width first blank", 0, false},
	{"int", do_int, "default base", 0, false},
	{"length", do_length, NULL, 0, false},
	{"lower", do_lower, NULL, 0, false},
	{"replace", do_replace, "old new count", 2, false},
	{"round", do_round, "precision method", 0, false},
	{"safe", do_safe, NULL, 0, false},
	{"string", do_string, NULL, 0, false},
	{"title", do_title, NULL, 0, false},
	{"tojson", do_tojson, "ensure_ascii indent separators sort_keys", 0, false},
	{"trim", do_trim, "chars", 0, false},
	{"truncate", do_truncate, "length killwords end leeway", 0, false},
	{"upper", do_upper, NULL, 0, false},
	{"urlencode", do_urlencode, NULL, 0, false},
	{"wordcount", do_wordcount, NULL, 0, false},
	{"pprint", NULL, NULL, 0, false},
	{"random", NULL, NULL, 0, false},
	{"striptags", NULL, NULL, 0, false},
	{"urlize", NULL, NULL, 0, false},
	{"wordwrap", NULL, NULL, 0, false},
	{"xmlattr", NULL, NULL, 0, false},
	{NULL, NULL, NULL, 0, false},
};

const struct mdl_jspec *mdl_jfilter_find(const struct mdl_jstr *name)
{
	const struct mdl_jspec *spec = mdl_jspec_find(value_filters, name);

	return spec ? spec : mdl_jspec_find(mdl_jseq_filters, name);
}
