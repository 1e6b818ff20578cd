/*
 * Tests: what stands after "is".
 */
#include <string.h>

#include "model/jinja-run.h"
#include "model/jinja-unicode.h"

#define TEST(name)                                                                                 \
	static int name(struct mdl_jrun *r, struct mdl_jval self, const struct mdl_jval *argv,     \
			const struct mdl_jcall *call, struct mdl_jval *out)
#define UNUSED (void)r, (void)argv, (void)call

/* A test that only looks at its operand. */
#define PLAIN(name, condition)                                                                     \
	TEST(name)                                                                                 \
	{                                                                                          \
		UNUSED;                                                                            \
		*out = MDL_JBOOL(condition);                                                       \
		return 0;                                                                          \
	}

static bool is_sequence(struct mdl_jval v)
{
	size_t n;

	return v.kind != MDL_J_VIEW && mdl_jlength(v, &n);
}

static bool is_callable(struct mdl_jval v)
{
	return v.kind == MDL_J_MACRO || v.kind == MDL_J_FUNC || v.kind == MDL_J_METHOD ||
	       v.kind == MDL_J_JOINER || v.kind == MDL_J_LOOP || v.kind == MDL_J_UNDEF;
}

PLAIN(is_defined, self.kind != MDL_J_UNDEF)
PLAIN(is_undefined, self.kind == MDL_J_UNDEF)
PLAIN(is_none, self.kind == MDL_J_NONE)
PLAIN(is_boolean, self.kind == MDL_J_BOOL)
PLAIN(is_true, self.kind == MDL_J_BOOL && self.b)
PLAIN(is_false, self.kind == MDL_J_BOOL && !self.b)
PLAIN(is_integer, self.kind == MDL_J_INT || self.kind == MDL_J_BIGINT)
PLAIN(is_float, self.kind == MDL_J_FLOAT)
PLAIN(is_number, self.kind >= MDL_J_BOOL && self.kind <= MDL_J_FLOAT)
PLAIN(is_string, self.kind == MDL_J_STR)
PLAIN(is_mapping, self.kind == MDL_J_DICT)
PLAIN(is_iterable, mdl_jiterable(self) || self.kind == MDL_J_LOOP)
PLAIN(is_a_sequence, is_sequence(self))
PLAIN(is_a_callable, is_callable(self))
PLAIN(is_escaped, self.kind == MDL_J_STR && self.s->markup)

/* Whether a filter or test of that name exists. */
static int is_known(struct mdl_jrun *r, struct mdl_jval name, bool filter, struct mdl_jval *out)
{
	if (!mdl_jhashable(name))
		return mdl_jfail(r, "unhashable type: '%s'", mdl_jtype_name(name));
	*out = MDL_JBOOL(name.kind == MDL_J_STR &&
			 (filter ? mdl_jfilter_find(name.s) : mdl_jtest_find(name.s)) != NULL);
	return 0;
}

TEST(is_filter)
{
	UNUSED;
	return is_known(r, self, true, out);
}

TEST(is_test)
{
	UNUSED;
	return is_known(r, self, false, out);
}

/* self % by == rest */
static int remainder_is(struct mdl_jrun *r, struct mdl_jval self, struct mdl_jval by, int64_t rest,
			struct mdl_jval *out)
{
	struct mdl_jval v;
	bool same;
	int rc = mdl_jbinary(r, MDL_JT_MOD, self, by, &v);

	if (rc == 0)
		rc = mdl_jequal(r, v, MDL_JINT(rest), &same);
	*out = MDL_JBOOL(rc == 0 && same);
	return rc;
}

TEST(is_odd)
{
	UNUSED;
	return remainder_is(r, self, MDL_JINT(2), 1, out);
}

TEST(is_even)
{
	UNUSED;
	return remainder_is(r, self, MDL_JINT(2), 0, out);
}

TEST(is_divisible)
{
	UNUSED;
	return remainder_is(r, self, argv[0], 0, out);
}

/* All letters that have case have this one, and there is one. */
static int all_of_case(struct mdl_jrun *r, struct mdl_jval self, bool upper, struct mdl_jval *out)
{
	bool any = false, all = true;
	size_t len;
	int rc = mdl_jto_str(r, self, &self);

	for (size_t at = 0; rc == 0 && at < self.s->n; at += len) {
		uint32_t cp = mdl_juni_next(self.s->data + at, self.s->n - at, &len);
		bool is_upper = mdl_juni_is_upper(cp), is_lower = mdl_juni_is_lower(cp);

		any |= upper ? is_upper : is_lower;
		all &= upper ? !is_lower : !is_upper;
	}
	*out = MDL_JBOOL(any && all);
	return rc < 0 ? rc : mdl_jstep_bytes(r, self.s->n);
}

TEST(is_lower)
{
	UNUSED;
	return all_of_case(r, self, false, out);
}

TEST(is_upper)
{
	UNUSED;
	return all_of_case(r, self, true, out);
}

TEST(is_same)
{
	struct mdl_jval other = argv[0];
	bool same = self.kind == other.kind;
	int rc = 0;

	UNUSED;
	if (same && (self.kind <= MDL_J_STR))
		rc = self.kind == MDL_J_UNDEF ? 0 : mdl_jequal(r, self, other, &same);
	else if (same)
		same = self.l == other.l;
	*out = MDL_JBOOL(same && self.kind != MDL_J_UNDEF && self.kind != MDL_J_FLOAT);
	return rc;
}

TEST(is_in)
{
	bool found;
	int rc = mdl_jcontains(r, self, argv[0], &found);

	UNUSED;
	*out = MDL_JBOOL(rc == 0 && found);
	return rc;
}

static int equals(struct mdl_jrun *r, struct mdl_jval a, struct mdl_jval b, bool wanted,
		  struct mdl_jval *out)
{
	bool same;
	int rc = mdl_jequal(r, a, b, &same);

	*out = MDL_JBOOL(rc == 0 && same == wanted);
	return rc;
}

static int ordered(struct mdl_jrun *r, struct mdl_jval a, struct mdl_jval b, enum mdl_jtok op,
		   struct mdl_jval *out)
{
	bool holds;
	int rc = mdl_jorder(r, a, b, op, &holds);

	*out = MDL_JBOOL(rc == 0 && holds);
	return rc;
}

#define COMPARISON(name, expr)                                                                     \
	TEST(name)                                                                                 \
	{                                                                                          \
		UNUSED;                                                                            \
		return expr;                                                                       \
	}

COMPARISON(is_eq, equals(r, self, argv[0], true, out))
COMPARISON(is_ne, equals(r, self, argv[0], false, out))
COMPARISON(is_gt, ordered(r, self, argv[0], MDL_JT_GT, out))
COMPARISON(is_ge, ordered(r, self, argv[0], MDL_JT_GE, out))
COMPARISON(is_lt, ordered(r, self, argv[0], MDL_JT_LT, out))
COMPARISON(is_le, ordered(r, self, argv[0], MDL_JT_LE, out))

static const struct mdl_jspec tests[] = {
	{"boolean", is_boolean, NULL, 0, false},
	{"callable", is_a_callable, NULL, 0, false},
	{"defined", is_defined, NULL, 0, false},
	{"divisibleby", is_divisible, "num", 1, false},
	{"escaped", is_escaped, NULL, 0, false},
	{"even", is_even, NULL, 0, false},
	{"false", is_false, NULL, 0, false},
	{"filter", is_filter, NULL, 0, false},
	{"float", is_float, NULL, 0, false},
	{"in", is_in, "seq", 1, false},
	{"integer", is_integer, NULL, 0, false},
	{"iterable", is_iterable, NULL, 0, false},
	{"lower", is_lower, NULL, 0, false},
	{"mapping", is_mapping, NULL, 0, false},
	{"none", is_none, NULL, 0, false},
	{"number", is_number, NULL, 0, false},
	{"odd", is_odd, NULL, 0, false},
	{"sameas", is_same, "other", 1, false},
	{"sequence", is_a_sequence, NULL, 0, false},
	{"string", is_string, NULL, 0, false},
	{"test", is_test, NULL, 0, false},
	{"true", is_true, NULL, 0, false},
	{"undefined", is_undefined, NULL, 0, false},
	{"upper", is_upper, NULL, 0, false},
	{"==", is_eq, "b", 1, false},
	{"eq", is_eq, "b", 1, false},
	{"equalto", is_eq, "b", 1, false},
	{"!=", is_ne, "b", 1, false},
	{"ne", is_ne, "b", 1, false},
	{">", is_gt, "b", 1, false},
	{"gt", is_gt, "b", 1, false},
	{"greaterthan", is_gt, "b", 1, false},
	{">=", is_ge, "b", 1, false},
	{"ge", is_ge, "b", 1, false},
	{"<", is_lt, "b", 1, false},
	{"lt", is_lt, "b", 1, false},
	{"lessthan", is_lt, "b", 1, false},
	{"<=", is_le, "b", 1, false},
	{"le", is_le, "b", 1, false},
	{NULL, NULL, NULL, 0, false},
};

const struct mdl_jspec *mdl_jtest_find(const struct mdl_jstr *name)
{
	return mdl_jspec_find(tests, name);
}
