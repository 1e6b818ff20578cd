/*
 * The parser's statements, and what both halves of the parser share. Every list and node lies in
 * the template's arena. Nesting is bounded, so that no source can exhaust the stack.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "model/jinja-ast.h"

const struct mdl_jtoken *mdl_jpeek(const struct mdl_jparser *p)
{
	return &p->tokens[p->at]; /* never past EOF: nothing steps over it */
}

bool mdl_jat(const struct mdl_jparser *p, enum mdl_jtok type)
{
	return mdl_jpeek(p)->type == type;
}

bool mdl_jat_name(const struct mdl_jparser *p, const char *name)
{
	const struct mdl_jtoken *t = mdl_jpeek(p);

	return t->type == MDL_JT_NAME && t->n == strlen(name) && memcmp(t->s, name, t->n) == 0;
}

bool mdl_jskip(struct mdl_jparser *p, enum mdl_jtok type)
{
	if (!mdl_jat(p, type))
		return false;
	p->at++;
	return true;
}

bool mdl_jskip_name(struct mdl_jparser *p, const char *name)
{
	if (!mdl_jat_name(p, name))
		return false;
	p->at++;
	return true;
}

static const char *const token_names[] = {
	[MDL_JT_EOF] = "the end of the template",
	[MDL_JT_DATA] = "text",
	[MDL_JT_VAR_BEGIN] = "'{{'",
	[MDL_JT_VAR_END] = "'}}'",
	[MDL_JT_BLOCK_BEGIN] = "'{%'",
	[MDL_JT_BLOCK_END] = "'%}'",
	[MDL_JT_NAME] = "a name",
	[MDL_JT_STRING] = "a string",
	[MDL_JT_INT] = "a number",
	[MDL_JT_FLOAT] = "a number",
	[MDL_JT_ADD] = "'+'",
	[MDL_JT_SUB] = "'-'",
	[MDL_JT_DIV] = "'/'",
	[MDL_JT_FLOORDIV] = "'//'",
	[MDL_JT_MUL] = "'*'",
	[MDL_JT_MOD] = "'%'",
	[MDL_JT_POW] = "'**'",
	[MDL_JT_TILDE] = "'~'",
	[MDL_JT_LBRACKET] = "'['",
	[MDL_JT_RBRACKET] = "']'",
	[MDL_JT_LPAREN] = "'('",
	[MDL_JT_RPAREN] = "')'",
	[MDL_JT_LBRACE] = "'{'",
	[MDL_JT_RBRACE] = "'}'",
	[MDL_JT_EQ] = "'=='",
	[MDL_JT_NE] = "'!='",
	[MDL_JT_GT] = "'>'",
	[MDL_JT_GE] = "'>='",
	[MDL_JT_LT] = "'<'",
	[MDL_JT_LE] = "'<='",
	[MDL_JT_ASSIGN] = "'='",
	[MDL_JT_DOT] = "'.'",
	[MDL_JT_COLON] = "':'",
	[MDL_JT_PIPE] = "'|'",
	[MDL_JT_COMMA] = "','",
	[MDL_JT_SEMICOLON] = "';'",
};

const char *mdl_jdescribe(const struct mdl_jtoken *t, char *buf, size_t n)
{
	if (t->type != MDL_JT_NAME)
		return token_names[t->type];
	snprintf(buf, n, "'%.*s'", (int)(t->n < 40 ? t->n : 40), t->s);
	return buf;
}

int mdl_jsyntax(struct mdl_jparser *p, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return lt_fail(p->err, LT_EFORMAT, "line %u: %s", mdl_jpeek(p)->line, text);
}

int mdl_jexpect(struct mdl_jparser *p, enum mdl_jtok type)
{
	char buf[64];

	if (mdl_jskip(p, type))
		return 0;
	return mdl_jsyntax(p, "expected %s, got %s", token_names[type],
			   mdl_jdescribe(mdl_jpeek(p), buf, sizeof(buf)));
}

static int no_memory(struct mdl_jparser *p)
{
	if (p->t->arena.failed == LT_ETOOBIG)
		return lt_fail(p->err, LT_ETOOBIG, "the template needs more than %d bytes parsed",
			       MDL_J_MAX_ARENA);
	return lt_fail(p->err, LT_ENOMEM, "no memory for the template");
}

int mdl_jnode_new(struct mdl_jparser *p, enum mdl_jtype type, uint32_t line, struct mdl_jnode **out)
{
	struct mdl_jnode *n = mdl_jarena_alloc(&p->t->arena, 1, sizeof(*n));

	if (!n)
		return no_memory(p);
	*n = (struct mdl_jnode){.type = (uint8_t)type, .line = line, .depth = 1};
	*out = n;
	return 0;
}

static void deepen(struct mdl_jnode *n, const struct mdl_jnode *child)
{
	if (child && child->depth >= n->depth)
		n->depth = child->depth + 1;
}

static void deepen_all(struct mdl_jnode *n, const struct mdl_jnodes *list)
{
	for (uint32_t i = 0; i < list->n; i++)
		deepen(n, list->v[i]);
}

int mdl_jnode_seal(struct mdl_jparser *p, struct mdl_jnode *n)
{
	deepen(n, n->a);
	deepen(n, n->b);
	deepen(n, n->c);
	deepen_all(n, &n->kids);
	switch (n->type) {
	case MDL_JN_CALL:
	case MDL_JN_FILTER:
	case MDL_JN_TEST:
		deepen_all(n, &n->args->pos);
		deepen_all(n, &n->args->kw);
		deepen(n, n->args->dyn_pos);
		deepen(n, n->args->dyn_kw);
		break;
	case MDL_JN_FOR: deepen_all(n, &n->loop->else_body); break;
	case MDL_JN_MACRO:
	case MDL_JN_CALL_BLOCK:
		deepen_all(n, &n->func->defaults);
		deepen_all(n, &n->func->body);
		break;
	default: break;
	}
	if (n->depth > MDL_J_MAX_DEPTH)
		return lt_fail(p->err, LT_EFORMAT, "line %u: nested more than %d deep", n->line,
			       MDL_J_MAX_DEPTH);
	return 0;
}

int mdl_jnodes_add(struct mdl_jparser *p, struct mdl_jnodes *list, uint32_t *cap,
		   struct mdl_jnode *n)
{
	struct mdl_jnode **v;
	uint32_t want = *cap ? *cap * 2 : 4;

	if (list->n == *cap) {
		v = mdl_jarena_grow(&p->t->arena, list->v, *cap * sizeof(*v), want * sizeof(*v));
		if (!v)
			return no_memory(p);
		list->v = v;
		*cap = want;
	}
	list->v[list->n++] = n;
	return 0;
}

int mdl_jliteral(struct mdl_jparser *p, const char *s, size_t n, const struct mdl_jstr **out)
{
	struct mdl_jstr *str = mdl_jarena_alloc(&p->t->arena, 1, sizeof(*str));
	size_t chars = 0;

	if (!str)
		return no_memory(p);
	for (size_t i = 0; i < n; i++)
		chars += ((unsigned char)s[i] & 0xc0) != 0x80;
	*str = (struct mdl_jstr){.data = s, .n = n, .chars = chars, .trusted = true};
	*out = str;
	return 0;
}

int mdl_jname_id(struct mdl_jparser *p, const char *s, size_t n, uint32_t *id)
{
	struct mdl_template *t = p->t;
	const struct mdl_jstr **names;
	uint64_t found;

	if (lt_map_get(p->names, s, n, &found)) {
		*id = (uint32_t)found;
		return 0;
	}
	if (t->n_names == MDL_J_MAX_NAMES)
		return mdl_jsyntax(p, "more than %d different names", MDL_J_MAX_NAMES);
	if (t->n_names == p->cap_names) {
		size_t want = p->cap_names ? p->cap_names * 2 : 32;

		names = mdl_jarena_grow(&t->arena, t->names, p->cap_names * sizeof(*names),
					want * sizeof(*names));
		if (!names)
			return no_memory(p);
		t->names = names;
		p->cap_names = want;
	}
	if (mdl_jliteral(p, s, n, &t->names[t->n_names]) < 0)
		return p->err->code;
	if (lt_map_put(p->names, s, n, t->n_names) < 0)
		return no_memory(p);
	*id = t->n_names++;
	return 0;
}

/* --- statements -------------------------------------------------------------------------------- */

static int parse_body(struct mdl_jparser *p, const char *const *ends, uint32_t opened,
		      struct mdl_jnodes *out);

static int new_in_arena(struct mdl_jparser *p, size_t size, void *out)
{
	void *mem = mdl_jarena_alloc(&p->t->arena, 1, size);

	if (!mem)
		return no_memory(p);
	memset(mem, 0, size);
	*(void **)out = mem;
	return 0;
}

/* Refuses targets that can't be assigned to. */
static int check_target(struct mdl_jparser *p, const struct mdl_jnode *n)
{
	int rc = 0;

	if (n->type == MDL_JN_NAME || n->type == MDL_JN_NSREF)
		return 0;
	if (n->type != MDL_JN_TUPLE)
		return lt_fail(p->err, LT_EFORMAT,
			       "line %u: only names and tuples of names can be assigned to",
			       n->line);
	for (uint32_t i = 0; rc == 0 && i < n->kids.n; i++)
		rc = check_target(p, n->kids.v[i]);
	return rc;
}

static int parse_target(struct mdl_jparser *p, bool with_namespace, const char *end,
			struct mdl_jnode **out)
{
	/* names that are assigned to don't count as read */
	uint32_t loop = p->seen_loop, caller = p->seen_caller, kwargs = p->seen_kwargs,
		 varargs = p->seen_varargs;
	int rc = mdl_jparse_tuple(p,
				  &(struct mdl_jtuple_rules){.targets_only = true,
							     .with_namespace = with_namespace,
							     .end = end},
				  out);

	p->seen_loop = loop;
	p->seen_caller = caller;
	p->seen_kwargs = kwargs;
	p->seen_varargs = varargs;
	return rc < 0 ? rc : check_target(p, *out);
}

/* A single name as a target. */
static int parse_name_target(struct mdl_jparser *p, struct mdl_jnode **out)
{
	const struct mdl_jtoken *t = mdl_jpeek(p);

	if (mdl_jexpect(p, MDL_JT_NAME) < 0)
		return LT_EFORMAT;
	if (mdl_jnode_new(p, MDL_JN_NAME, t->line, out) < 0)
		return p->err->code;
	return mdl_jname_id(p, t->s, t->n, &(*out)->name);
}

static int parse_set(struct mdl_jparser *p, struct mdl_jnode *n)
{
	static const char *const ends[] = {"endset", NULL};
	int rc = parse_target(p, true, NULL, &n->a);

	if (rc < 0)
		return rc;
	if (mdl_jskip(p, MDL_JT_ASSIGN)) {
		n->type = MDL_JN_SET;
		return mdl_jparse_tuple(p, &(struct mdl_jtuple_rules){0}, &n->b);
	}
	n->type = MDL_JN_SET_BLOCK;
	rc = new_in_arena(p, sizeof(*n->scope), &n->scope);
	if (rc == 0)
		rc = mdl_jparse_filters(p, false, &n->b);
	if (rc == 0)
		rc = parse_body(p, ends, n->line, &n->kids);
	p->at += rc == 0;
	return rc;
}

static int parse_for(struct mdl_jparser *p, struct mdl_jnode *n)
{
	static const char *const ends[] = {"endfor", "else", NULL}, *const end[] = {"endfor", NULL};
	uint32_t seen;
	int rc = new_in_arena(p, sizeof(*n->loop), &n->loop);

	n->type = MDL_JN_FOR;
	if (rc < 0 || (rc = parse_target(p, false, "in", &n->a)) < 0)
		return rc;
	if (!mdl_jskip_name(p, "in"))
		return mdl_jsyntax(p, "expected 'in' after the loop's variables");
	rc = mdl_jparse_tuple(p, &(struct mdl_jtuple_rules){.no_cond = true, .end = "recursive"},
			      &n->b);
	if (rc == 0 && mdl_jskip_name(p, "if"))
		rc = mdl_jparse_expr(p, &n->c);
	if (rc < 0)
		return rc;
	if (mdl_jat_name(p, "recursive"))
		return lt_fail(p->err, LT_EUNSUPPORTED,
			       "line %u: recursive loops are not supported", n->line);
	seen = p->seen_loop;
	p->loops++;
	rc = parse_body(p, ends, n->line, &n->kids);
	p->loops--;
	n->loop->extended = p->seen_loop != seen;
	if (rc < 0)
		return rc;
	if (mdl_jskip_name(p, "else"))
		rc = parse_body(p, end, n->line, &n->loop->else_body);
	p->at += rc == 0;
	return rc;
}

static int parse_if(struct mdl_jparser *p, struct mdl_jnode *n)
{
	static const char *const ends[] = {"elif", "else", "endif", NULL}, *const end[] = {"endif",
											   NULL};
	struct mdl_jnode *branch = NULL;
	uint32_t cap = 0;
	bool more = true, is_else = false;
	int rc = 0;

	n->type = MDL_JN_IF;
	while (rc == 0 && more) {
		if (mdl_jnode_new(p, MDL_JN_BRANCH, mdl_jpeek(p)->line, &branch) < 0)
			return p->err->code;
		if (!is_else)
			rc = mdl_jparse_tuple(p, &(struct mdl_jtuple_rules){.no_cond = true},
					      &branch->a);
		if (rc == 0)
			rc = parse_body(p, is_else ? end : ends, n->line, &branch->kids);
		if (rc == 0)
			rc = mdl_jnode_seal(p, branch);
		if (rc == 0)
			rc = mdl_jnodes_add(p, &n->kids, &cap, branch);
		more = rc == 0 && !mdl_jat_name(p, "endif");
		is_else = rc == 0 && mdl_jat_name(p, "else");
		p->at += rc == 0;
	}
	return rc;
}

static int parse_signature(struct mdl_jparser *p, struct mdl_jfunc *f)
{
	uint32_t cap_params = 0, cap_defaults = 0;
	struct mdl_jnode *param, *value;
	int rc = mdl_jexpect(p, MDL_JT_LPAREN);

	while (rc == 0 && !mdl_jat(p, MDL_JT_RPAREN)) {
		if (f->params.n > 0 && (rc = mdl_jexpect(p, MDL_JT_COMMA)) < 0)
			break;
		rc = parse_name_target(p, &param);
		if (rc == 0 && mdl_jskip(p, MDL_JT_ASSIGN)) {
			rc = mdl_jparse_expr(p, &value);
			if (rc == 0)
				rc = mdl_jnodes_add(p, &f->defaults, &cap_defaults, value);
		} else if (rc == 0 && f->defaults.n > 0) {
			rc = mdl_jsyntax(p, "a parameter without a default follows one with");
		}
		for (uint32_t i = 0; rc == 0 && i < f->params.n; i++) {
			if (f->params.v[i]->name == param->name)
				rc = mdl_jsyntax(p, "parameter '%.*s' stands twice",
						 (int)p->t->names[param->name]->n,
						 p->t->names[param->name]->data);
		}
		if (rc == 0)
			rc = mdl_jnodes_add(p, &f->params, &cap_params, param);
	}
	return rc < 0 ? rc : mdl_jexpect(p, MDL_JT_RPAREN);
}

static bool has_param(const struct mdl_jparser *p, const struct mdl_jfunc *f, const char *name)
{
	for (uint32_t i = 0; i < f->params.n; i++) {
		const struct mdl_jstr *s = p->t->names[f->params.v[i]->name];

		if (s->n == strlen(name) && memcmp(s->data, name, s->n) == 0)
			return true;
	}
	return false;
}

/* A function's body, up to `ends`; notes which of the special variables it reads. */
static int parse_func_body(struct mdl_jparser *p, const char *const *ends, uint32_t line,
			   struct mdl_jfunc *f)
{
	uint32_t caller = p->seen_caller, kwargs = p->seen_kwargs, varargs = p->seen_varargs;
	uint32_t loops = p->loops;
	int rc;

	p->loops = 0; /* a function's body is not inside the loop around it */
	rc = parse_body(p, ends, line, &f->body);
	p->loops = loops;
	p->at += rc == 0;
	f->param_caller = has_param(p, f, "caller");
	f->takes_caller = p->seen_caller != caller;
	f->takes_kwargs = p->seen_kwargs != kwargs && !has_param(p, f, "kwargs");
	f->takes_varargs = p->seen_varargs != varargs && !has_param(p, f, "varargs");
	f->id = p->t->n_funcs++;
	if (rc == 0 && f->takes_caller && f->param_caller && f->defaults.n == 0)
		rc = lt_fail(p->err, LT_EFORMAT,
			     "line %u: the parameter 'caller' must have a default or be left out",
			     line);
	return rc;
}

static int parse_macro(struct mdl_jparser *p, struct mdl_jnode *n)
{
	static const char *const ends[] = {"endmacro", NULL};
	struct mdl_jnode *name;
	int rc = new_in_arena(p, sizeof(*n->func), &n->func);

	n->type = MDL_JN_MACRO;
	if (rc == 0)
		rc = parse_name_target(p, &name);
	if (rc < 0)
		return rc;
	n->name = name->name;
	n->func->name = p->t->names[name->name];
	rc = parse_signature(p, n->func);
	return rc < 0 ? rc : parse_func_body(p, ends, n->line, n->func);
}

static int parse_call_block(struct mdl_jparser *p, struct mdl_jnode *n)
{
	static const char *const ends[] = {"endcall", NULL};
	int rc = new_in_arena(p, sizeof(*n->func), &n->func);

	n->type = MDL_JN_CALL_BLOCK;
	if (rc == 0 && mdl_jat(p, MDL_JT_LPAREN))
		rc = parse_signature(p, n->func);
	if (rc == 0)
		rc = mdl_jparse_expr(p, &n->a);
	if (rc < 0)
		return rc;
	if (n->a->type != MDL_JN_CALL)
		return mdl_jsyntax(p, "'call' needs a call of a macro");
	return parse_func_body(p, ends, n->line, n->func);
}

static int parse_filter_block(struct mdl_jparser *p, struct mdl_jnode *n)
{
	static const char *const ends[] = {"endfilter", NULL};
	int rc = new_in_arena(p, sizeof(*n->scope), &n->scope);

	n->type = MDL_JN_FILTER_BLOCK;
	if (rc == 0)
		rc = mdl_jparse_filters(p, true, &n->b);
	if (rc == 0)
		rc = parse_body(p, ends, n->line, &n->kids);
	p->at += rc == 0;
	return rc;
}

/* "with a = 1, b = 2", and "generation", a block that only marks its text. */
static int parse_with(struct mdl_jparser *p, struct mdl_jnode *n)
{
	static const char *const ends_with[] = {"endwith", NULL}, *const ends_generation[] = {
									  "endgeneration", NULL};
	bool with = p->tokens[p->at - 1].n == strlen("with");
	uint32_t cap_targets = 0, cap_values = 0;
	struct mdl_jnode *target, *value;
	int rc = new_in_arena(p, sizeof(*n->scope), &n->scope);

	n->type = MDL_JN_WITH;
	if (rc < 0 || mdl_jnode_new(p, MDL_JN_TUPLE, n->line, &n->a) < 0 ||
	    mdl_jnode_new(p, MDL_JN_TUPLE, n->line, &n->b) < 0)
		return p->err->code;
	while (with && !mdl_jat(p, MDL_JT_BLOCK_END)) {
		if ((n->a->kids.n > 0 && (rc = mdl_jexpect(p, MDL_JT_COMMA)) < 0) ||
		    (rc = parse_target(p, false, NULL, &target)) < 0 ||
		    (rc = mdl_jexpect(p, MDL_JT_ASSIGN)) < 0 ||
		    (rc = mdl_jparse_expr(p, &value)) < 0 ||
		    (rc = mdl_jnodes_add(p, &n->a->kids, &cap_targets, target)) < 0 ||
		    (rc = mdl_jnodes_add(p, &n->b->kids, &cap_values, value)) < 0)
			return rc;
	}
	rc = parse_body(p, with ? ends_with : ends_generation, n->line, &n->kids);
	p->at += rc == 0;
	if (rc == 0)
		rc = mdl_jnode_seal(p, n->a);
	return rc < 0 ? rc : mdl_jnode_seal(p, n->b);
}

static int parse_jump(struct mdl_jparser *p, struct mdl_jnode *n)
{
	bool is_break = p->tokens[p->at - 1].s[0] == 'b';

	n->type = is_break ? MDL_JN_BREAK : MDL_JN_CONTINUE;
	if (p->loops == 0)
		return mdl_jsyntax(p, "'%s' outside a loop", is_break ? "break" : "continue");
	return 0;
}

/* "print a, b": outputs both; kids of an IF branch that is always taken. */
static int parse_print(struct mdl_jparser *p, struct mdl_jnode *n)
{
	struct mdl_jnode *branch, *out = NULL;
	uint32_t cap = 0, cap_branch = 0;
	int rc;

	n->type = MDL_JN_IF;
	if (mdl_jnode_new(p, MDL_JN_BRANCH, n->line, &branch) < 0)
		return p->err->code;
	while (!mdl_jat(p, MDL_JT_BLOCK_END)) {
		if ((branch->kids.n > 0 && (rc = mdl_jexpect(p, MDL_JT_COMMA)) < 0) ||
		    (rc = mdl_jnode_new(p, MDL_JN_OUTPUT, n->line, &out)) < 0 ||
		    (rc = mdl_jparse_expr(p, &out->a)) < 0 || (rc = mdl_jnode_seal(p, out)) < 0 ||
		    (rc = mdl_jnodes_add(p, &branch->kids, &cap, out)) < 0)
			return rc;
	}
	rc = mdl_jnode_seal(p, branch);
	return rc < 0 ? rc : mdl_jnodes_add(p, &n->kids, &cap_branch, branch);
}

static const struct {
	const char *name;
	int (*parse)(struct mdl_jparser *p, struct mdl_jnode *n); /* NULL: known, not supported */
} statements[] = {
	{"for", parse_for},	{"if", parse_if},	    {"set", parse_set},
	{"macro", parse_macro}, {"call", parse_call_block}, {"filter", parse_filter_block},
	{"with", parse_with},	{"generation", parse_with}, {"print", parse_print},
	{"break", parse_jump},	{"continue", parse_jump},   {"autoescape", NULL},
	{"block", NULL},	{"extends", NULL},	    {"from", NULL},
	{"import", NULL},	{"include", NULL},	    {"trans", NULL},
	{"do", NULL},
};

static int parse_statement(struct mdl_jparser *p, struct mdl_jnode **out)
{
	const struct mdl_jtoken *t = mdl_jpeek(p);
	char buf[64];
	int rc;

	if (t->type != MDL_JT_NAME)
		return mdl_jsyntax(p, "expected a tag's name, got %s",
				   mdl_jdescribe(t, buf, sizeof(buf)));
	if (mdl_jnode_new(p, MDL_JN_DATA, t->line, out) < 0)
		return p->err->code;
	for (size_t i = 0; i < sizeof(statements) / sizeof(statements[0]); i++) {
		if (!mdl_jat_name(p, statements[i].name))
			continue;
		if (!statements[i].parse)
			return lt_fail(p->err, LT_EUNSUPPORTED,
				       "line %u: the tag '%s' is not supported", t->line,
				       statements[i].name);
		p->at++;
		rc = statements[i].parse(p, *out);
		return rc < 0 ? rc : mdl_jnode_seal(p, *out);
	}
	return mdl_jsyntax(p, "unknown tag %s", mdl_jdescribe(t, buf, sizeof(buf)));
}

static bool at_any(const struct mdl_jparser *p, const char *const *names)
{
	for (; names && *names; names++) {
		if (mdl_jat_name(p, *names))
			return true;
	}
	return false;
}

/* One piece of text, output or statement, appended to the list. `*ended`: one of `ends` is next. */
static int parse_piece(struct mdl_jparser *p, const char *const *ends, struct mdl_jnodes *list,
		       uint32_t *cap, bool *ended)
{
	const struct mdl_jtoken *t = mdl_jpeek(p);
	const struct mdl_jstr *text;
	struct mdl_jnode *n;
	int rc;

	p->at++;
	if (t->type == MDL_JT_BLOCK_BEGIN) {
		*ended = at_any(p, ends);
		if (*ended)
			return 0;
		rc = parse_statement(p, &n);
		if (rc == 0)
			rc = mdl_jexpect(p, MDL_JT_BLOCK_END);
	} else if (t->type == MDL_JT_DATA) {
		rc = mdl_jnode_new(p, MDL_JN_DATA, t->line, &n);
		if (rc == 0 && (rc = mdl_jliteral(p, t->s, t->n, &text)) == 0)
			n->value = MDL_JSTR(text);
	} else { /* VAR_BEGIN: nothing else stands between tags */
		rc = mdl_jnode_new(p, MDL_JN_OUTPUT, t->line, &n);
		if (rc == 0)
			rc = mdl_jparse_tuple(p, &(struct mdl_jtuple_rules){0}, &n->a);
		if (rc == 0)
			rc = mdl_jexpect(p, MDL_JT_VAR_END);
		if (rc == 0)
			rc = mdl_jnode_seal(p, n);
	}
	return rc < 0 ? rc : mdl_jnodes_add(p, list, cap, n);
}

/* Statements up to one of `ends` (NULL: the end of the template), which becomes the next token. */
static int parse_pieces(struct mdl_jparser *p, const char *const *ends, uint32_t opened,
			struct mdl_jnodes *out)
{
	uint32_t cap = 0;
	bool ended = false;
	int rc = 0;

	if (p->depth >= MDL_J_MAX_DEPTH)
		return mdl_jsyntax(p, "blocks nested more than %d deep", MDL_J_MAX_DEPTH);
	p->depth++;
	while (rc == 0 && !ended && !mdl_jat(p, MDL_JT_EOF))
		rc = parse_piece(p, ends, out, &cap, &ended);
	p->depth--;
	if (rc == 0 && ends && !ended)
		return mdl_jsyntax(p, "the template ends where '%s' is missing (opened in line %u)",
				   ends[0], opened);
	return rc;
}

static int parse_body(struct mdl_jparser *p, const char *const *ends, uint32_t opened,
		      struct mdl_jnodes *out)
{
	mdl_jskip(p, MDL_JT_COLON);
	if (mdl_jexpect(p, MDL_JT_BLOCK_END) < 0)
		return LT_EFORMAT;
	return parse_pieces(p, ends, opened, out);
}

int mdl_jparse(struct mdl_jparser *p)
{
	return parse_pieces(p, NULL, 0, &p->t->root.body);
}
