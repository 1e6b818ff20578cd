/*
 * One rendering (private to model/): its state, and the operations on values that need it, because
 * they allocate, count steps or can fail.
 *
 * Unless said otherwise a function returns 0 or a negative LT_E*, and has then described the fault
 * in the rendering's `err`. One thread, one rendering.
 */
#ifndef LT_MODEL_JINJA_RUN_H
#define LT_MODEL_JINJA_RUN_H

#include "model/jinja-ast.h"
#include "model/template.h"

/* A text being written: grows in the arena until mdl_jsb_finish makes a string of it. */
struct mdl_jsb {
	char *data;
	unsigned char *trust; /* NULL while every byte so far is `trusted` */
	size_t n, cap, cap_trust;
	bool trusted;
};

/* A list being built. */
struct mdl_jlb {
	struct mdl_jval *v;
	size_t n, cap;
};

/* The variables of one call of a function (or of the template itself). */
struct mdl_jframe {
	struct mdl_jframe *parent; /* of the function around it in the source */
	struct mdl_jframe *next_free;
	const struct mdl_jfunc *func;
	bool captured; /* a macro made here may outlive the call */
	struct mdl_jval v[];
};

struct mdl_jrun {
	const struct mdl_template *t;
	struct mdl_jarena arena;
	struct mdl_template_limits limits;
	uint64_t steps;
	uint32_t depth;
	uint32_t line; /* of what is being evaluated */
	int64_t now;
	struct mdl_jval *context; // [t->n_names] the input's variables and the globals, or MISSING
	struct mdl_jframe *frame;
	struct mdl_jframe **free_frames; // [t->n_funcs] by function, for reuse
	struct mdl_jsb *out;		 /* where output goes: the result or a captured text */
	struct mdl_jsb *result;
	const struct mdl_jval *block_text; /* what a filter without operand works on */
	struct lt_err *err;
};

struct mdl_jmacro {
	const struct mdl_jfunc *func;
	struct mdl_jframe *env;
};

/* Positional and keyword arguments of one call, evaluated. Few of them need no allocation; so it is
 * not to be copied. */
struct mdl_jcall {
	struct mdl_jval *pos; // [n_pos]
	size_t n_pos;
	struct mdl_jpair *kw; // [n_kw] keys are strings
	size_t n_kw;
	struct mdl_jval own_pos[4];
	struct mdl_jpair own_kw[2];
};

enum { MDL_J_MAX_PARAMS = 6 };

/* A filter, test or method: `params` names the arguments after the operand, in order. The first
 * n_required must be given; the rest are MISSING when they are not. `variadic`: the function looks
 * at the call itself, and argv is empty. */
struct mdl_jspec {
	const char *name;
	int (*fn)(struct mdl_jrun *r, struct mdl_jval self, const struct mdl_jval *argv,
		  const struct mdl_jcall *call,
		  struct mdl_jval *out); /* NULL: known, unsupported */
	const char *params;		 /* "a b c" */
	uint8_t n_required;
	bool variadic;
};

/* --- faults, steps, depth ---------------------------------------------------------------------- */

/* LT_EFORMAT with "line N: ...". */
int mdl_jfail(struct mdl_jrun *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int mdl_jno_memory(struct mdl_jrun *r);
/* Counts n steps; LT_ETIMEOUT when the rendering has had its share. */
int mdl_jstep(struct mdl_jrun *r, uint64_t n);
/* Counts the copying or scanning of n bytes. */
int mdl_jstep_bytes(struct mdl_jrun *r, size_t n);
int mdl_jenter(struct mdl_jrun *r); /* one level deeper; pair with mdl_jleave if it succeeds */
void mdl_jleave(struct mdl_jrun *r);
/* Fails if a value is undefined, in the words for that value. */
int mdl_jfail_undef(struct mdl_jrun *r, struct mdl_jval v);
/* "str", "dict", ... as messages name the type of a value. */
const char *mdl_jtype_name(struct mdl_jval v);
const char *mdl_jkind_name(unsigned kind);

/* --- strings (jinja-str.c) --------------------------------------------------------------------- */

/* A string over bytes that outlive the rendering or lie in its arena. */
int mdl_jstr_new(struct mdl_jrun *r, const char *s, size_t n, bool trusted, struct mdl_jval *out);
int mdl_jstr_lit(struct mdl_jrun *r, const char *s, struct mdl_jval *out); /* untrusted */
/* Bytes [from, from + n) of s, sharing them. */
int mdl_jstr_sub(struct mdl_jrun *r, const struct mdl_jstr *s, size_t from, size_t n,
		 struct mdl_jval *out);
int mdl_jstr_concat(struct mdl_jrun *r, const struct mdl_jstr *a, const struct mdl_jstr *b,
		    struct mdl_jval *out);
size_t mdl_jstr_chars(const struct mdl_jstr *s);
bool mdl_jstr_eq(const struct mdl_jstr *a, const struct mdl_jstr *b);
bool mdl_jstr_is(const struct mdl_jstr *s, const char *text);
int mdl_jstr_cmp(const struct mdl_jstr *a, const struct mdl_jstr *b); /* <0, 0, >0 */

int mdl_jsb_add(struct mdl_jrun *r, struct mdl_jsb *sb, const char *s, size_t n, bool trusted);
int mdl_jsb_adds(struct mdl_jrun *r, struct mdl_jsb *sb, const char *s); /* untrusted */
int mdl_jsb_add_str(struct mdl_jrun *r, struct mdl_jsb *sb, const struct mdl_jstr *s);
int mdl_jsb_add_sub(struct mdl_jrun *r, struct mdl_jsb *sb, const struct mdl_jstr *s, size_t from,
		    size_t n);
int mdl_jsb_add_cp(struct mdl_jrun *r, struct mdl_jsb *sb, uint32_t cp, bool trusted);
int mdl_jsb_finish(struct mdl_jrun *r, struct mdl_jsb *sb, struct mdl_jval *out);
/* Whether byte i of s is trusted. */
bool mdl_jstr_trusted_at(const struct mdl_jstr *s, size_t i);

/* --- values (jinja-value.c) -------------------------------------------------------------------- */

int mdl_jlist_new(struct mdl_jrun *r, const struct mdl_jval *v, size_t n, enum mdl_jkind kind,
		  struct mdl_jval *out); /* copies v */
int mdl_jlist_concat(struct mdl_jrun *r, struct mdl_jval a, struct mdl_jval b,
		     struct mdl_jval *out);
int mdl_jlb_add(struct mdl_jrun *r, struct mdl_jlb *lb, struct mdl_jval v);
int mdl_jlb_finish(struct mdl_jrun *r, struct mdl_jlb *lb, enum mdl_jkind kind,
		   struct mdl_jval *out);
/* An iterator, to be gone through once, over what lb holds. */
int mdl_jlb_iter(struct mdl_jrun *r, struct mdl_jlb *lb, struct mdl_jval *out);
/* A dict of v[0..n), which it keeps; of equal keys the last value holds, in the first one's place. */
int mdl_jdict_new(struct mdl_jrun *r, struct mdl_jpair *v, size_t n, struct mdl_jval *out);
/* NULL if the key is not there (or can't be a key). */
const struct mdl_jval *mdl_jdict_get(struct mdl_jrun *r, const struct mdl_jdict *d,
				     struct mdl_jval key);
int mdl_jspace_set(struct mdl_jrun *r, struct mdl_jspace *ns, const struct mdl_jstr *key,
		   struct mdl_jval value);
const struct mdl_jval *mdl_jspace_get(const struct mdl_jspace *ns, const struct mdl_jstr *key);
struct mdl_jval mdl_jrange_at(const struct mdl_jrange *range, size_t i);
bool mdl_jhashable(struct mdl_jval v);

bool mdl_jtruth(struct mdl_jval v);
int mdl_jequal(struct mdl_jrun *r, struct mdl_jval a, struct mdl_jval b, bool *out);
/* *out = a < b, a <= b, ...; fails for values without order. */
int mdl_jorder(struct mdl_jrun *r, struct mdl_jval a, struct mdl_jval b, enum mdl_jtok op,
	       bool *out);
int mdl_jcontains(struct mdl_jrun *r, struct mdl_jval item, struct mdl_jval in, bool *out);
/* Number of items; false if the value has none (*out untouched). */
bool mdl_jlength(struct mdl_jval v, size_t *out);

bool mdl_jiterable(struct mdl_jval v);
/* Starts going through v (fails if it can't be); then mdl_jiter_next until *more is false. An ITER
 * value is consumed in place: pass the result of mdl_jiter_open along, not the struct's copy. */
int mdl_jiter_open(struct mdl_jrun *r, struct mdl_jval v, struct mdl_jiter *own,
		   struct mdl_jiter **out);
int mdl_jiter_next(struct mdl_jrun *r, struct mdl_jiter *it, struct mdl_jval *out, bool *more);
/* How many items are left. */
size_t mdl_jiter_left(const struct mdl_jiter *it);
/* All items in a list being built. */
int mdl_jcollect(struct mdl_jrun *r, struct mdl_jval v, struct mdl_jlb *lb);

/* Sorts perm[0..n), stable, by less(keys[i], keys[j]); fails if keys have no order. */
int mdl_jsort(struct mdl_jrun *r, const struct mdl_jval *keys, uint32_t *perm, size_t n,
	      bool reverse);

/* --- text of values (jinja-print.c, jinja-tojson.c, jinja-json.c) ------------------------------- */

int mdl_jprint(struct mdl_jrun *r, struct mdl_jsb *sb, struct mdl_jval v); /* as str() */
int mdl_jrepr(struct mdl_jrun *r, struct mdl_jsb *sb, struct mdl_jval v);
int mdl_jto_str(struct mdl_jrun *r, struct mdl_jval v, struct mdl_jval *out); /* a STR */
enum { MDL_J_FLOAT_TEXT = 32 };
void mdl_jfloat_text(double f, char buf[MDL_J_FLOAT_TEXT]);

struct mdl_jjson_style {
	const struct mdl_jstr *indent; /* NULL: one line */
	const struct mdl_jstr *item_sep, *key_sep;
	bool ascii, sort_keys;
};
int mdl_jjson_write(struct mdl_jrun *r, struct mdl_jsb *sb, struct mdl_jval v,
		    const struct mdl_jjson_style *style);
/* Reads one JSON value that fills json[0..n); its strings are untrusted and may lie in json. */
int mdl_jjson_read(struct mdl_jrun *r, const char *json, size_t n, struct mdl_jval *out);

/* --- operators, attributes, calls (jinja-op.c, jinja-attr.c, jinja-call.c) ---------------------- */

int mdl_jbinary(struct mdl_jrun *r, enum mdl_jtok op, struct mdl_jval a, struct mdl_jval b,
		struct mdl_jval *out);
int mdl_jnegate(struct mdl_jrun *r, struct mdl_jval v, bool minus, struct mdl_jval *out);
/* A number as double; false if it is none. */
bool mdl_jnumber(struct mdl_jval v, double *out);
/* An integer (bool counts); false if it is none. */
bool mdl_jinteger(struct mdl_jval v, int64_t *out);

int mdl_jgetattr(struct mdl_jrun *r, struct mdl_jval obj, const struct mdl_jstr *name,
		 struct mdl_jval *out);
int mdl_jgetitem(struct mdl_jrun *r, struct mdl_jval obj, struct mdl_jval key,
		 struct mdl_jval *out);
/* Only what is an attribute proper, not an item. *found says whether there is one. */
int mdl_jattribute(struct mdl_jrun *r, struct mdl_jval obj, const struct mdl_jstr *name,
		   struct mdl_jval *out, bool *found);
int mdl_jslice(struct mdl_jrun *r, struct mdl_jval obj, struct mdl_jval start, struct mdl_jval stop,
	       struct mdl_jval step, struct mdl_jval *out);

/* Calls anything callable. */
int mdl_jcall(struct mdl_jrun *r, struct mdl_jval f, const struct mdl_jcall *call,
	      struct mdl_jval *out);
/* Calls a filter, test or method on `self`, its arguments bound to parameters. */
int mdl_japply(struct mdl_jrun *r, const struct mdl_jspec *spec, const char *what,
	       struct mdl_jval self, const struct mdl_jcall *call, struct mdl_jval *out);
/* The keyword argument `name`, or NULL. */
const struct mdl_jval *mdl_jkeyword(const struct mdl_jcall *call, const char *name);
/* The global function or MISSING. */
struct mdl_jval mdl_jglobal(const struct mdl_jstr *name);
/* s with the characters that HTML gives a meaning replaced; marked as markup. */
int mdl_jescape(struct mdl_jrun *r, const struct mdl_jstr *s, struct mdl_jval *out);
/* fmt % args, as Python formats with "%". */
int mdl_jformat_percent(struct mdl_jrun *r, const struct mdl_jstr *fmt, struct mdl_jval args,
			struct mdl_jval *out);
/* fmt.format(*pos, **kw). */
int mdl_jformat_braces(struct mdl_jrun *r, const struct mdl_jstr *fmt, const struct mdl_jcall *call,
		       struct mdl_jval *out);
/* strftime with `now` in the local zone. */
int mdl_jdate(struct mdl_jrun *r, const struct mdl_jstr *fmt, struct mdl_jval *out);
int mdl_jcall_global(struct mdl_jrun *r, unsigned which, const struct mdl_jcall *call,
		     struct mdl_jval *out);
int mdl_jcall_macro(struct mdl_jrun *r, const struct mdl_jmacro *m, const struct mdl_jcall *call,
		    struct mdl_jval *out);

const struct mdl_jspec *mdl_jfilter_find(const struct mdl_jstr *name);
const struct mdl_jspec *mdl_jtest_find(const struct mdl_jstr *name);
/* A method of strings, lists, ...; NULL if there is none for that kind. */
const struct mdl_jspec *mdl_jmethod_find(unsigned kind, const struct mdl_jstr *name);
/* Finds `name` in a table of specs that ends with a NULL name. */
const struct mdl_jspec *mdl_jspec_find(const struct mdl_jspec *table, const struct mdl_jstr *name);

/* --- evaluation (jinja-eval.c, jinja-exec.c) ---------------------------------------------------- */

int mdl_jeval(struct mdl_jrun *r, const struct mdl_jnode *n, struct mdl_jval *out);
int mdl_jeval_args(struct mdl_jrun *r, const struct mdl_jargs *args, struct mdl_jcall *call);
/* A call; `caller` (or NULL) goes along as the keyword argument of that name. */
int mdl_jeval_call(struct mdl_jrun *r, const struct mdl_jnode *n, const struct mdl_jval *caller,
		   struct mdl_jval *out);
struct mdl_jval *mdl_jslot(struct mdl_jrun *r, struct mdl_jref ref);

/* What a statement list ends with, besides faults (which are negative). */
enum mdl_jflow { MDL_J_NEXT, MDL_J_BREAK, MDL_J_CONTINUE };
int mdl_jexec(struct mdl_jrun *r, const struct mdl_jnodes *body);
void mdl_jscope_enter(struct mdl_jrun *r, const struct mdl_jscope *scope);
void mdl_jscope_leave(struct mdl_jrun *r, const struct mdl_jscope *scope);
int mdl_jassign(struct mdl_jrun *r, const struct mdl_jnode *target, struct mdl_jval value);
int mdl_jframe_open(struct mdl_jrun *r, const struct mdl_jfunc *func, struct mdl_jframe *parent,
		    struct mdl_jframe **out);
void mdl_jframe_close(struct mdl_jrun *r, struct mdl_jframe *f);

/* A loop as the template sees it. */
struct mdl_jloop {
	struct mdl_jiter own, *it;
	const struct mdl_jnode *node;
	struct mdl_jframe *frame;		   /* whose variables the condition reads */
	struct mdl_jval current, previous, peeked; /* MISSING: none */
	struct mdl_jval changed;		   /* what `changed` was last called with */
	int64_t index0;
	size_t length; /* SIZE_MAX: not known */
	bool over;     /* the iterable has ended */
	bool tested;   /* what is left has passed the condition */
};
/* The next item of the loop's iterable that passes its condition. */
int mdl_jloop_pull(struct mdl_jrun *r, struct mdl_jloop *loop, struct mdl_jval *out, bool *more);
int mdl_jloop_attr(struct mdl_jrun *r, struct mdl_jloop *loop, const struct mdl_jstr *name,
		   struct mdl_jval *out, bool *found);
int mdl_jloop_length(struct mdl_jrun *r, struct mdl_jloop *loop, size_t *out);

#endif
