/*
 * The writer behind the filter "tojson": the text that Python's json.dumps gives, byte for byte.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/jinja-run.h"
#include "model/jinja-unicode.h"

struct writer {
	struct mdl_jrun *r;
	struct mdl_jsb *sb;
	const struct mdl_jjson_style *style;
	uint32_t level;
};

static int write_value(struct writer *w, struct mdl_jval v);

static int put(struct writer *w, const char *s)
{
	return mdl_jsb_adds(w->r, w->sb, s);
}

static int put_unicode(struct writer *w, uint32_t cp)
{
	char buf[16];

	if (cp < 0x10000)
		snprintf(buf, sizeof(buf), "\\u%04x", cp);
	else
		snprintf(buf, sizeof(buf), "\\u%04x\\u%04x", 0xd800 + ((cp - 0x10000) >> 10),
			 0xdc00 + ((cp - 0x10000) & 0x3ff));
	return put(w, buf);
}

static int put_escape(struct writer *w, uint32_t cp)
{
	static const char from[] = "\"\\\n\r\t\f\b", to[] = "\"\\nrtfb";
	const char *found = cp && cp < 0x80 ? strchr(from, (int)cp) : NULL;
	char buf[3] = {'\\', 0, 0};

	if (!found)
		return put_unicode(w, cp);
	buf[1] = to[found - from];
	return put(w, buf);
}

static int write_str(struct writer *w, const struct mdl_jstr *s)
{
	size_t from = 0, len;
	int rc = put(w, "\"");

	for (size_t at = 0; rc == 0 && at < s->n; at += len) {
		uint32_t cp = mdl_juni_next(s->data + at, s->n - at, &len);

		if (cp >= 0x20 && cp != '"' && cp != '\\' && (!w->style->ascii || cp < 0x7f))
			continue;
		rc = mdl_jsb_add_sub(w->r, w->sb, s, from, at - from);
		if (rc == 0)
			rc = put_escape(w, cp);
		from = at + len;
	}
	if (rc == 0)
		rc = mdl_jsb_add_sub(w->r, w->sb, s, from, s->n - from);
	return rc < 0 ? rc : put(w, "\"");
}

/* Numbers, booleans and none. */
static int write_scalar(struct writer *w, struct mdl_jval v)
{
	char buf[MDL_J_FLOAT_TEXT];

	switch (v.kind) {
	case MDL_J_NONE: return put(w, "null");
	case MDL_J_BOOL: return put(w, v.b ? "true" : "false");
	case MDL_J_INT: snprintf(buf, sizeof(buf), "%" PRId64, v.i); return put(w, buf);
	case MDL_J_BIGINT: return mdl_jsb_add_str(w->r, w->sb, v.s);
	case MDL_J_FLOAT:
		if (isnan(v.f) || isinf(v.f))
			return put(w, isnan(v.f) ? "NaN" : v.f < 0 ? "-Infinity" : "Infinity");
		mdl_jfloat_text(v.f, buf);
		return put(w, buf);
	default:
		return mdl_jfail(w->r, "Object of type %s is not JSON serializable",
				 mdl_jtype_name(v));
	}
}

/* The line break and indent before an item, or before the closing bracket. */
static int write_break(struct writer *w)
{
	int rc;

	if (!w->style->indent)
		return 0;
	rc = put(w, "\n");
	for (uint32_t i = 0; rc == 0 && i < w->level; i++)
		rc = mdl_jsb_add_str(w->r, w->sb, w->style->indent);
	return rc;
}

/* What stands before item i. */
static int write_separator(struct writer *w, size_t i)
{
	int rc = i > 0 ? mdl_jsb_add_str(w->r, w->sb, w->style->item_sep) : 0;

	return rc < 0 ? rc : write_break(w);
}

static int write_list(struct writer *w, const struct mdl_jlist *l)
{
	int rc;

	if (l->n == 0)
		return put(w, "[]");
	rc = put(w, "[");
	w->level++;
	for (size_t i = 0; rc == 0 && i < l->n; i++) {
		rc = write_separator(w, i);
		if (rc == 0)
			rc = write_value(w, l->v[i]);
	}
	w->level--;
	if (rc == 0)
		rc = write_break(w);
	return rc < 0 ? rc : put(w, "]");
}

static int write_key(struct writer *w, struct mdl_jval key)
{
	int rc;

	if (key.kind == MDL_J_STR)
		return write_str(w, key.s);
	if (key.kind > MDL_J_FLOAT || key.kind < MDL_J_NONE)
		return mdl_jfail(w->r, "keys must be str, int, float, bool or None, not %s",
				 mdl_jtype_name(key));
	rc = put(w, "\"");
	if (rc == 0)
		rc = write_scalar(w, key);
	return rc < 0 ? rc : put(w, "\"");
}

/* The order in which the entries are written. */
static int entry_order(struct writer *w, const struct mdl_jdict *d, uint32_t **out)
{
	struct mdl_jval *keys = mdl_jarena_alloc(&w->r->arena, d->n, sizeof(*keys));
	uint32_t *perm = mdl_jarena_alloc(&w->r->arena, d->n, sizeof(*perm));

	if (!keys || !perm)
		return mdl_jno_memory(w->r);
	for (size_t i = 0; i < d->n; i++) {
		keys[i] = d->v[i].key;
		perm[i] = (uint32_t)i;
	}
	*out = perm;
	return mdl_jsort(w->r, keys, perm, d->n, false);
}

static int write_dict(struct writer *w, const struct mdl_jdict *d)
{
	uint32_t *order = NULL;
	int rc = 0;

	if (d->n == 0)
		return put(w, "{}");
	if (w->style->sort_keys)
		rc = entry_order(w, d, &order);
	if (rc == 0)
		rc = put(w, "{");
	w->level++;
	for (size_t i = 0; rc == 0 && i < d->n; i++) {
		const struct mdl_jpair *pair = &d->v[order ? order[i] : i];

		if ((rc = write_separator(w, i)) == 0 && (rc = write_key(w, pair->key)) == 0 &&
		    (rc = mdl_jsb_add_str(w->r, w->sb, w->style->key_sep)) == 0)
			rc = write_value(w, pair->value);
	}
	w->level--;
	if (rc == 0)
		rc = write_break(w);
	return rc < 0 ? rc : put(w, "}");
}

static int write_value(struct writer *w, struct mdl_jval v)
{
	int rc = mdl_jenter(w->r);

	if (rc < 0)
		return rc;
	if (v.kind == MDL_J_STR)
		rc = write_str(w, v.s);
	else if (v.kind == MDL_J_LIST || v.kind == MDL_J_TUPLE)
		rc = write_list(w, v.l);
	else if (v.kind == MDL_J_DICT)
		rc = write_dict(w, v.d);
	else
		rc = write_scalar(w, v);
	mdl_jleave(w->r);
	return rc;
}

int mdl_jjson_write(struct mdl_jrun *r, struct mdl_jsb *sb, struct mdl_jval v,
		    const struct mdl_jjson_style *style)
{
	struct writer w = {.r = r, .sb = sb, .style = style};

	return write_value(&w, v);
}
