/*
 * The parser's expressions: precedence climbing, one function a level, as the language defines them
 * (from the loosest): x if y else z; or; and; not; comparisons, in, not in; + -; ~; * / // %; **;
 * unary + -; then .attr [item] (call), then | filter and is test.
 */
#include <string.h>

#include "model/jinja-ast.h"

/* Enters one level of recursion; the source can't drive it deeper than MDL_J_MAX_DEPTH. */
static int enter(struct mdl_jparser *p)
{
	if (p->depth >= MDL_J_MAX_DEPTH)
		return mdl_jsyntax(p, "expression nested more than %d deep", MDL_J_MAX_DEPTH);
	p->depth++;
	return 0;
}

static int leave(struct mdl_jparser *p, int rc)
{
	p->depth--;
	return rc;
}

static uint32_t line_here(const struct mdl_jparser *p)
{
	return mdl_jpeek(p)->line;
}

static int new_binary(struct mdl_jparser *p, enum mdl_jtype type, enum mdl_jtok op, uint32_t line,
		      struct mdl_jnode **left, struct mdl_jnode *right)
{
	struct mdl_jnode *n;

	if (mdl_jnode_new(p, type, line, &n) < 0)
		return LT_ENOMEM;
	n->op = (uint8_t)op;
	n->a = *left;
	n->b = right;
	*left = n;
	return mdl_jnode_seal(p, n);
}

/* --- primaries --------------------------------------------------------------------------------- */

static int parse_const(struct mdl_jparser *p, struct mdl_jval value, struct mdl_jnode **out)
{
	if (mdl_jnode_new(p, MDL_JN_CONST, line_here(p), out) < 0)
		return LT_ENOMEM;
	(*out)->value = value;
	p->at++;
	return mdl_jnode_seal(p, *out);
}

static bool is_word(const struct mdl_jtoken *t, const char *word)
{
	return t->n == strlen(word) && memcmp(t->s, word, t->n) == 0;
}

static int parse_name(struct mdl_jparser *p, bool with_namespace, struct mdl_jnode **out)
{
	const struct mdl_jtoken *t = mdl_jpeek(p);
	const struct mdl_jstr *attr;
	bool ns;

	if (is_word(t, "true") || is_word(t, "True"))
		return parse_const(p, MDL_JBOOL(true), out);
	if (is_word(t, "false") || is_word(t, "False"))
		return parse_const(p, MDL_JBOOL(false), out);
	if (is_word(t, "none") || is_word(t, "None"))
		return parse_const(p, MDL_JNONE, out);
	ns = with_namespace && t[1].type == MDL_JT_DOT;
	if (mdl_jnode_new(p, ns ? MDL_JN_NSREF : MDL_JN_NAME, t->line, out) < 0 ||
	    mdl_jname_id(p, t->s, t->n, &(*out)->name) < 0)
		return p->err->code;
	p->at++;
	p->seen_loop += is_word(t, "loop");
	p->seen_caller += is_word(t, "caller");
	p->seen_kwargs += is_word(t, "kwargs");
	p->seen_varargs += is_word(t, "varargs");
	if (ns) {
		p->at++;
		t = mdl_jpeek(p);
		if (mdl_jexpect(p, MDL_JT_NAME) < 0)
			return LT_EFORMAT;
		if (mdl_jliteral(p, t->s, t->n, &attr) < 0)
			return LT_ENOMEM;
		(*out)->value = MDL_JSTR(attr);
	}
	return mdl_jnode_seal(p, *out);
}

/* Strings that stand side by side are one. */
static int parse_string(struct mdl_jparser *p, struct mdl_jnode **out)
{
	size_t first = p->at, n = 0;
	const struct mdl_jstr *s;
	char *data;
	int rc;

	for (; mdl_jat(p, MDL_JT_STRING); p->at++)
		n += mdl_jpeek(p)->n;
	data = mdl_jarena_alloc(&p->t->arena, 1, n);
	if (!data)
		return lt_fail(p->err, LT_ENOMEM, "no memory for the template");
	n = 0;
	for (size_t i = first; i < p->at; i++) {
		memcpy(data + n, p->tokens[i].s, p->tokens[i].n);
		n += p->tokens[i].n;
	}
	if (mdl_jliteral(p, data, n, &s) < 0)
		return LT_ENOMEM;
	p->at--; /* parse_const steps over one token */
	rc = parse_const(p, MDL_JSTR(s), out);
	return rc;
}

/* Expressions up to `close`, with commas between and perhaps at the end; with `pairs`, key: value. */
static int parse_items(struct mdl_jparser *p, enum mdl_jtype type, enum mdl_jtok close, bool pairs,
		       struct mdl_jnode **out)
{
	struct mdl_jnode *item;
	uint32_t cap = 0;

	if (mdl_jnode_new(p, type, line_here(p), out) < 0)
		return LT_ENOMEM;
	p->at++;
	while (!mdl_jat(p, close)) {
		if ((*out)->kids.n > 0 && mdl_jexpect(p, MDL_JT_COMMA) < 0)
			return LT_EFORMAT;
		if (mdl_jat(p, close))
			break;
		for (int i = 0; i < (pairs ? 2 : 1); i++) {
			int rc = i == 1 ? mdl_jexpect(p, MDL_JT_COLON) : 0;

			if (rc < 0 || (rc = mdl_jparse_expr(p, &item)) < 0 ||
			    (rc = mdl_jnodes_add(p, &(*out)->kids, &cap, item)) < 0)
				return rc;
		}
	}
	p->at++;
	return mdl_jnode_seal(p, *out);
}

static int parse_primary(struct mdl_jparser *p, bool with_namespace, struct mdl_jnode **out)
{
	const struct mdl_jtoken *t = mdl_jpeek(p);
	char buf[64];
	int rc;

	switch (t->type) {
	case MDL_JT_NAME: return parse_name(p, with_namespace, out);
	case MDL_JT_STRING: return parse_string(p, out);
	case MDL_JT_INT: return parse_const(p, MDL_JINT(t->i), out);
	case MDL_JT_FLOAT: return parse_const(p, MDL_JFLOAT(t->f), out);
	case MDL_JT_LBRACKET: return parse_items(p, MDL_JN_LIST, MDL_JT_RBRACKET, false, out);
	case MDL_JT_LBRACE: return parse_items(p, MDL_JN_DICT, MDL_JT_RBRACE, true, out);
	case MDL_JT_LPAREN:
		p->at++;
		rc = mdl_jparse_tuple(p, &(struct mdl_jtuple_rules){.parens = true}, out);
		return rc < 0 ? rc : mdl_jexpect(p, MDL_JT_RPAREN);
	default:
		return mdl_jsyntax(p, "expected an expression, got %s",
				   mdl_jdescribe(t, buf, sizeof(buf)));
	}
}

/* --- what follows a primary -------------------------------------------------------------------- */

/* One subscript: an expression or a slice. */
static int parse_subscribed(struct mdl_jparser *p, struct mdl_jnode **out)
{
	struct mdl_jnode *part[3] = {NULL, NULL, NULL};
	uint32_t line = line_here(p);
	int rc;

	for (int i = 0; i < 3; i++) {
		if (!mdl_jat(p, MDL_JT_COLON) && !mdl_jat(p, MDL_JT_RBRACKET) &&
		    !mdl_jat(p, MDL_JT_COMMA) && (rc = mdl_jparse_expr(p, &part[i])) < 0)
			return rc;
		if (i == 0 && part[0] && !mdl_jat(p, MDL_JT_COLON)) {
			*out = part[0];
			return 0;
		}
		if (i == 0 && !mdl_jat(p, MDL_JT_COLON))
			return mdl_jparse_expr(p, out); /* fails, and says why */
		if (i < 2 && !mdl_jskip(p, MDL_JT_COLON))
			break;
	}
	if (mdl_jnode_new(p, MDL_JN_SLICE, line, out) < 0)
		return LT_ENOMEM;
	(*out)->a = part[0];
	(*out)->b = part[1];
	(*out)->c = part[2];
	return mdl_jnode_seal(p, *out);
}

static int parse_item(struct mdl_jparser *p, struct mdl_jnode **node)
{
	struct mdl_jnode *n, *arg = NULL, *tuple;
	uint32_t line = line_here(p), cap = 0, count = 0;
	int rc;

	if (mdl_jnode_new(p, MDL_JN_TUPLE, line, &tuple) < 0)
		return LT_ENOMEM;
	p->at++;
	while (!mdl_jat(p, MDL_JT_RBRACKET)) {
		if (count++ > 0 && mdl_jexpect(p, MDL_JT_COMMA) < 0)
			return LT_EFORMAT;
		if ((rc = parse_subscribed(p, &arg)) < 0 ||
		    (rc = mdl_jnodes_add(p, &tuple->kids, &cap, arg)) < 0)
			return rc;
	}
	p->at++;
	for (uint32_t i = 0; count != 1 && i < count; i++) {
		if (tuple->kids.v[i]->type == MDL_JN_SLICE)
			return mdl_jsyntax(p, "a slice can't stand beside other subscripts");
	}
	if (mdl_jnode_seal(p, tuple) < 0 || mdl_jnode_new(p, MDL_JN_ITEM, line, &n) < 0)
		return p->err->code;
	n->a = *node;
	n->b = count == 1 ? arg : tuple;
	*node = n;
	return mdl_jnode_seal(p, n);
}

static int parse_dot(struct mdl_jparser *p, struct mdl_jnode **node)
{
	const struct mdl_jtoken *t;
	const struct mdl_jstr *name;
	struct mdl_jnode *n, *index;
	char buf[64];

	p->at++;
	t = mdl_jpeek(p);
	if (t->type != MDL_JT_NAME && t->type != MDL_JT_INT)
		return mdl_jsyntax(p, "expected a name or a number after '.', got %s",
				   mdl_jdescribe(t, buf, sizeof(buf)));
	if (mdl_jnode_new(p, t->type == MDL_JT_NAME ? MDL_JN_ATTR : MDL_JN_ITEM, t->line, &n) < 0)
		return LT_ENOMEM;
	n->a = *node;
	*node = n;
	if (t->type == MDL_JT_INT) {
		if (parse_const(p, MDL_JINT(t->i), &index) < 0)
			return p->err->code;
		n->b = index;
		return mdl_jnode_seal(p, n);
	}
	if (mdl_jliteral(p, t->s, t->n, &name) < 0)
		return LT_ENOMEM;
	n->value = MDL_JSTR(name);
	p->at++;
	return mdl_jnode_seal(p, n);
}

/* One argument of a call. */
static int parse_arg(struct mdl_jparser *p, struct mdl_jargs *args, uint32_t *cap_pos,
		     uint32_t *cap_kw)
{
	const struct mdl_jtoken *t = mdl_jpeek(p);
	const struct mdl_jstr **names;
	struct mdl_jnode *value;
	int rc;

	if (t->type == MDL_JT_MUL || t->type == MDL_JT_POW) {
		struct mdl_jnode **dyn = t->type == MDL_JT_MUL ? &args->dyn_pos : &args->dyn_kw;

		if (*dyn || args->dyn_kw)
			return mdl_jsyntax(p, "an argument follows **kwargs, or *args twice");
		p->at++;
		return mdl_jparse_expr(p, dyn);
	}
	if (t->type != MDL_JT_NAME || t[1].type != MDL_JT_ASSIGN) {
		if (args->dyn_pos || args->dyn_kw || args->kw.n > 0)
			return mdl_jsyntax(p, "a positional argument follows a keyword argument");
		rc = mdl_jparse_expr(p, &value);
		return rc < 0 ? rc : mdl_jnodes_add(p, &args->pos, cap_pos, value);
	}
	if (args->dyn_kw)
		return mdl_jsyntax(p, "an argument follows **kwargs");
	for (uint32_t i = 0; i < args->kw.n; i++) {
		if (args->kw_names[i]->n == t->n &&
		    memcmp(args->kw_names[i]->data, t->s, t->n) == 0)
			return mdl_jsyntax(p, "keyword argument '%.*s' stands twice",
					   (int)(t->n < 64 ? t->n : 64), t->s);
	}
	p->at += 2;
	rc = mdl_jparse_expr(p, &value);
	if (rc < 0)
		return rc;
	names = mdl_jarena_grow(&p->t->arena, args->kw_names, args->kw.n * sizeof(*names),
				(args->kw.n + 1) * sizeof(*names));
	if (!names)
		return lt_fail(p->err, LT_ENOMEM, "no memory for the template");
	args->kw_names = names;
	if (mdl_jliteral(p, t->s, t->n, &names[args->kw.n]) < 0)
		return LT_ENOMEM;
	return mdl_jnodes_add(p, &args->kw, cap_kw, value);
}

static int new_args(struct mdl_jparser *p, struct mdl_jargs **out)
{
	*out = mdl_jarena_alloc(&p->t->arena, 1, sizeof(**out));
	if (!*out)
		return lt_fail(p->err, LT_ENOMEM, "no memory for the template");
	**out = (struct mdl_jargs){0};
	return 0;
}

static int parse_args(struct mdl_jparser *p, struct mdl_jargs *args)
{
	uint32_t cap_pos = 0, cap_kw = 0;
	bool comma = false;
	int rc;

	p->at++;
	while (!mdl_jat(p, MDL_JT_RPAREN)) {
		if (comma && mdl_jexpect(p, MDL_JT_COMMA) < 0)
			return LT_EFORMAT;
		if (comma && mdl_jat(p, MDL_JT_RPAREN))
			break;
		rc = parse_arg(p, args, &cap_pos, &cap_kw);
		if (rc < 0)
			return rc;
		comma = true;
	}
	p->at++;
	return 0;
}

static int parse_call(struct mdl_jparser *p, struct mdl_jnode **node)
{
	struct mdl_jnode *n;
	int rc;

	if (mdl_jnode_new(p, MDL_JN_CALL, line_here(p), &n) < 0 || new_args(p, &n->args) < 0)
		return LT_ENOMEM;
	n->a = *node;
	*node = n;
	rc = parse_args(p, n->args);
	return rc < 0 ? rc : mdl_jnode_seal(p, n);
}

static int parse_postfix(struct mdl_jparser *p, struct mdl_jnode **node)
{
	int rc = 0;

	while (rc == 0) {
		if (mdl_jat(p, MDL_JT_DOT))
			rc = parse_dot(p, node);
		else if (mdl_jat(p, MDL_JT_LBRACKET))
			rc = parse_item(p, node);
		else if (mdl_jat(p, MDL_JT_LPAREN))
			rc = parse_call(p, node);
		else
			break;
	}
	return rc;
}

/* A filter's or test's name, perhaps dotted, into n->value. */
static int parse_dotted(struct mdl_jparser *p, struct mdl_jnode *n)
{
	const struct mdl_jtoken *first = mdl_jpeek(p), *last = first;
	const struct mdl_jstr *name;

	if (mdl_jexpect(p, MDL_JT_NAME) < 0)
		return LT_EFORMAT;
	while (mdl_jskip(p, MDL_JT_DOT)) {
		last = mdl_jpeek(p);
		if (mdl_jexpect(p, MDL_JT_NAME) < 0)
			return LT_EFORMAT;
	}
	if (mdl_jliteral(p, first->s, (size_t)(last->s + last->n - first->s), &name) < 0)
		return LT_ENOMEM;
	n->value = MDL_JSTR(name);
	return 0;
}

int mdl_jparse_filters(struct mdl_jparser *p, bool inline_start, struct mdl_jnode **node)
{
	struct mdl_jnode *n;
	int rc;

	while (inline_start || mdl_jskip(p, MDL_JT_PIPE)) {
		inline_start = false;
		if (mdl_jnode_new(p, MDL_JN_FILTER, line_here(p), &n) < 0 ||
		    new_args(p, &n->args) < 0)
			return LT_ENOMEM;
		n->a = *node;
		*node = n;
		rc = parse_dotted(p, n);
		if (rc == 0 && mdl_jat(p, MDL_JT_LPAREN))
			rc = parse_args(p, n->args);
		if (rc == 0)
			rc = mdl_jnode_seal(p, n);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* True if what stands here is a test's only argument, without parentheses. */
static bool at_bare_argument(const struct mdl_jparser *p)
{
	switch (mdl_jpeek(p)->type) {
	case MDL_JT_STRING:
	case MDL_JT_INT:
	case MDL_JT_FLOAT:
	case MDL_JT_LBRACKET:
	case MDL_JT_LBRACE: return true;
	case MDL_JT_NAME:
		return !mdl_jat_name(p, "else") && !mdl_jat_name(p, "or") &&
		       !mdl_jat_name(p, "and");
	default: return false;
	}
}

static int parse_test(struct mdl_jparser *p, struct mdl_jnode **node)
{
	uint32_t cap = 0, line = line_here(p);
	struct mdl_jnode *n, *arg;
	bool negated;
	int rc;

	p->at++;
	negated = mdl_jskip_name(p, "not");
	if (mdl_jnode_new(p, MDL_JN_TEST, line, &n) < 0 || new_args(p, &n->args) < 0)
		return LT_ENOMEM;
	n->a = *node;
	*node = n;
	rc = parse_dotted(p, n);
	if (rc == 0 && mdl_jat(p, MDL_JT_LPAREN)) {
		rc = parse_args(p, n->args);
	} else if (rc == 0 && at_bare_argument(p)) {
		if (mdl_jat_name(p, "is"))
			return mdl_jsyntax(p, "tests can't be chained with 'is'");
		if ((rc = parse_primary(p, false, &arg)) == 0 && (rc = parse_postfix(p, &arg)) == 0)
			rc = mdl_jnodes_add(p, &n->args->pos, &cap, arg);
	}
	if (rc == 0)
		rc = mdl_jnode_seal(p, n);
	if (rc == 0 && negated)
		rc = new_binary(p, MDL_JN_NOT, MDL_JT_EOF, line, node, NULL);
	return rc;
}

static int parse_filters_and_tests(struct mdl_jparser *p, struct mdl_jnode **node)
{
	int rc = 0;

	while (rc == 0) {
		if (mdl_jat(p, MDL_JT_PIPE))
			rc = mdl_jparse_filters(p, false, node);
		else if (mdl_jat_name(p, "is"))
			rc = parse_test(p, node);
		else if (mdl_jat(p, MDL_JT_LPAREN))
			rc = parse_call(p, node);
		else
			break;
	}
	return rc;
}

/* --- operators, from the tightest -------------------------------------------------------------- */

static int parse_unary(struct mdl_jparser *p, bool with_filter, struct mdl_jnode **out)
{
	bool neg = mdl_jat(p, MDL_JT_SUB);
	uint32_t line = line_here(p);
	int rc = enter(p);

	if (rc < 0)
		return rc;
	if (neg || mdl_jat(p, MDL_JT_ADD)) {
		p->at++;
		rc = parse_unary(p, false, out);
		if (rc == 0)
			rc = new_binary(p, neg ? MDL_JN_NEG : MDL_JN_POS, MDL_JT_EOF, line, out,
					NULL);
	} else {
		rc = parse_primary(p, false, out);
	}
	if (rc == 0)
		rc = parse_postfix(p, out);
	if (rc == 0 && with_filter)
		rc = parse_filters_and_tests(p, out);
	return leave(p, rc);
}

static int parse_pow(struct mdl_jparser *p, struct mdl_jnode **out)
{
	struct mdl_jnode *right;
	uint32_t line = line_here(p);
	int rc = parse_unary(p, true, out);

	while (rc == 0 && mdl_jskip(p, MDL_JT_POW)) {
		rc = parse_unary(p, true, &right);
		if (rc == 0)
			rc = new_binary(p, MDL_JN_BIN, MDL_JT_POW, line, out, right);
	}
	return rc;
}

static int parse_product(struct mdl_jparser *p, struct mdl_jnode **out)
{
	struct mdl_jnode *right;
	int rc = parse_pow(p, out);

	while (rc == 0) {
		const struct mdl_jtoken *t = mdl_jpeek(p);

		if (t->type != MDL_JT_MUL && t->type != MDL_JT_DIV && t->type != MDL_JT_FLOORDIV &&
		    t->type != MDL_JT_MOD)
			break;
		p->at++;
		rc = parse_pow(p, &right);
		if (rc == 0)
			rc = new_binary(p, MDL_JN_BIN, t->type, t->line, out, right);
	}
	return rc;
}

static int parse_concat(struct mdl_jparser *p, struct mdl_jnode **out)
{
	struct mdl_jnode *n, *next;
	uint32_t cap = 0, line = line_here(p);
	int rc = parse_product(p, out);

	if (rc < 0 || !mdl_jat(p, MDL_JT_TILDE))
		return rc;
	if (mdl_jnode_new(p, MDL_JN_CONCAT, line, &n) < 0)
		return LT_ENOMEM;
	rc = mdl_jnodes_add(p, &n->kids, &cap, *out);
	while (rc == 0 && mdl_jskip(p, MDL_JT_TILDE)) {
		rc = parse_product(p, &next);
		if (rc == 0)
			rc = mdl_jnodes_add(p, &n->kids, &cap, next);
	}
	*out = n;
	return rc < 0 ? rc : mdl_jnode_seal(p, n);
}

static int parse_sum(struct mdl_jparser *p, struct mdl_jnode **out)
{
	struct mdl_jnode *right;
	int rc = parse_concat(p, out);

	while (rc == 0 && (mdl_jat(p, MDL_JT_ADD) || mdl_jat(p, MDL_JT_SUB))) {
		const struct mdl_jtoken *t = mdl_jpeek(p);

		p->at++;
		rc = parse_concat(p, &right);
		if (rc == 0)
			rc = new_binary(p, MDL_JN_BIN, t->type, t->line, out, right);
	}
	return rc;
}

/* The comparison operator here, stepped over; EOF if there is none. */
static enum mdl_jtok skip_comparison(struct mdl_jparser *p)
{
	enum mdl_jtok type = mdl_jpeek(p)->type;

	if (type >= MDL_JT_EQ && type <= MDL_JT_LE) {
		p->at++;
		return type;
	}
	if (mdl_jskip_name(p, "in"))
		return MDL_JT_IN;
	if (mdl_jat_name(p, "not") && mdl_jpeek(p)[1].type == MDL_JT_NAME &&
	    is_word(&mdl_jpeek(p)[1], "in")) {
		p->at += 2;
		return MDL_JT_NOT_IN;
	}
	return MDL_JT_EOF;
}

static int parse_compare(struct mdl_jparser *p, struct mdl_jnode **out)
{
	struct mdl_jnode *n = NULL, *operand;
	uint32_t cap = 0, line = line_here(p);
	enum mdl_jtok op;
	int rc = parse_sum(p, out);

	while (rc == 0 && (op = skip_comparison(p)) != MDL_JT_EOF) {
		if (!n && mdl_jnode_new(p, MDL_JN_COMPARE, line, &n) < 0)
			return LT_ENOMEM;
		if (mdl_jnode_new(p, MDL_JN_OPERAND, line_here(p), &operand) < 0)
			return LT_ENOMEM;
		operand->op = (uint8_t)op;
		if ((rc = parse_sum(p, &operand->a)) == 0 && (rc = mdl_jnode_seal(p, operand)) == 0)
			rc = mdl_jnodes_add(p, &n->kids, &cap, operand);
	}
	if (rc < 0 || !n)
		return rc;
	n->a = *out;
	*out = n;
	return mdl_jnode_seal(p, n);
}

static int parse_not(struct mdl_jparser *p, struct mdl_jnode **out)
{
	uint32_t line = line_here(p);
	int rc;

	if (!mdl_jskip_name(p, "not"))
		return parse_compare(p, out);
	rc = enter(p);
	if (rc < 0)
		return rc;
	rc = parse_not(p, out);
	if (rc == 0)
		rc = new_binary(p, MDL_JN_NOT, MDL_JT_EOF, line, out, NULL);
	return leave(p, rc);
}

static int parse_and(struct mdl_jparser *p, struct mdl_jnode **out)
{
	struct mdl_jnode *right;
	uint32_t line = line_here(p);
	int rc = parse_not(p, out);

	while (rc == 0 && mdl_jskip_name(p, "and")) {
		rc = parse_not(p, &right);
		if (rc == 0)
			rc = new_binary(p, MDL_JN_AND, MDL_JT_EOF, line, out, right);
	}
	return rc;
}

static int parse_or(struct mdl_jparser *p, struct mdl_jnode **out)
{
	struct mdl_jnode *right;
	uint32_t line = line_here(p);
	int rc = parse_and(p, out);

	while (rc == 0 && mdl_jskip_name(p, "or")) {
		rc = parse_and(p, &right);
		if (rc == 0)
			rc = new_binary(p, MDL_JN_OR, MDL_JT_EOF, line, out, right);
	}
	return rc;
}

int mdl_jparse_expr(struct mdl_jparser *p, struct mdl_jnode **out)
{
	struct mdl_jnode *n;
	uint32_t line = line_here(p);
	int rc = enter(p);

	if (rc < 0)
		return rc;
	rc = parse_or(p, out);
	while (rc == 0 && mdl_jskip_name(p, "if")) {
		if (mdl_jnode_new(p, MDL_JN_COND, line, &n) < 0) {
			rc = LT_ENOMEM;
			break;
		}
		n->b = *out;
		*out = n;
		rc = parse_or(p, &n->a);
		if (rc == 0 && mdl_jskip_name(p, "else"))
			rc = mdl_jparse_expr(p, &n->c);
		if (rc == 0)
			rc = mdl_jnode_seal(p, n);
	}
	return leave(p, rc);
}

static bool tuple_ends(const struct mdl_jparser *p, const struct mdl_jtuple_rules *rules)
{
	return mdl_jat(p, MDL_JT_VAR_END) || mdl_jat(p, MDL_JT_BLOCK_END) ||
	       mdl_jat(p, MDL_JT_RPAREN) || (rules->end && mdl_jat_name(p, rules->end));
}

int mdl_jparse_tuple(struct mdl_jparser *p, const struct mdl_jtuple_rules *rules,
		     struct mdl_jnode **out)
{
	struct mdl_jnode *item, *tuple;
	uint32_t cap = 0;
	bool is_tuple = false;
	char buf[64];
	int rc;

	if (mdl_jnode_new(p, MDL_JN_TUPLE, line_here(p), &tuple) < 0)
		return LT_ENOMEM;
	while (!tuple_ends(p, rules)) {
		if (rules->targets_only)
			rc = parse_primary(p, rules->with_namespace, &item);
		else
			rc = rules->no_cond ? parse_or(p, &item) : mdl_jparse_expr(p, &item);
		if (rc < 0 || (rc = mdl_jnodes_add(p, &tuple->kids, &cap, item)) < 0)
			return rc;
		if (!mdl_jskip(p, MDL_JT_COMMA))
			break;
		is_tuple = true;
	}
	if (!is_tuple && tuple->kids.n == 1) {
		*out = tuple->kids.v[0];
		return 0;
	}
	if (!is_tuple && !rules->parens)
		return mdl_jsyntax(p, "expected an expression, got %s",
				   mdl_jdescribe(mdl_jpeek(p), buf, sizeof(buf)));
	*out = tuple;
	return mdl_jnode_seal(p, tuple);
}
