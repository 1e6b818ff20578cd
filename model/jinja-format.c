/*
 * Formatting: numbers and texts in a style, and "text %s" % args. Characters of the format keep
 * their origin, as do those of string arguments; digits are untrusted.
 */
#include "model/jinja-format.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/jinja-unicode.h"

/* A number's text in parts: padding with zeros goes between prefix and digits. */
struct number_text {
	char prefix[4];
	char digits[MDL_J_MAX_PRECISION + 400];
};

/* Puts a separator between groups of digits of the integer part. */
static void group_digits(char *digits, size_t size, char sep, size_t every)
{
	size_t whole = strspn(digits, "0123456789abcdefABCDEF"), n = strlen(digits), seps;

	if (!sep || whole == 0)
		return;
	seps = (whole - 1) / every;
	if (n + seps + 1 > size)
		return;
	memmove(digits + whole + seps, digits + whole, n - whole + 1);
	for (size_t i = 0; i < whole && seps > 0; i++) {
		size_t from = whole - 1 - i;

		digits[from + seps] = digits[from];
		if ((i + 1) % every == 0) {
			seps--;
			digits[from + seps] = sep;
		}
	}
}

static void int_digits(uint64_t v, const struct mdl_jstyle *style, struct number_text *t)
{
	static const char set[] = "0123456789abcdef0123456789ABCDEF";
	unsigned base = style->type == 'b'			   ? 2
			: style->type == 'o'			   ? 8
			: style->type == 'x' || style->type == 'X' ? 16
								   : 10;
	const char *digits = set + (style->type == 'X' ? 16 : 0);
	char buf[72], *p = buf + sizeof(buf) - 1;

	*p = '\0';
	do {
		*--p = digits[v % base];
		v /= base;
	} while (v > 0);
	if (style->alternate && base != 10)
		snprintf(t->prefix + strlen(t->prefix), 3, "0%c", style->type);
	snprintf(t->digits, sizeof(t->digits), "%.*s%s",
		 style->precision > (int64_t)strlen(p)
			 ? (int)(style->precision - (int64_t)strlen(p))
			 : 0,
		 "00000000000000000000000000000000000000000000000000000000000000000000000000000000"
		 "00000000000000000000000000000000000000000000000000000000000000000000000000000000",
		 p);
	group_digits(t->digits, sizeof(t->digits), style->group, base == 10 ? 3 : 4);
}

static void float_digits(double f, const struct mdl_jstyle *style, struct number_text *t)
{
	char type = style->type ? style->type : 'g', fmt[12];
	int precision = style->precision < 0 ? 6 : (int)style->precision;

	if (isnan(f) || isinf(f)) {
		const char *text = isnan(f) ? "nan" : "inf";

		if (type >= 'A' && type <= 'Z')
			text = isnan(f) ? "NAN" : "INF";
		snprintf(t->digits, sizeof(t->digits), "%s%s", text, type == '%' ? "%" : "");
		return;
	}
	f = fabs(f);
	if (!style->type && style->precision < 0) {
		mdl_jfloat_text(f, t->digits);
	} else if (type == '%') {
		snprintf(t->digits, sizeof(t->digits), "%.*f%%", precision, f * 100);
	} else {
		snprintf(fmt, sizeof(fmt), "%%%s.*%c", style->alternate ? "#" : "",
			 type == 'n' ? 'g' : type);
		snprintf(t->digits, sizeof(t->digits), fmt, precision, f);
		if (!style->type && !strpbrk(t->digits, ".e"))
			strcat(t->digits, ".0"); /* room: at most 309 + 300 digits before */
	}
	group_digits(t->digits, sizeof(t->digits), style->group, 3);
}

static int add_fill(struct mdl_jrun *r, struct mdl_jsb *sb, const struct mdl_jstyle *style,
		    int64_t n)
{
	int rc = 0;

	for (; rc == 0 && n > 0; n--)
		rc = style->fill.kind == MDL_J_STR ? mdl_jsb_add_str(r, sb, style->fill.s)
						   : mdl_jsb_adds(r, sb, " ");
	return rc;
}

/* Spaces before the text of `n` characters. */
static int64_t left_pad(const struct mdl_jstyle *style, int64_t n, char default_align)
{
	char align = style->align ? style->align : default_align;
	int64_t pad = style->width - n;

	if (pad <= 0 || align == '<')
		return 0;
	return align == '^' ? pad / 2 : pad;
}

static int add_padded(struct mdl_jrun *r, struct mdl_jsb *sb, const struct mdl_jstr *s,
		      const struct mdl_jstyle *style)
{
	int64_t n = (int64_t)mdl_jstr_chars(s), left = left_pad(style, n, '<');
	int rc = add_fill(r, sb, style, left);

	if (rc == 0)
		rc = mdl_jsb_add_str(r, sb, s);
	return rc < 0 ? rc : add_fill(r, sb, style, style->width - n - left);
}

static int add_number(struct mdl_jrun *r, struct mdl_jsb *sb, const struct number_text *t,
		      const struct mdl_jstyle *style)
{
	int64_t n = (int64_t)(strlen(t->prefix) + strlen(t->digits)), zeros = 0, left, right;
	int rc;

	if (style->zero && !style->align)
		zeros = style->width > n ? style->width - n : 0;
	left = style->align == '=' ? 0 : left_pad(style, n + zeros, '>');
	right = style->align == '=' ? 0 : style->width - n - zeros - left;
	rc = add_fill(r, sb, style, left);
	if (rc == 0)
		rc = mdl_jsb_adds(r, sb, t->prefix);
	if (rc == 0 && style->align == '=')
		rc = add_fill(r, sb, style, style->width - n);
	for (; rc == 0 && zeros > 0; zeros--)
		rc = mdl_jsb_adds(r, sb, "0");
	if (rc == 0)
		rc = mdl_jsb_adds(r, sb, t->digits);
	return rc < 0 ? rc : add_fill(r, sb, style, right);
}

static void set_sign(struct number_text *t, bool minus, const struct mdl_jstyle *style)
{
	t->prefix[0] = (char)(minus ? '-' : style->sign);
	t->prefix[1] = '\0';
}

int mdl_jfmt_int(struct mdl_jrun *r, struct mdl_jsb *sb, int64_t v, const struct mdl_jstyle *style)
{
	struct number_text t;

	set_sign(&t, v < 0, style);
	int_digits(v < 0 ? 0 - (uint64_t)v : (uint64_t)v, style, &t);
	return add_number(r, sb, &t, style);
}

int mdl_jfmt_float(struct mdl_jrun *r, struct mdl_jsb *sb, double f, const struct mdl_jstyle *style)
{
	struct number_text t;

	set_sign(&t, signbit(f) && !isnan(f), style);
	float_digits(f, style, &t);
	return add_number(r, sb, &t, style);
}

/* The text of v, cut to the precision, padded. */
int mdl_jfmt_text(struct mdl_jrun *r, struct mdl_jsb *sb, struct mdl_jval v,
		  const struct mdl_jstyle *style)
{
	int rc = mdl_jto_str(r, v, &v);

	if (rc == 0 && style->precision >= 0)
		rc = mdl_jslice(r, v, MDL_JMISSING, MDL_JINT(style->precision), MDL_JMISSING, &v);
	return rc < 0 ? rc : add_padded(r, sb, v.s, style);
}

int mdl_jfmt_repr(struct mdl_jrun *r, struct mdl_jval v, struct mdl_jval *out)
{
	struct mdl_jsb sb = {0};
	int rc = mdl_jrepr(r, &sb, v);

	return rc < 0 ? rc : mdl_jsb_finish(r, &sb, out);
}

/* --- percent ----------------------------------------------------------------------------------- */

struct percent {
	struct mdl_jrun *r;
	const struct mdl_jstr *fmt;
	size_t at;
	struct mdl_jval args;
	size_t used; /* of a tuple's items, or of the one argument */
	struct mdl_jsb sb;
};

static int next_arg(struct percent *p, struct mdl_jval *out)
{
	bool tuple = p->args.kind == MDL_J_TUPLE;

	if (p->used >= (tuple ? p->args.l->n : 1))
		return mdl_jfail(p->r, "not enough arguments for format string");
	*out = tuple ? p->args.l->v[p->used] : p->args;
	p->used++;
	return 0;
}

static char peek(const struct percent *p)
{
	return p->at < p->fmt->n ? p->fmt->data[p->at] : '\0';
}

/* "(key)": the value of that key becomes the argument. */
static int percent_key(struct percent *p, struct mdl_jval *out)
{
	size_t from = ++p->at;
	struct mdl_jval key;
	int rc;

	while (p->at < p->fmt->n && peek(p) != ')')
		p->at++;
	if (p->at >= p->fmt->n)
		return mdl_jfail(p->r, "incomplete format key");
	if (p->args.kind != MDL_J_DICT)
		return mdl_jfail(p->r, "format requires a mapping");
	rc = mdl_jstr_sub(p->r, p->fmt, from, p->at - from, &key);
	if (rc < 0)
		return rc;
	p->at++;
	p->used = 1;
	const struct mdl_jval *v = mdl_jdict_get(p->r, p->args.d, key);
	if (!v)
		return mdl_jfail(p->r, "no key '%.*s' for a format",
				 (int)(key.s->n < 64 ? key.s->n : 64), key.s->data);
	*out = *v;
	return 0;
}

/* Digits or "*". */
static int percent_size(struct percent *p, int64_t limit, int64_t *out)
{
	struct mdl_jval v;
	int rc;

	*out = 0;
	if (peek(p) == '*') {
		p->at++;
		rc = next_arg(p, &v);
		if (rc < 0)
			return rc;
		if (!mdl_jinteger(v, out))
			return mdl_jfail(p->r, "* wants int");
	}
	for (; peek(p) >= '0' && peek(p) <= '9' && *out <= limit; p->at++)
		*out = *out * 10 + (peek(p) - '0');
	if (*out > limit || *out < -limit)
		return mdl_jfail(p->r, "width or precision beyond %" PRId64, limit);
	return 0;
}

static int percent_style(struct percent *p, struct mdl_jstyle *style)
{
	bool minus = false;
	int rc;

	for (; peek(p) && strchr("#0- +", peek(p)); p->at++) {
		style->alternate |= peek(p) == '#';
		style->zero |= peek(p) == '0';
		minus |= peek(p) == '-';
		if (peek(p) == '+' || (peek(p) == ' ' && !style->sign))
			style->sign = peek(p);
	}
	rc = percent_size(p, MDL_J_MAX_WIDTH, &style->width);
	if (rc < 0)
		return rc;
	if (style->width < 0) {
		minus = true;
		style->width = -style->width;
	}
	if (peek(p) == '.') {
		p->at++;
		rc = percent_size(p, MDL_J_MAX_PRECISION, &style->precision);
		if (style->precision < 0)
			style->precision = 0;
	}
	style->align = minus ? '<' : 0;
	while (peek(p) && strchr("hlL", peek(p)))
		p->at++;
	style->type = peek(p);
	p->at += p->at < p->fmt->n;
	return rc;
}

static int percent_char(struct percent *p, struct mdl_jval v, const struct mdl_jstyle *style)
{
	struct mdl_jsb sb = {0};
	struct mdl_jval text = v;
	struct mdl_jstyle plain = *style;
	int64_t cp;
	int rc = 0;

	plain.precision = -1;
	if (!plain.align)
		plain.align = '>';
	if (mdl_jinteger(v, &cp)) {
		if (cp < 0 || cp > 0x10ffff)
			return mdl_jfail(p->r, "%%c arg not in range(0x110000)");
		rc = mdl_jsb_add_cp(p->r, &sb, (uint32_t)cp, false);
		if (rc == 0)
			rc = mdl_jsb_finish(p->r, &sb, &text);
	} else if (v.kind != MDL_J_STR || mdl_jstr_chars(v.s) != 1) {
		return mdl_jfail(p->r, "%%c requires int or char");
	}
	return rc < 0 ? rc : add_padded(p->r, &p->sb, text.s, &plain);
}

static int percent_number(struct percent *p, struct mdl_jval v, struct mdl_jstyle *style)
{
	bool integer = strchr("diuoxX", style->type) != NULL;
	int64_t i;
	double f;

	if (style->align == '<')
		style->zero = false;
	if (v.kind == MDL_J_UNDEF)
		return mdl_jfail_undef(p->r, v);
	if (!integer && mdl_jnumber(v, &f))
		return mdl_jfmt_float(p->r, &p->sb, f, style);
	if (integer && mdl_jinteger(v, &i))
		return mdl_jfmt_int(p->r, &p->sb, i, style);
	if (integer && v.kind == MDL_J_FLOAT && strchr("diu", style->type)) {
		if (!(fabs(v.f) < 9223372036854775808.0))
			return mdl_jfail(p->r, "integer beyond 64 bits");
		return mdl_jfmt_int(p->r, &p->sb, (int64_t)v.f, style);
	}
	return mdl_jfail(p->r, "%%%c format: a number is required, not %s", style->type,
			 mdl_jtype_name(v));
}

static int percent_one(struct percent *p)
{
	struct mdl_jstyle style = {.precision = -1};
	struct mdl_jval v = MDL_JMISSING;
	int rc = 0;

	if (peek(p) == '(')
		rc = percent_key(p, &v);
	if (rc == 0)
		rc = percent_style(p, &style);
	if (rc < 0)
		return rc;
	if (style.type == '%')
		return mdl_jsb_add_sub(p->r, &p->sb, p->fmt, p->at - 1, 1);
	if (!style.type)
		return mdl_jfail(p->r, "incomplete format");
	if (!strchr("diouxXeEfFgGcrs", style.type))
		return mdl_jfail(p->r, "unsupported format character '%c'", style.type);
	if (v.kind == MDL_J_MISSING)
		rc = next_arg(p, &v);
	if (rc < 0)
		return rc;
	if (style.type == 'c')
		return percent_char(p, v, &style);
	if (style.type != 's' && style.type != 'r')
		return percent_number(p, v, &style);
	if (!style.align)
		style.align = '>';
	if (style.type == 'r')
		rc = mdl_jfmt_repr(p->r, v, &v);
	return rc < 0 ? rc : mdl_jfmt_text(p->r, &p->sb, v, &style);
}

/* What counts as a mapping here, which need not be used up: whatever can be indexed but a string. */
static bool is_mapping(struct mdl_jval v)
{
	return v.kind == MDL_J_DICT || v.kind == MDL_J_LIST || v.kind == MDL_J_RANGE ||
	       v.kind == MDL_J_UNDEF;
}

int mdl_jformat_percent(struct mdl_jrun *r, const struct mdl_jstr *fmt, struct mdl_jval args,
			struct mdl_jval *out)
{
	struct percent p = {.r = r, .fmt = fmt, .args = args};
	const char *hit;
	size_t n;
	int rc = 0;

	while (rc == 0 && p.at < fmt->n) {
		hit = memchr(fmt->data + p.at, '%', fmt->n - p.at);
		n = hit ? (size_t)(hit - fmt->data) - p.at : fmt->n - p.at;
		rc = mdl_jsb_add_sub(r, &p.sb, fmt, p.at, n);
		p.at += n;
		if (rc == 0 && hit) {
			p.at++;
			rc = percent_one(&p);
		}
	}
	if (rc < 0)
		return rc;
	if (args.kind == MDL_J_TUPLE ? p.used < args.l->n : !p.used && !is_mapping(args))
		return mdl_jfail(r, "not all arguments converted during string formatting");
	return mdl_jsb_finish(r, &p.sb, out);
}
