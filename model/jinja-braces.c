/*
 * "text {}".format(args): fields {name.attr[key]!r:spec}, specs with fields in them, and dates
 * (strftime), which likewise are a text with places to fill.
 */
#define _GNU_SOURCE /* localtime_r */
#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <time.h>

#include "model/jinja-format.h"
#include "model/jinja-unicode.h"

struct braces {
	struct mdl_jrun *r;
	const struct mdl_jcall *call;
	size_t next;	/* number of the next unnamed field */
	bool numbered;	/* a field had a number */
	bool automatic; /* a field had none */
	unsigned depth; /* of specs within fields */
};

static int expand(struct braces *b, const struct mdl_jstr *fmt, struct mdl_jval *out);

/* --- what a field refers to -------------------------------------------------------------------- */

static int argument(struct braces *b, const struct mdl_jstr *name, struct mdl_jval *out)
{
	const struct mdl_jval *v = NULL;
	int64_t i = (int64_t)b->next;
	bool too_big, number = name->n == 0 || (name->data[0] >= '0' && name->data[0] <= '9' &&
						mdl_jtext_to_int(name, 10, &i, &too_big));

	if (number) {
		b->automatic |= name->n == 0;
		b->numbered |= name->n > 0;
		if (b->automatic && b->numbered)
			return mdl_jfail(b->r, "format mixes numbered fields with plain ones");
		b->next += name->n == 0;
		if ((uint64_t)i < b->call->n_pos)
			v = &b->call->pos[i];
	} else {
		for (size_t k = 0; !v && k < b->call->n_kw; k++) {
			if (mdl_jstr_eq(b->call->kw[k].key.s, name))
				v = &b->call->kw[k].value;
		}
	}
	if (!v)
		return mdl_jfail(b->r, "no argument for the format field '%.*s'",
				 (int)(name->n < 64 ? name->n : 64), name->data);
	*out = *v;
	return 0;
}

static size_t until(const struct mdl_jstr *s, size_t from, const char *stop)
{
	while (from < s->n && !(s->data[from] && strchr(stop, s->data[from])))
		from++;
	return from;
}

/* name, then any number of .attr and [key]. */
static int lookup(struct braces *b, const struct mdl_jstr *field, struct mdl_jval *out)
{
	struct mdl_jval part;
	size_t at = until(field, 0, ".["), end;
	bool item, too_big;
	int64_t i;
	int rc = mdl_jstr_sub(b->r, field, 0, at, &part);

	if (rc == 0)
		rc = argument(b, part.s, out);
	while (rc == 0 && at < field->n) {
		item = field->data[at] == '[';
		end = until(field, at + 1, item ? "]" : ".[");
		if (end == at + 1 || (item && end == field->n))
			return mdl_jfail(b->r, "malformed field in a format");
		rc = mdl_jstr_sub(b->r, field, at + 1, end - at - 1, &part);
		if (rc < 0)
			break;
		if (item && mdl_jtext_to_int(part.s, 10, &i, &too_big))
			part = MDL_JINT(i);
		rc = item ? mdl_jgetitem(b->r, *out, part, out)
			  : mdl_jgetattr(b->r, *out, part.s, out);
		at = end + item;
		if (item && at < field->n && field->data[at] != '.' && field->data[at] != '[')
			return mdl_jfail(b->r, "malformed field in a format");
	}
	return rc;
}

/* --- spec: [[fill]align][sign][#][0][width][,][.precision][type] -------------------------------- */

static bool is_align(char c)
{
	return c == '<' || c == '>' || c == '^' || c == '=';
}

static int spec_number(struct braces *b, const struct mdl_jstr *s, size_t *at, int64_t limit,
		       int64_t *out)
{
	for (*out = 0; *at < s->n && s->data[*at] >= '0' && s->data[*at] <= '9'; ++*at) {
		*out = *out * 10 + (s->data[*at] - '0');
		if (*out > limit)
			return mdl_jfail(b->r, "width or precision beyond %" PRId64, limit);
	}
	return 0;
}

static int parse_spec(struct braces *b, const struct mdl_jstr *s, struct mdl_jstyle *style)
{
	size_t at = 0, len = 0;
	int rc = 0;

	if (s->n > 0)
		mdl_juni_next(s->data, s->n, &len);
	if (len < s->n && is_align(s->data[len])) {
		rc = mdl_jstr_sub(b->r, s, 0, len, &style->fill);
		at = len;
	}
	if (at < s->n && is_align(s->data[at]))
		style->align = s->data[at++];
	if (at < s->n && strchr("+- ", s->data[at]) && s->data[at]) {
		style->sign = s->data[at] == '-' ? 0 : s->data[at];
		at++;
	}
	style->alternate = at < s->n && s->data[at] == '#';
	at += style->alternate;
	style->zero = at < s->n && s->data[at] == '0';
	at += style->zero;
	if (rc == 0)
		rc = spec_number(b, s, &at, MDL_J_MAX_WIDTH, &style->width);
	if (rc == 0 && at < s->n && (s->data[at] == ',' || s->data[at] == '_'))
		style->group = s->data[at++];
	if (rc == 0 && at < s->n && s->data[at] == '.') {
		size_t from = ++at;

		rc = spec_number(b, s, &at, MDL_J_MAX_PRECISION, &style->precision);
		if (rc == 0 && at == from)
			return mdl_jfail(b->r, "format specifier missing precision");
	}
	if (rc == 0 && at < s->n)
		style->type = s->data[at++];
	if (rc == 0 && at < s->n)
		return mdl_jfail(b->r, "invalid format specifier '%.*s'",
				 (int)(s->n < 64 ? s->n : 64), s->data);
	return rc;
}

static int bad_type(struct braces *b, struct mdl_jval v, const struct mdl_jstyle *style)
{
	return mdl_jfail(b->r, "unknown format code '%c' for an object of type '%s'", style->type,
			 mdl_jtype_name(v));
}

/* A value in its style; without any spec it is simply its text. */
static int add_styled(struct braces *b, struct mdl_jsb *sb, struct mdl_jval v,
		      struct mdl_jstyle *style, bool plain)
{
	int64_t i;
	double f;

	if (plain)
		return mdl_jprint(b->r, sb, v);
	if (v.kind == MDL_J_STR) {
		if ((style->type && style->type != 's') || style->sign || style->align == '=' ||
		    style->group)
			return bad_type(b, v, style);
		if (style->zero && style->fill.kind == MDL_J_MISSING &&
		    mdl_jstr_lit(b->r, "0", &style->fill) < 0)
			return b->r->err->code;
		return mdl_jfmt_text(b->r, sb, v, style);
	}
	if (style->type && !strchr("bdoxXneEfFgG%", style->type))
		return bad_type(b, v, style);
	if (mdl_jinteger(v, &i) && (!style->type || strchr("bdoxXn", style->type))) {
		if (style->precision >= 0)
			return mdl_jfail(b->r, "precision not allowed in integer format specifier");
		return mdl_jfmt_int(b->r, sb, i, style);
	}
	if (mdl_jnumber(v, &f) && (!style->type || strchr("neEfFgG%", style->type)))
		return mdl_jfmt_float(b->r, sb, f, style);
	return mdl_jfail(b->r, "unsupported format for an object of type '%s'", mdl_jtype_name(v));
}

/* --- fields ------------------------------------------------------------------------------------ */

/* The end of the field that begins at `from` (after "{"): at its "}". */
static size_t field_end(const struct mdl_jstr *fmt, size_t from)
{
	size_t open = 1, at = from;
	bool in_key = false;

	for (; at < fmt->n; at++) {
		char c = fmt->data[at];

		if (c == '[' && open == 1)
			in_key = true;
		else if (c == ']')
			in_key = false;
		else if (c == '{' && !in_key)
			open++;
		else if (c == '}' && !in_key && --open == 0)
			break;
	}
	return at;
}

static int add_field(struct braces *b, struct mdl_jsb *sb, const struct mdl_jstr *field)
{
	struct mdl_jstyle style = {.precision = -1};
	size_t bang = until(field, 0, "!:["), colon;
	struct mdl_jval name, v, spec;
	bool convert;
	int rc;

	while (bang < field->n && field->data[bang] == '[')
		bang = until(field, until(field, bang, "]"), "!:[");
	convert = bang + 1 < field->n && field->data[bang] == '!';
	colon = convert ? bang + 2 : bang;
	if ((rc = mdl_jstr_sub(b->r, field, 0, bang, &name)) < 0 ||
	    (rc = lookup(b, name.s, &v)) < 0)
		return rc;
	if (convert && field->data[bang + 1] != 's' && field->data[bang + 1] != 'r')
		return mdl_jfail(b->r, "the conversion of a format field must be !s or !r");
	if (convert)
		rc = field->data[bang + 1] == 'r' ? mdl_jfmt_repr(b->r, v, &v)
						  : mdl_jto_str(b->r, v, &v);
	if (rc == 0 && colon < field->n && field->data[colon] != ':')
		return mdl_jfail(b->r, "malformed field in a format");
	if (rc == 0 && colon + 1 < field->n) {
		rc = mdl_jstr_sub(b->r, field, colon + 1, field->n - colon - 1, &spec);
		b->depth++;
		if (rc == 0)
			rc = b->depth > 2 ? mdl_jfail(b->r, "format fields nested too deeply")
					  : expand(b, spec.s, &spec);
		b->depth--;
		if (rc == 0)
			rc = parse_spec(b, spec.s, &style);
	}
	return rc < 0 ? rc : add_styled(b, sb, v, &style, colon + 1 >= field->n);
}

static int expand(struct braces *b, const struct mdl_jstr *fmt, struct mdl_jval *out)
{
	struct mdl_jsb sb = {0};
	struct mdl_jval field;
	size_t at = 0, end;
	int rc = 0;

	while (rc == 0 && at < fmt->n) {
		end = until(fmt, at, "{}");
		rc = mdl_jsb_add_sub(b->r, &sb, fmt, at, end - at);
		at = end;
		if (rc < 0 || at == fmt->n)
			break;
		if (at + 1 < fmt->n && fmt->data[at + 1] == fmt->data[at]) { /* {{ or }} */
			rc = mdl_jsb_add_sub(b->r, &sb, fmt, at, 1);
			at += 2;
			continue;
		}
		end = field_end(fmt, at + 1);
		if (fmt->data[at] == '}' || end == fmt->n)
			return mdl_jfail(b->r, "single '%c' in a format", fmt->data[at]);
		rc = mdl_jstr_sub(b->r, fmt, at + 1, end - at - 1, &field);
		if (rc == 0)
			rc = add_field(b, &sb, field.s);
		at = end + 1;
	}
	return rc < 0 ? rc : mdl_jsb_finish(b->r, &sb, out);
}

int mdl_jformat_braces(struct mdl_jrun *r, const struct mdl_jstr *fmt, const struct mdl_jcall *call,
		       struct mdl_jval *out)
{
	struct braces b = {.r = r, .call = call};

	return expand(&b, fmt, out);
}

/* --- dates ------------------------------------------------------------------------------------- */

/* The directive at s[0..n) after '%': its length with flags, 0 if it is none. */
static size_t directive(const char *s, size_t n)
{
	size_t flags = n > 0 && s[0] && strchr("-_0^#", s[0]) ? 1 : 0;

	return flags < n && s[flags] && strchr("aAbBcCdDeFgGhHIjklmMnpPrRsStTuUVwWxXyY", s[flags])
		       ? flags + 1
		       : 0;
}

int mdl_jdate(struct mdl_jrun *r, const struct mdl_jstr *fmt, struct mdl_jval *out)
{
	struct mdl_jsb sb = {0};
	time_t now = (time_t)r->now;
	struct tm tm;
	char one[8] = "%", buf[128];
	int rc = 0;

	if (!localtime_r(&now, &tm))
		return mdl_jfail(r, "the time can't be represented");
	for (size_t at = 0, n; rc == 0 && at < fmt->n; at += n) {
		size_t len =
			fmt->data[at] == '%' ? directive(fmt->data + at + 1, fmt->n - at - 1) : 0;
		char c = at + 1 < fmt->n ? fmt->data[at + 1] : '\0';

		n = 1;
		if (len > 0) {
			memcpy(one + 1, fmt->data + at + 1, len);
			one[1 + len] = '\0';
			n = 1 + len;
			len = strftime(buf, sizeof(buf), one, &tm);
			rc = mdl_jsb_add(r, &sb, buf, len, false);
		} else if (fmt->data[at] == '%' && c && strchr("%zZf", c)) {
			/* a time without zone, and without fractions of a second */
			n = 2;
			rc = mdl_jsb_adds(r, &sb, c == '%' ? "%" : c == 'f' ? "000000" : "");
		} else {
			rc = mdl_jsb_add_sub(r, &sb, fmt, at, 1);
		}
	}
	return rc < 0 ? rc : mdl_jsb_finish(r, &sb, out);
}
