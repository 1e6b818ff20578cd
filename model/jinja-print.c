/*
 * Values as text: what "{{ x }}" prints, the same inside containers (repr), and floats as the
 * shortest digits that read back as the same number.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/jinja-run.h"
#include "model/jinja-unicode.h"

static char *put(char *at, const char *s, int n)
{
	memcpy(at, s, (size_t)n);
	return at + n;
}

/* Digits (at most 17) and exponent to Python's repr: plain from 1e-4 up to 1e16, else with
 * exponent. */
static void layout(const char *digits, int exponent, bool minus, char buf[MDL_J_FLOAT_TEXT])
{
	static const char zeros[] = "0000000000000000";
	int n = (int)strlen(digits);
	char *at = minus ? put(buf, "-", 1) : buf;

	if (exponent < -4 || exponent >= 16) {
		at = put(at, digits, 1);
		if (n > 1)
			at = put(put(at, ".", 1), digits + 1, n - 1);
		snprintf(at, 8, "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent) % 1000);
		return;
	}
	if (exponent < 0)
		at = put(put(put(at, "0.", 2), zeros, -exponent - 1), digits, n);
	else if (n <= exponent + 1)
		at = put(put(put(at, digits, n), zeros, exponent + 1 - n), ".0", 2);
	else
		at = put(put(put(at, digits, exponent + 1), ".", 1), digits + exponent + 1,
			 n - exponent - 1);
	*at = '\0';
}

void mdl_jfloat_text(double f, char buf[MDL_J_FLOAT_TEXT])
{
	char text[40], digits[20];
	size_t n = 0;

	if (isnan(f) || isinf(f)) {
		snprintf(buf, MDL_J_FLOAT_TEXT, "%s", isnan(f) ? "nan" : f < 0 ? "-inf" : "inf");
		return;
	}
	for (int precision = 0; precision < 17; precision++) {
		snprintf(text, sizeof(text), "%.*e", precision, fabs(f));
		if (strtod(text, NULL) == fabs(f))
			break;
	}
	for (const char *p = text; *p != 'e'; p++) {
		if (*p >= '0' && *p <= '9')
			digits[n++] = *p;
	}
	digits[n] = '\0';
	layout(digits, atoi(strchr(text, 'e') + 1), signbit(f), buf);
}

/* A string as a literal: quotes, and escapes for what is not printable. */
static int repr_str(struct mdl_jrun *r, struct mdl_jsb *sb, const struct mdl_jstr *s)
{
	char quote = memchr(s->data, '\'', s->n) && !memchr(s->data, '"', s->n) ? '"' : '\'';
	char buf[16];
	size_t from = 0, len;
	int rc = mdl_jsb_add(r, sb, &quote, 1, false);

	for (size_t at = 0; rc == 0 && at < s->n; at += len) {
		uint32_t cp = mdl_juni_next(s->data + at, s->n - at, &len);

		if (cp == '\\' || cp == (unsigned char)quote)
			snprintf(buf, sizeof(buf), "\\%c", (char)cp);
		else if (cp == '\n' || cp == '\r' || cp == '\t')
			snprintf(buf, sizeof(buf), "\\%c",
				 cp == '\n'   ? 'n'
				 : cp == '\r' ? 'r'
					      : 't');
		else if (!mdl_juni_is_printable(cp))
			snprintf(buf, sizeof(buf),
				 cp < 0x100	? "\\x%02x"
				 : cp < 0x10000 ? "\\u%04x"
						: "\\U%08x",
				 cp);
		else
			continue;
		rc = mdl_jsb_add_sub(r, sb, s, from, at - from);
		if (rc == 0)
			rc = mdl_jsb_adds(r, sb, buf);
		from = at + len;
	}
	if (rc == 0)
		rc = mdl_jsb_add_sub(r, sb, s, from, s->n - from);
	return rc < 0 ? rc : mdl_jsb_add(r, sb, &quote, 1, false);
}

static int repr_list(struct mdl_jrun *r, struct mdl_jsb *sb, const struct mdl_jlist *l,
		     const char *open, const char *close)
{
	int rc = mdl_jsb_adds(r, sb, open);

	for (size_t i = 0; rc == 0 && i < l->n; i++) {
		if (i > 0)
			rc = mdl_jsb_adds(r, sb, ", ");
		if (rc == 0)
			rc = mdl_jrepr(r, sb, l->v[i]);
	}
	return rc < 0 ? rc : mdl_jsb_adds(r, sb, close);
}

static int repr_pairs(struct mdl_jrun *r, struct mdl_jsb *sb, const struct mdl_jpair *v, size_t n)
{
	int rc = mdl_jsb_adds(r, sb, "{");

	for (size_t i = 0; rc == 0 && i < n; i++) {
		if ((i > 0 && (rc = mdl_jsb_adds(r, sb, ", ")) < 0) ||
		    (rc = mdl_jrepr(r, sb, v[i].key)) < 0 || (rc = mdl_jsb_adds(r, sb, ": ")) < 0)
			return rc;
		rc = mdl_jrepr(r, sb, v[i].value);
	}
	return rc < 0 ? rc : mdl_jsb_adds(r, sb, "}");
}

static int repr_view(struct mdl_jrun *r, struct mdl_jsb *sb, struct mdl_jval v)
{
	static const char *const names[] = {"dict_keys(", "dict_values(", "dict_items("};
	struct mdl_jlb lb = {0};
	struct mdl_jval list;
	int rc;

	if ((rc = mdl_jcollect(r, v, &lb)) < 0 ||
	    (rc = mdl_jlb_finish(r, &lb, MDL_J_LIST, &list)) < 0 ||
	    (rc = mdl_jsb_adds(r, sb, names[v.sub])) < 0 || (rc = mdl_jrepr(r, sb, list)) < 0)
		return rc;
	return mdl_jsb_adds(r, sb, ")");
}

static int repr_range(struct mdl_jrun *r, struct mdl_jsb *sb, const struct mdl_jrange *range)
{
	char buf[80];
	int n = snprintf(buf, sizeof(buf), "range(%" PRId64 ", %" PRId64, range->start,
			 range->stop);

	if (range->step != 1)
		snprintf(buf + n, sizeof(buf) - (size_t)n, ", %" PRId64 ")", range->step);
	else
		snprintf(buf + n, sizeof(buf) - (size_t)n, ")");
	return mdl_jsb_adds(r, sb, buf);
}

/* Everything with items in it. */
static int repr_container(struct mdl_jrun *r, struct mdl_jsb *sb, struct mdl_jval v)
{
	int rc;

	switch (v.kind) {
	case MDL_J_LIST: return repr_list(r, sb, v.l, "[", "]");
	case MDL_J_TUPLE: return repr_list(r, sb, v.l, "(", v.l->n == 1 ? ",)" : ")");
	case MDL_J_DICT: return repr_pairs(r, sb, v.d->v, v.d->n);
	case MDL_J_VIEW: return repr_view(r, sb, v);
	case MDL_J_NAMESPACE:
		rc = mdl_jsb_adds(r, sb, "<Namespace ");
		if (rc == 0)
			rc = repr_pairs(r, sb, v.ns->v, v.ns->n);
		return rc < 0 ? rc : mdl_jsb_adds(r, sb, ">");
	default: return 0;
	}
}

static int repr_object(struct mdl_jrun *r, struct mdl_jsb *sb, struct mdl_jval v)
{
	char buf[96];
	size_t length;
	int rc;

	switch (v.kind) {
	case MDL_J_RANGE: return repr_range(r, sb, v.range);
	case MDL_J_LOOP:
		rc = mdl_jloop_length(r, v.loop, &length);
		if (rc < 0)
			return rc;
		snprintf(buf, sizeof(buf), "<LoopContext %" PRId64 "/%zu>", v.loop->index0 + 1,
			 length);
		return mdl_jsb_adds(r, sb, buf);
	case MDL_J_MACRO:
		if (!v.macro->func->name)
			return mdl_jsb_adds(r, sb, "<Macro anonymous>");
		if ((rc = mdl_jsb_adds(r, sb, "<Macro ")) < 0 ||
		    (rc = repr_str(r, sb, v.macro->func->name)) < 0)
			return rc;
		return mdl_jsb_adds(r, sb, ">");
	default:
		snprintf(buf, sizeof(buf), "<%s object>", mdl_jtype_name(v));
		return mdl_jsb_adds(r, sb, buf);
	}
}

int mdl_jrepr(struct mdl_jrun *r, struct mdl_jsb *sb, struct mdl_jval v)
{
	char buf[MDL_J_FLOAT_TEXT];
	int rc = mdl_jenter(r);

	if (rc < 0)
		return rc;
	switch (v.kind) {
	case MDL_J_MISSING:
	case MDL_J_UNDEF: rc = mdl_jsb_adds(r, sb, "Undefined"); break;
	case MDL_J_NONE: rc = mdl_jsb_adds(r, sb, "None"); break;
	case MDL_J_BOOL: rc = mdl_jsb_adds(r, sb, v.b ? "True" : "False"); break;
	case MDL_J_INT:
		snprintf(buf, sizeof(buf), "%" PRId64, v.i);
		rc = mdl_jsb_adds(r, sb, buf);
		break;
	case MDL_J_BIGINT: rc = mdl_jsb_add_str(r, sb, v.s); break;
	case MDL_J_FLOAT:
		mdl_jfloat_text(v.f, buf);
		rc = mdl_jsb_adds(r, sb, buf);
		break;
	case MDL_J_STR:
		if (v.s->markup)
			rc = mdl_jsb_adds(r, sb, "Markup(");
		if (rc == 0)
			rc = repr_str(r, sb, v.s);
		if (rc == 0 && v.s->markup)
			rc = mdl_jsb_adds(r, sb, ")");
		break;
	case MDL_J_LIST:
	case MDL_J_TUPLE:
	case MDL_J_DICT:
	case MDL_J_VIEW:
	case MDL_J_NAMESPACE: rc = repr_container(r, sb, v); break;
	default: rc = repr_object(r, sb, v); break;
	}
	mdl_jleave(r);
	return rc;
}

int mdl_jprint(struct mdl_jrun *r, struct mdl_jsb *sb, struct mdl_jval v)
{
	if (v.kind == MDL_J_STR)
		return mdl_jsb_add_str(r, sb, v.s);
	if (v.kind == MDL_J_UNDEF || v.kind == MDL_J_MISSING)
		return 0;
	return mdl_jrepr(r, sb, v);
}

int mdl_jto_str(struct mdl_jrun *r, struct mdl_jval v, struct mdl_jval *out)
{
	struct mdl_jsb sb = {0};
	int rc;

	if (v.kind == MDL_J_STR) {
		*out = v;
		return 0;
	}
	rc = mdl_jprint(r, &sb, v);
	return rc < 0 ? rc : mdl_jsb_finish(r, &sb, out);
}
