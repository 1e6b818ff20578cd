/*
 * The parsed template (private to model/): tokens, nodes, scopes, and the passes that make them.
 *
 * source -> lexer (jinja-lex.c) -> parser (jinja-parse.c, jinja-expr.c) -> names to slots
 * (jinja-scope.c) -> rendering (jinja-exec.c, jinja-eval.c).
 *
 * Everything lies in the template's arena and is immutable once mdl_template_open has returned.
 */
#ifndef LT_MODEL_JINJA_AST_H
#define LT_MODEL_JINJA_AST_H

#include "model/jinja-value.h"

enum {
	MDL_J_MAX_SOURCE = 1 << 20, /* bytes of a template */
	MDL_J_MAX_NAMES = 4096,	    /* different names in a template */
	MDL_J_MAX_DEPTH = 200,	    /* nesting of expressions and blocks in the source */
	MDL_J_MAX_ARENA = 256 << 20,
};

enum mdl_jtok {
	MDL_JT_EOF,
	MDL_JT_DATA,
	MDL_JT_VAR_BEGIN,
	MDL_JT_VAR_END,
	MDL_JT_BLOCK_BEGIN,
	MDL_JT_BLOCK_END,
	MDL_JT_NAME,
	MDL_JT_STRING,
	MDL_JT_INT,
	MDL_JT_FLOAT,
	MDL_JT_ADD,
	MDL_JT_SUB,
	MDL_JT_DIV,
	MDL_JT_FLOORDIV,
	MDL_JT_MUL,
	MDL_JT_MOD,
	MDL_JT_POW,
	MDL_JT_TILDE,
	MDL_JT_LBRACKET,
	MDL_JT_RBRACKET,
	MDL_JT_LPAREN,
	MDL_JT_RPAREN,
	MDL_JT_LBRACE,
	MDL_JT_RBRACE,
	MDL_JT_EQ,
	MDL_JT_NE,
	MDL_JT_GT,
	MDL_JT_GE,
	MDL_JT_LT,
	MDL_JT_LE,
	MDL_JT_ASSIGN,
	MDL_JT_DOT,
	MDL_JT_COLON,
	MDL_JT_PIPE,
	MDL_JT_COMMA,
	MDL_JT_SEMICOLON,
	MDL_JT_IN, /* operators of a comparison only, not tokens */
	MDL_JT_NOT_IN,
};

struct mdl_jtoken {
	enum mdl_jtok type;
	uint32_t line;
	const char *s; /* NAME, STRING (escapes resolved), DATA */
	size_t n;
	union {
		int64_t i;
		double f;
	};
};

enum mdl_jtype {
	MDL_JN_CONST,	/* value */
	MDL_JN_NAME,	/* name, ref */
	MDL_JN_NSREF,	/* target only: name, ref; value: the attribute */
	MDL_JN_TUPLE,	/* kids */
	MDL_JN_LIST,	/* kids */
	MDL_JN_DICT,	/* kids: key, value, key, ... */
	MDL_JN_COND,	/* b if a else c (or NULL) */
	MDL_JN_OR,	/* a, b */
	MDL_JN_AND,	/* a, b */
	MDL_JN_NOT,	/* a */
	MDL_JN_NEG,	/* a */
	MDL_JN_POS,	/* a */
	MDL_JN_BIN,	/* a op b */
	MDL_JN_COMPARE, /* a, then kids of type OPERAND */
	MDL_JN_OPERAND, /* op a */
	MDL_JN_CONCAT,	/* kids */
	MDL_JN_ATTR,	/* a.value */
	MDL_JN_ITEM,	/* a[b] */
	MDL_JN_SLICE,	/* [a:b:c], each may be NULL; only as b of an ITEM */
	MDL_JN_CALL,	/* a(args) */
	MDL_JN_FILTER,	/* a | value(args); a is NULL for the text of a filter or set block */
	MDL_JN_TEST,	/* a is value(args) */

	MDL_JN_DATA,	     /* value */
	MDL_JN_OUTPUT,	     /* a */
	MDL_JN_IF,	     /* kids of type BRANCH */
	MDL_JN_BRANCH,	     /* a: test (NULL: else); kids: body */
	MDL_JN_FOR,	     /* a: target, b: iterable, c: condition or NULL; kids: body; loop */
	MDL_JN_SET,	     /* a: target, b: value */
	MDL_JN_SET_BLOCK,    /* a: target, b: filters or NULL; kids: body; scope */
	MDL_JN_MACRO,	     /* name, ref; func */
	MDL_JN_CALL_BLOCK,   /* a: the call; func: the body */
	MDL_JN_FILTER_BLOCK, /* b: filters; kids: body; scope */
	MDL_JN_WITH,	     /* a: TUPLE of targets, b: TUPLE of values; kids: body; scope */
	MDL_JN_BREAK,
	MDL_JN_CONTINUE,
};

struct mdl_jnode;

struct mdl_jnodes {
	struct mdl_jnode **v; // [n]
	uint32_t n;
};

/* A variable's place: `hops` functions outwards, then a slot of that function's frame. */
struct mdl_jref {
	uint32_t hops;
	uint32_t slot;
};

/* What happens to a slot when its scope is entered. */
enum mdl_jload_how {
	MDL_J_LOAD_PARAM,   /* nothing: whoever enters the scope fills it */
	MDL_J_LOAD_CONTEXT, /* the variable `name` of the input, or a global */
	MDL_J_LOAD_COPY,    /* the value of `from`, a variable of an outer scope */
	MDL_J_LOAD_NOTHING, /* not set yet */
};

struct mdl_jload {
	enum mdl_jload_how how;
	uint32_t slot;
	uint32_t name;
	struct mdl_jref from;
};

struct mdl_jscope {
	struct mdl_jload *loads; // [n_loads]
	uint32_t n_loads;
};

struct mdl_jargs {
	struct mdl_jnodes pos;
	struct mdl_jnodes kw;		    // [n] values
	const struct mdl_jstr **kw_names;   // [kw.n]
	struct mdl_jnode *dyn_pos, *dyn_kw; /* *args, **kwargs; or NULL */
	const struct mdl_jspec *spec;	    /* FILTER, TEST: what the name stands for, or NULL */
};

/* A macro or the body of a call block: what the language makes a function of. */
struct mdl_jfunc {
	const struct mdl_jstr *name; /* NULL: body of a call block */
	struct mdl_jnodes params;    /* NAME nodes */
	struct mdl_jnodes defaults;  /* of the last params */
	struct mdl_jnodes body;
	struct mdl_jscope scope;
	uint32_t n_slots;
	bool takes_caller, takes_kwargs, takes_varargs;
	bool param_caller; /* `caller` is one of the params */
	struct mdl_jref caller, kwargs, varargs;
	uint32_t id; /* among the template's functions */
};

struct mdl_jfor {
	struct mdl_jscope body_scope, else_scope, test_scope;
	struct mdl_jnodes else_body;
	struct mdl_jnode *test_target; /* the target again, bound to test_scope */
	bool extended;		       /* the body uses `loop` */
	struct mdl_jref loop;
};

struct mdl_jnode {
	uint8_t type; /* enum mdl_jtype */
	uint8_t op;   /* enum mdl_jtok */
	uint16_t depth;
	uint32_t line;
	uint32_t name; /* index in the template's names */
	struct mdl_jref ref;
	struct mdl_jval value;
	struct mdl_jnode *a, *b, *c;
	struct mdl_jnodes kids;
	union {
		struct mdl_jargs *args;
		struct mdl_jfunc *func;
		struct mdl_jfor *loop;
		struct mdl_jscope *scope;
	};
};

struct mdl_template {
	struct mdl_jarena arena;
	const struct mdl_jstr **names; // [n_names]
	uint32_t n_names;
	uint32_t n_funcs;
	struct mdl_jfunc root; /* the template as a function without parameters */
};

/* What the parser works with; freed when it is done. */
struct mdl_jparser {
	struct mdl_template *t;
	struct mdl_jtoken *tokens; // [n_tokens], the last one is EOF
	size_t n_tokens, cap_tokens, at;
	struct lt_map *names;
	size_t cap_names;
	uint32_t depth;	    /* of the recursion */
	uint32_t loops;	    /* of the language, around this place in this function */
	uint32_t seen_loop; /* how often `loop` was read so far; likewise: */
	uint32_t seen_caller, seen_kwargs, seen_varargs;
	struct lt_err *err;
};

/* Splits source[0..n) into p->tokens. LT_EFORMAT, LT_ENOMEM. */
int mdl_jlex(struct mdl_jparser *p, const char *source, size_t n);
/* Statements of the whole template into t->root.body. LT_EFORMAT, LT_EUNSUPPORTED, LT_ENOMEM. */
int mdl_jparse(struct mdl_jparser *p);
/* Gives every variable its slot; checks that filters and tests exist. */
int mdl_jresolve(struct mdl_template *t, struct lt_err *err);

/* Between jinja-parse.c and jinja-expr.c. */
const struct mdl_jtoken *mdl_jpeek(const struct mdl_jparser *p);
bool mdl_jat(const struct mdl_jparser *p, enum mdl_jtok type);
bool mdl_jat_name(const struct mdl_jparser *p, const char *name);
bool mdl_jskip(struct mdl_jparser *p, enum mdl_jtok type);
bool mdl_jskip_name(struct mdl_jparser *p, const char *name);
int mdl_jexpect(struct mdl_jparser *p, enum mdl_jtok type);
int mdl_jsyntax(struct mdl_jparser *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* "a name ('x')", for messages. Valid until the next call with the same buffer. */
const char *mdl_jdescribe(const struct mdl_jtoken *t, char *buf, size_t n);
int mdl_jnode_new(struct mdl_jparser *p, enum mdl_jtype type, uint32_t line,
		  struct mdl_jnode **out);
/* Sets n->depth from its children and refuses what is nested too deeply. */
int mdl_jnode_seal(struct mdl_jparser *p, struct mdl_jnode *n);
/* Appends to a growing list of nodes; *cap is the caller's. */
int mdl_jnodes_add(struct mdl_jparser *p, struct mdl_jnodes *list, uint32_t *cap,
		   struct mdl_jnode *n);
int mdl_jname_id(struct mdl_jparser *p, const char *s, size_t n, uint32_t *id);
/* A literal: bytes must outlive the template (they lie in its arena). */
int mdl_jliteral(struct mdl_jparser *p, const char *s, size_t n, const struct mdl_jstr **out);

struct mdl_jtuple_rules {
	bool targets_only;   /* names and literals, no operators */
	bool no_cond;	     /* no "x if y" */
	bool parens;	     /* within parentheses: may be empty */
	bool with_namespace; /* ns.attr is a target */
	const char *end;     /* a name that ends the tuple, or NULL */
};
int mdl_jparse_tuple(struct mdl_jparser *p, const struct mdl_jtuple_rules *rules,
		     struct mdl_jnode **out);
int mdl_jparse_expr(struct mdl_jparser *p, struct mdl_jnode **out);
/* "| f(x) | g"; with `inline_start`, the first name has no bar. *node may be NULL (a block's text). */
int mdl_jparse_filters(struct mdl_jparser *p, bool inline_start, struct mdl_jnode **node);

#endif
