/*
 * Operators. Integers have 64 bits and an overflow is a fault; division and remainder round
 * downwards; "/" gives a float. Texts and lists can be added and repeated.
 */
#include <math.h>
#include <string.h>

#include "model/jinja-run.h"

static const char *sign(enum mdl_jtok op)
{
	switch (op) {
	case MDL_JT_ADD: return "+";
	case MDL_JT_SUB: return "-";
	case MDL_JT_MUL: return "*";
	case MDL_JT_DIV: return "/";
	case MDL_JT_FLOORDIV: return "//";
	case MDL_JT_MOD: return "%";
	default: return "**";
	}
}

bool mdl_jinteger(struct mdl_jval v, int64_t *out)
{
	if (v.kind != MDL_J_INT && v.kind != MDL_J_BOOL)
		return false;
	*out = v.kind == MDL_J_INT ? v.i : v.b;
	return true;
}

bool mdl_jnumber(struct mdl_jval v, double *out)
{
	int64_t i;

	if (v.kind == MDL_J_FLOAT)
		*out = v.f;
	else if (mdl_jinteger(v, &i))
		*out = (double)i;
	else
		return false;
	return true;
}

static int overflow(struct mdl_jrun *r)
{
	return mdl_jfail(r, "integer beyond 64 bits");
}

static int divided_by_zero(struct mdl_jrun *r)
{
	return mdl_jfail(r, "division by zero");
}

/* a ** b for b >= 0, by squaring. */
static int power(struct mdl_jrun *r, int64_t a, int64_t b, struct mdl_jval *out)
{
	int64_t result = 1;
	bool bad = false, base_bad = false;

	for (; b > 0 && !bad; b >>= 1) {
		if (b & 1)
			bad = base_bad || __builtin_mul_overflow(result, a, &result);
		base_bad = base_bad || __builtin_mul_overflow(a, a, &a);
	}
	*out = MDL_JINT(result);
	return bad ? overflow(r) : 0;
}

static double floor_mod(double a, double b)
{
	double m = fmod(a, b);

	if (m == 0)
		return copysign(0.0, b);
	return (b < 0) != (m < 0) ? m + b : m;
}

static double floor_div(double a, double b)
{
	double div = (a - floor_mod(a, b)) / b, whole;

	if (div == 0)
		return copysign(0.0, a / b);
	whole = floor(div);
	return div - whole > 0.5 ? whole + 1 : whole;
}

static int float_op(struct mdl_jrun *r, enum mdl_jtok op, double a, double b, struct mdl_jval *out)
{
	double f;

	if (b == 0 && (op == MDL_JT_DIV || op == MDL_JT_FLOORDIV || op == MDL_JT_MOD))
		return divided_by_zero(r);
	switch (op) {
	case MDL_JT_ADD: f = a + b; break;
	case MDL_JT_SUB: f = a - b; break;
	case MDL_JT_MUL: f = a * b; break;
	case MDL_JT_DIV: f = a / b; break;
	case MDL_JT_FLOORDIV: f = floor_div(a, b); break;
	case MDL_JT_MOD: f = floor_mod(a, b); break;
	default:
		if (a == 0 && b < 0)
			return mdl_jfail(r, "0.0 cannot be raised to a negative power");
		if (a < 0 && floor(b) != b && !isinf(b))
			return mdl_jfail(r, "a negative number raised to a fraction is no number");
		f = pow(a, b);
		if (isinf(f) && !isinf(a) && !isinf(b))
			return mdl_jfail(r, "result too large");
	}
	*out = MDL_JFLOAT(f);
	return 0;
}

static int int_op(struct mdl_jrun *r, enum mdl_jtok op, int64_t a, int64_t b, struct mdl_jval *out)
{
	int64_t i = 0;
	bool bad = false;

	if (b == 0 && (op == MDL_JT_DIV || op == MDL_JT_FLOORDIV || op == MDL_JT_MOD))
		return divided_by_zero(r);
	switch (op) {
	case MDL_JT_ADD: bad = __builtin_add_overflow(a, b, &i); break;
	case MDL_JT_SUB: bad = __builtin_sub_overflow(a, b, &i); break;
	case MDL_JT_MUL: bad = __builtin_mul_overflow(a, b, &i); break;
	case MDL_JT_DIV: *out = MDL_JFLOAT((double)((long double)a / (long double)b)); return 0;
	case MDL_JT_FLOORDIV:
		bad = a == INT64_MIN && b == -1;
		if (!bad)
			i = a / b - (a % b != 0 && (a < 0) != (b < 0));
		break;
	case MDL_JT_MOD:
		i = b == -1 ? 0 : a % b;
		if (i != 0 && (i < 0) != (b < 0))
			i += b;
		break;
	default:
		if (b < 0)
			return float_op(r, op, (double)a, (double)b, out);
		return power(r, a, b, out);
	}
	*out = MDL_JINT(i);
	return bad ? overflow(r) : 0;
}

static int repeat_str(struct mdl_jrun *r, const struct mdl_jstr *s, int64_t times,
		      struct mdl_jval *out)
{
	struct mdl_jsb sb = {0};
	int rc = 0;

	for (int64_t i = 0; rc == 0 && s->n > 0 && i < times; i++)
		rc = mdl_jsb_add_str(r, &sb, s);
	if (rc == 0)
		rc = mdl_jsb_finish(r, &sb, out);
	if (rc == 0)
		((struct mdl_jstr *)out->s)->markup = s->markup;
	return rc;
}

static int repeat_list(struct mdl_jrun *r, struct mdl_jval v, int64_t times, struct mdl_jval *out)
{
	struct mdl_jlb lb = {0};
	int rc = 0;

	for (int64_t i = 0; rc == 0 && v.l->n > 0 && i < times; i++) {
		for (size_t k = 0; rc == 0 && k < v.l->n; k++)
			rc = mdl_jlb_add(r, &lb, v.l->v[k]);
	}
	return rc < 0 ? rc : mdl_jlb_finish(r, &lb, (enum mdl_jkind)v.kind, out);
}

static bool is_seq(struct mdl_jval v)
{
	return v.kind == MDL_J_STR || v.kind == MDL_J_LIST || v.kind == MDL_J_TUPLE;
}

static int repeat(struct mdl_jrun *r, struct mdl_jval v, int64_t times, struct mdl_jval *out)
{
	return v.kind == MDL_J_STR ? repeat_str(r, v.s, times, out) : repeat_list(r, v, times, out);
}

static int add_seqs(struct mdl_jrun *r, struct mdl_jval a, struct mdl_jval b, struct mdl_jval *out)
{
	int rc = 0;

	if (a.kind != MDL_J_STR)
		return mdl_jlist_concat(r, a, b, out);
	if (a.s->markup && !b.s->markup)
		rc = mdl_jescape(r, b.s, &b);
	else if (b.s->markup && !a.s->markup)
		rc = mdl_jescape(r, a.s, &a);
	return rc < 0 ? rc : mdl_jstr_concat(r, a.s, b.s, out);
}

static int bad_operands(struct mdl_jrun *r, enum mdl_jtok op, struct mdl_jval a, struct mdl_jval b)
{
	if (a.kind == MDL_J_UNDEF)
		return mdl_jfail_undef(r, a);
	if (b.kind == MDL_J_UNDEF)
		return mdl_jfail_undef(r, b);
	if (a.kind == MDL_J_BIGINT || b.kind == MDL_J_BIGINT)
		return overflow(r);
	if (op == MDL_JT_ADD && is_seq(a))
		return mdl_jfail(r, "can only concatenate %s (not \"%s\") to %s", mdl_jtype_name(a),
				 mdl_jtype_name(b), mdl_jtype_name(a));
	return mdl_jfail(r, "unsupported operand types for %s: '%s' and '%s'", sign(op),
			 mdl_jtype_name(a), mdl_jtype_name(b));
}

int mdl_jbinary(struct mdl_jrun *r, enum mdl_jtok op, struct mdl_jval a, struct mdl_jval b,
		struct mdl_jval *out)
{
	int64_t i = 0, j = 0;
	double f, g;
	bool ia = mdl_jinteger(a, &i), ib = mdl_jinteger(b, &j);

	if (ia && ib)
		return int_op(r, op, i, j, out);
	if (mdl_jnumber(a, &f) && mdl_jnumber(b, &g))
		return float_op(r, op, f, g, out);
	if (op == MDL_JT_ADD && is_seq(a) && a.kind == b.kind)
		return add_seqs(r, a, b, out);
	if (op == MDL_JT_MUL && is_seq(a) && ib)
		return repeat(r, a, j, out);
	if (op == MDL_JT_MUL && is_seq(b) && ia)
		return repeat(r, b, i, out);
	if (op == MDL_JT_MOD && a.kind == MDL_J_STR)
		return mdl_jformat_percent(r, a.s, b, out);
	return bad_operands(r, op, a, b);
}

int mdl_jnegate(struct mdl_jrun *r, struct mdl_jval v, bool minus, struct mdl_jval *out)
{
	int64_t i;

	if (v.kind == MDL_J_UNDEF)
		return mdl_jfail_undef(r, v);
	if (v.kind == MDL_J_FLOAT) {
		*out = MDL_JFLOAT(minus ? -v.f : v.f);
		return 0;
	}
	if (!mdl_jinteger(v, &i))
		return v.kind == MDL_J_BIGINT ? overflow(r)
					      : mdl_jfail(r, "bad operand type for unary %s: '%s'",
							  minus ? "-" : "+", mdl_jtype_name(v));
	if (minus && i == INT64_MIN)
		return overflow(r);
	*out = MDL_JINT(minus ? -i : i);
	return 0;
}
