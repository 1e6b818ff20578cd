/*
 * Values of the template language (private to model/).
 *
 * A value is 16 bytes and passed by value; what it points to lives in the arena of one rendering
 * (or, for literals, in the arena of the template) and is never freed singly. All of it is
 * immutable but namespaces, loops, iterators, cyclers and joiners: the language, as published
 * templates know it, forbids changing lists and dicts.
 *
 * A string carries where each of its bytes comes from: trusted (the template's literals, bos_token,
 * eos_token) or not (the request). Every operation keeps that; numbers turned to text are untrusted.
 *
 * One rendering belongs to one thread; literals are shared and never written.
 */
#ifndef LT_MODEL_JINJA_VALUE_H
#define LT_MODEL_JINJA_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* --- arena ------------------------------------------------------------------------------------ */

struct mdl_jchunk;

/* Memory that is freed all at once. */
struct mdl_jarena {
	struct mdl_jchunk *chunks;
	size_t total; /* bytes held */
	size_t limit; /* most bytes it may hold; 0: no limit */
	int failed;   /* 0, LT_ENOMEM, or LT_ETOOBIG when the limit was passed */
};

/* count * size bytes, aligned to 16, not cleared; NULL (and `failed` set) when there are none. */
void *mdl_jarena_alloc(struct mdl_jarena *a, size_t count, size_t size)
	__attribute__((warn_unused_result));
/* Grows the block `p` of `old` bytes to `size` (more) bytes, moving it if need be: only for a block
 * that nothing else points into. NULL as above; `p` stays valid then. */
void *mdl_jarena_grow(struct mdl_jarena *a, void *p, size_t old, size_t size)
	__attribute__((warn_unused_result));
void mdl_jarena_fini(struct mdl_jarena *a);

/* --- values ----------------------------------------------------------------------------------- */

enum mdl_jkind {
	MDL_J_MISSING, /* an empty slot or an argument not given; never seen by a template */
	MDL_J_UNDEF,
	MDL_J_NONE,
	MDL_J_BOOL,
	MDL_J_INT,
	MDL_J_BIGINT, /* an integer of the request beyond 64 bits: its decimal text, for printing */
	MDL_J_FLOAT,
	MDL_J_STR,
	MDL_J_LIST,
	MDL_J_TUPLE,
	MDL_J_DICT,
	MDL_J_VIEW, /* keys(), values() or items() of a dict */
	MDL_J_RANGE,
	MDL_J_ITER, /* what map, select, reverse, ... give: can be gone through once */
	MDL_J_NAMESPACE,
	MDL_J_LOOP,
	MDL_J_MACRO,
	MDL_J_FUNC,   /* a global function */
	MDL_J_METHOD, /* a method bound to its object */
	MDL_J_CYCLER,
	MDL_J_JOINER,
};

/* Why a value is undefined (mdl_jval.sub): decides the message when it is used after all. */
enum mdl_jundef {
	MDL_J_UNDEF_NAME,   /* no variable `s` */
	MDL_J_UNDEF_ATTR,   /* an object of kind `what` has no attribute `s` */
	MDL_J_UNDEF_ITEM,   /* an object of kind `what` has no such element */
	MDL_J_UNDEF_HINT,   /* `s` is the whole message */
	MDL_J_UNDEF_UNSAFE, /* attribute `s` of kind `what` may not be touched */
};

enum mdl_jview { MDL_J_KEYS, MDL_J_VALUES, MDL_J_ITEMS };

struct mdl_jval {
	uint8_t kind; /* enum mdl_jkind */
	uint8_t sub; /* UNDEF: enum mdl_jundef; VIEW: enum mdl_jview; TUPLE: 1 for groupby's pairs */
	uint16_t what; /* UNDEF: kind of the object; FUNC: which one */
	union {
		bool b;
		int64_t i;
		double f;
		const struct mdl_jstr *s; /* STR; BIGINT: digits; UNDEF: name or message */
		const struct mdl_jlist *l;
		const struct mdl_jdict *d; /* DICT, VIEW */
		const struct mdl_jrange *range;
		struct mdl_jiter *it;
		struct mdl_jspace *ns;
		struct mdl_jloop *loop;
		const struct mdl_jmacro *macro;
		const struct mdl_jbound *bound;
		struct mdl_jcycler *cycler;
		struct mdl_jjoiner *joiner;
	};
};

#define MDL_JMISSING  ((struct mdl_jval){.kind = MDL_J_MISSING})
#define MDL_JNONE     ((struct mdl_jval){.kind = MDL_J_NONE})
#define MDL_JBOOL(x)  ((struct mdl_jval){.kind = MDL_J_BOOL, .b = (x)})
#define MDL_JINT(x)   ((struct mdl_jval){.kind = MDL_J_INT, .i = (x)})
#define MDL_JFLOAT(x) ((struct mdl_jval){.kind = MDL_J_FLOAT, .f = (x)})
#define MDL_JSTR(x)   ((struct mdl_jval){.kind = MDL_J_STR, .s = (x)})

#define MDL_J_UNCOUNTED SIZE_MAX

/* A string: immutable, but `chars` is filled in when first needed (never in a shared literal, which
 * is born counted). `tail` is set on the result of a concatenation: the buffer that the bytes lie in
 * and that the next concatenation may extend if these bytes are its last, so that building a text
 * piece by piece costs no more than its length. */
struct mdl_jstr {
	const char *data;	    // [n] UTF-8
	const unsigned char *trust; // [n] 1: trusted; NULL: `trusted` holds for all
	size_t n;		    /* bytes */
	size_t chars;		    /* code points, or MDL_J_UNCOUNTED */
	bool trusted;
	bool markup; /* result of escape or safe: adding a plain string to it escapes that */
	struct mdl_jtail *tail;
};

struct mdl_jlist {
	const struct mdl_jval *v; // [n]
	size_t n;
	struct mdl_jroom *room; /* as a string's tail */
};

struct mdl_jpair {
	struct mdl_jval key, value;
};

struct mdl_jdict {
	const struct mdl_jpair *v; // [n] in order of insertion
	size_t n;
	const uint32_t
		*sorted; // [n] indices by key; NULL: few entries or keys that are not strings
};

struct mdl_jrange {
	int64_t start, stop, step;
	size_t n;
};

/* A position in something iterable; also the shared state of an ITER value. */
struct mdl_jiter {
	struct mdl_jval over;
	size_t at; /* index, or byte offset in a string */
	bool reversed;
};

struct mdl_jspace { /* namespace(...) */
	struct mdl_jpair *v;
	size_t n, cap;
};

struct mdl_jcycler {
	struct mdl_jlist items;
	size_t at;
};

struct mdl_jjoiner {
	struct mdl_jval sep;
	bool used;
};

struct mdl_jbound {
	struct mdl_jval self;
	const struct mdl_jspec *method;
};

#endif
