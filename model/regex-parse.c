/*
 * Patterns into trees: a recursive descent over Oniguruma's Ruby syntax. What is not understood is
 * refused by name, because a pattern that is read wrongly gives wrong tokens without a word.
 * Bounded: MAX_PATTERN bytes, MAX_NODES nodes, MAX_DEPTH groups in each other.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "model/regex.h"
#include "model/unicode.h"

#define MAX_PATTERN 65536u
#define MAX_NODES   4096u
#define MAX_SETS    256u
#define MAX_DEPTH   32u
#define MAX_REPEAT  1000u

struct parser {
	const char *s;
	size_t n, at;
	struct mdl_re_tree *tree;
	struct lt_err *err;
	unsigned depth;
};

/* How characters are read: set by (?i) and (?m), scoped by groups. */
struct flags {
	bool fold;    /* ASCII letters match both cases */
	bool dot_all; /* '.' matches a newline, too */
};

static int parse_alt(struct parser *p, struct flags f, uint32_t *out);
static int parse_class(struct parser *p, struct flags f, struct mdl_set *out);

static int malformed(struct parser *p, const char *what)
{
	return lt_fail(p->err, LT_EFORMAT, "%s at byte %zu", what, p->at);
}

static int refused(struct parser *p, const char *what)
{
	return lt_fail(p->err, LT_EUNSUPPORTED, "%s at byte %zu is not supported", what, p->at);
}

static int no_memory(struct parser *p)
{
	return lt_fail(p->err, LT_ENOMEM, "no memory for a pattern");
}

static bool at_end(const struct parser *p)
{
	return p->at >= p->n;
}

static bool looking_at(const struct parser *p, const char *text)
{
	size_t k = strlen(text);

	return p->n - p->at >= k && memcmp(p->s + p->at, text, k) == 0;
}

static bool take(struct parser *p, const char *text)
{
	if (!looking_at(p, text))
		return false;
	p->at += strlen(text);
	return true;
}

/* The next character as it stands; the pattern was seen to be well-formed and not at its end. */
static uint32_t take_char(struct parser *p)
{
	uint32_t cp = 0;

	p->at += lt_utf8_decode(p->s + p->at, p->n - p->at, &cp);
	return cp;
}

static int node_new(struct parser *p, enum mdl_re_kind kind, uint32_t *out)
{
	struct mdl_re_tree *t = p->tree;

	if (t->n_nodes >= MAX_NODES)
		return lt_fail(p->err, LT_ETOOBIG, "it has more than %u parts", MAX_NODES);
	if (lt_reserve(&t->nodes, &t->nodes_cap, t->n_nodes + 1, sizeof(*t->nodes)) < 0)
		return no_memory(p);
	*out = (uint32_t)t->n_nodes++;
	t->nodes[*out] = (struct mdl_re_node){.kind = kind};
	return 0;
}

static int node_with_child(struct parser *p, enum mdl_re_kind kind, uint32_t child, uint32_t *out)
{
	int rc = node_new(p, kind, out);

	if (rc == 0)
		p->tree->nodes[*out].child = child;
	return rc;
}

/* A leaf for `set`, which is taken over (and emptied) whatever happens. */
static int node_of_set(struct parser *p, struct mdl_set *set, uint32_t *out)
{
	struct mdl_re_tree *t = p->tree;
	size_t i;
	int rc = node_new(p, MDL_RE_SET, out);

	for (i = 0; rc == 0 && i < t->n_sets; i++) {
		if (mdl_set_equal(&t->sets[i], set))
			break;
	}
	if (rc == 0 && i == t->n_sets) {
		if (t->n_sets >= MAX_SETS)
			rc = lt_fail(p->err, LT_ETOOBIG, "it has more than %u character sets",
				     MAX_SETS);
		else if (lt_reserve(&t->sets, &t->sets_cap, t->n_sets + 1, sizeof(*t->sets)) < 0)
			rc = no_memory(p);
		else
			t->sets[t->n_sets++] = *set;
		if (rc == 0)
			*set = (struct mdl_set){0};
	}
	if (rc == 0)
		t->nodes[*out].set = (uint32_t)i;
	mdl_set_fini(set);
	return rc;
}

/* Adds what ASCII letters in `set` fold to. Classes with cased letters beyond ASCII are refused
 * unless they have all letters. */
static int fold_set(struct parser *p, struct mdl_set *set)
{
	struct mdl_set cased = {0}, beyond = {0}, letters = {0};
	int rc = LT_ENOMEM;

	if (mdl_set_add_categories(&letters, 1u << MDL_LU | 1u << MDL_LL | 1u << MDL_LT) < 0 ||
	    mdl_set_add(&beyond, 0x80, MDL_UNICODE_MAX) < 0 ||
	    mdl_set_intersect(&letters, &beyond) < 0 || mdl_set_union(&cased, set) < 0 ||
	    mdl_set_intersect(&cased, &letters) < 0)
		goto out;
	if (cased.n && !mdl_set_equal(&cased, &letters)) {
		rc = refused(p, "(?i) on letters beyond ASCII");
		goto done;
	}
	for (uint32_t c = 'a'; c <= 'z'; c++) {
		uint32_t other = c == 'k' ? 0x212a : c == 's' ? 0x17f : c;

		if (!mdl_set_has(set, c) && !mdl_set_has(set, c - 32))
			continue;
		if (mdl_set_add(set, c, c) < 0 || mdl_set_add(set, c - 32, c - 32) < 0 ||
		    mdl_set_add(set, other, other) < 0)
			goto out;
		mdl_set_tidy(set);
	}
	rc = 0;
out:
	if (rc == LT_ENOMEM)
		no_memory(p);
done:
	mdl_set_fini(&cased);
	mdl_set_fini(&beyond);
	mdl_set_fini(&letters);
	return rc;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Up to `most` hexadecimal digits, at least one. */
static int take_hex(struct parser *p, unsigned most, uint32_t *out)
{
	unsigned n = 0;

	*out = 0;
	while (n < most && !at_end(p) && hex_digit(p->s[p->at]) >= 0) {
		*out = *out * 16 + (uint32_t)hex_digit(p->s[p->at++]);
		n++;
	}
	if (n == 0)
		return malformed(p, "a number without digits");
	if (*out > MDL_UNICODE_MAX || (*out >= 0xd800 && *out <= 0xdfff))
		return malformed(p, "not a character");
	return 0;
}

/* After "\x" or "\u": the character's number. */
static int escaped_number(struct parser *p, char kind, uint32_t *out)
{
	int rc;

	if (kind == 'u')
		return take_hex(p, 4, out);
	if (take(p, "{")) {
		rc = take_hex(p, 8, out);
		if (rc == 0 && !take(p, "}"))
			rc = malformed(p, "\\x{ without }");
		return rc;
	}
	rc = take_hex(p, 2, out);
	if (rc == 0 && *out >= 0x80)
		rc = refused(p, "\\x of a byte beyond ASCII");
	return rc;
}

/* After "\p" or "\P". */
static int property(struct parser *p, bool negative, struct mdl_set *out)
{
	size_t start, end;
	int rc;

	if (!take(p, "{"))
		return refused(p, "\\p without {");
	if (take(p, "^"))
		negative = !negative;
	for (start = p->at; !at_end(p) && p->s[p->at] != '}';)
		p->at++;
	end = p->at;
	if (!take(p, "}"))
		return malformed(p, "\\p{ without }");
	rc = mdl_set_add_property(out, p->s + start, end - start);
	if (rc == LT_EINVAL)
		return lt_fail(p->err, LT_EUNSUPPORTED, "property \\p{%.*s} is not supported",
			       (int)(end - start < 40 ? end - start : 40), p->s + start);
	if (rc == 0 && negative)
		rc = mdl_set_invert(out);
	return rc < 0 ? no_memory(p) : 0;
}

/* After the backslash of \d \s \w \h and their capitals. */
static int shorthand(struct parser *p, char c, struct mdl_set *out)
{
	int rc = 0;

	switch (tolower((unsigned char)c)) {
	case 'd': rc = mdl_set_add_categories(out, 1u << MDL_ND); break;
	case 's': rc = mdl_set_add_space(out); break;
	case 'w': rc = mdl_set_add_word(out); break;
	default:
		rc = mdl_set_add(out, '0', '9');
		if (rc == 0)
			rc = mdl_set_add(out, 'A', 'F');
		if (rc == 0)
			rc = mdl_set_add(out, 'a', 'f');
		break;
	}
	if (rc == 0 && isupper((unsigned char)c))
		rc = mdl_set_invert(out);
	return rc < 0 ? no_memory(p) : 0;
}

/* An escape that stands for characters, the backslash taken. *one is its character when it is a
 * single one (which may then begin a range), else UINT32_MAX. */
static int escape(struct parser *p, struct mdl_set *out, uint32_t *one)
{
	static const char names[] = "ntrfvae", values[] = "\n\t\r\f\v\a\033";
	const char *known;
	char c;
	int rc = 0;

	*one = UINT32_MAX;
	if (at_end(p))
		return malformed(p, "a backslash at the end");
	if ((unsigned char)p->s[p->at] >= 0x80) {
		*one = take_char(p);
		return mdl_set_add(out, *one, *one) < 0 ? no_memory(p) : 0;
	}
	c = p->s[p->at++];
	known = c ? strchr(names, c) : NULL;
	if (known) {
		*one = (unsigned char)values[known - names];
	} else if (c == 'x' || c == 'u') {
		rc = escaped_number(p, c, one);
	} else if (c == 'p' || c == 'P') {
		return property(p, c == 'P', out);
	} else if (c && strchr("dDsSwWhH", c)) {
		return shorthand(p, c, out);
	} else if (isalnum((unsigned char)c)) {
		char what[3] = {'\\', c, '\0'};

		p->at -= 2;
		return refused(p, what);
	} else {
		*one = (unsigned char)c;
	}
	if (rc == 0 && mdl_set_add(out, *one, *one) < 0)
		rc = no_memory(p);
	return rc;
}

/* After "[:" of a bracket inside a class. */
static int posix_bracket(struct parser *p, struct mdl_set *out)
{
	bool negative = take(p, "^");
	uint32_t mask = 0;
	int rc;

	if (take(p, "space:]")) {
		rc = mdl_set_add_space(out);
	} else {
		if (take(p, "digit:]"))
			mask = 1u << MDL_ND;
		else if (take(p, "punct:]"))
			mask = (2u << MDL_SO) - (1u << MDL_PC);
		else if (take(p, "upper:]") || take(p, "lower:]") || take(p, "alpha:]") ||
			 take(p, "alnum:]"))
			return refused(p, "this bracket class (say \\p{...} instead)");
		else
			return refused(p, "this bracket class");
		rc = mdl_set_add_categories(out, mask);
	}
	if (rc == 0 && negative)
		rc = mdl_set_invert(out);
	return rc < 0 ? no_memory(p) : 0;
}

/* One end of a range, or a whole item, of a class. */
static int class_atom(struct parser *p, struct flags f, struct mdl_set *out, uint32_t *one)
{
	*one = UINT32_MAX;
	if (at_end(p))
		return malformed(p, "a class without ]");
	if (take(p, "[:"))
		return posix_bracket(p, out);
	if (take(p, "["))
		return parse_class(p, f, out);
	if (take(p, "\\"))
		return escape(p, out, one);
	*one = take_char(p);
	return mdl_set_add(out, *one, *one) < 0 ? no_memory(p) : 0;
}

/* One item of a class: an atom, or a range between two. */
static int class_item(struct parser *p, struct flags f, struct mdl_set *all)
{
	struct mdl_set item = {0}, last = {0};
	uint32_t lo, hi;
	int rc = class_atom(p, f, &item, &lo);

	if (rc == 0 && lo != UINT32_MAX && looking_at(p, "-") && !looking_at(p, "-]") &&
	    !looking_at(p, "-[") && !looking_at(p, "-&&")) {
		p->at++;
		rc = class_atom(p, f, &last, &hi);
		if (rc == 0 && hi == UINT32_MAX)
			rc = malformed(p, "a range that ends with a class");
		else if (rc == 0 && hi < lo)
			rc = malformed(p, "a range that runs backwards");
		else if (rc == 0 && mdl_set_add(&item, lo, hi) < 0)
			rc = no_memory(p);
	}
	mdl_set_tidy(&item);
	if (rc == 0 && mdl_set_union(all, &item) < 0)
		rc = no_memory(p);
	mdl_set_fini(&item);
	mdl_set_fini(&last);
	return rc;
}

/* After "[": everything up to the "]" that closes it. */
static int class_body(struct parser *p, struct flags f, struct mdl_set *out)
{
	struct mdl_set part = {0};
	bool negative = take(p, "^"), first = true, have_out = false;
	int rc = 0;

	while (rc == 0) {
		bool closes = looking_at(p, "]") && !first, and = looking_at(p, "&&");

		if (closes || and) {
			p->at += closes ? 1 : 2;
			rc = have_out ? mdl_set_intersect(out, &part) : mdl_set_union(out, &part);
			if (rc < 0)
				rc = no_memory(p);
			have_out = true;
			mdl_set_fini(&part);
			if (closes)
				break;
		} else {
			rc = class_item(p, f, &part);
		}
		first = false;
	}
	if (rc == 0 && f.fold)
		rc = fold_set(p, out);
	if (rc == 0 && negative && mdl_set_invert(out) < 0)
		rc = no_memory(p);
	mdl_set_fini(&part);
	return rc;
}

static int parse_class(struct parser *p, struct flags f, struct mdl_set *out)
{
	int rc;

	if (p->depth >= MAX_DEPTH)
		return lt_fail(p->err, LT_ETOOBIG, "classes nest deeper than %u", MAX_DEPTH);
	p->depth++;
	rc = class_body(p, f, out);
	p->depth--;
	return rc;
}

static int anchor_node(struct parser *p, enum mdl_re_anchor anchor, uint32_t *out)
{
	int rc = node_new(p, MDL_RE_ANCHOR, out);

	if (rc == 0)
		p->tree->nodes[*out].anchor = anchor;
	return rc;
}

/* A look-around node over `child`. */
static int look_node(struct parser *p, uint32_t child, bool behind, bool negative, uint32_t *out)
{
	int rc = node_with_child(p, MDL_RE_LOOK, child, out);

	if (rc == 0) {
		p->tree->nodes[*out].behind = behind;
		p->tree->nodes[*out].negative = negative;
	}
	return rc;
}

/* \b as (?<=\w)(?!\w)|(?<!\w)(?=\w); \B turns one of each pair round. */
static int word_border(struct parser *p, bool border, uint32_t *out)
{
	uint32_t alt, cat[2] = {0}, look[2], set_node;
	int rc = node_new(p, MDL_RE_ALT, &alt);

	for (unsigned i = 0; rc == 0 && i < 2; i++) {
		for (unsigned k = 0; rc == 0 && k < 2; k++) {
			struct mdl_set word = {0};
			bool negative = (i == 1) != (k == 1 && border);

			rc = mdl_set_add_word(&word) < 0 ? no_memory(p)
							 : node_of_set(p, &word, &set_node);
			if (rc == 0)
				rc = look_node(p, set_node, k == 0, negative, &look[k]);
		}
		if (rc == 0)
			rc = node_with_child(p, MDL_RE_CAT, look[0], &cat[i]);
		if (rc == 0)
			p->tree->nodes[look[0]].next = look[1];
	}
	if (rc == 0) {
		p->tree->nodes[alt].child = cat[0];
		p->tree->nodes[cat[0]].next = cat[1];
		*out = alt;
	}
	return rc;
}

/* "(?imx-imx" up to ')' or ':'. */
static int take_flags(struct parser *p, struct flags *f)
{
	bool on = true;

	while (!at_end(p) && p->s[p->at] != ')' && p->s[p->at] != ':') {
		char c = p->s[p->at];

		if (c == '-')
			on = false;
		else if (c == 'i')
			f->fold = on;
		else if (c == 'm')
			f->dot_all = on;
		else
			return refused(p, "this kind of group");
		p->at++;
	}
	return at_end(p) ? malformed(p, "a group without )") : 0;
}

/* After "(": the group's content and its ")". */
static int group_body(struct parser *p, struct flags f, uint32_t *out)
{
	enum { PLAIN, ATOMIC, LOOK } kind = PLAIN;
	bool behind = false, negative = false, rest = false;
	uint32_t child;
	int rc = 0;

	if (take(p, "?=") || take(p, "?!") || take(p, "?<=") || take(p, "?<!")) {
		kind = LOOK;
		behind = p->s[p->at - 2] == '<';
		negative = p->s[p->at - 1] == '!';
	} else if (take(p, "?>")) {
		kind = ATOMIC;
	} else if (take(p, "?<")) {
		while (!at_end(p) && p->s[p->at] != '>')
			p->at++;
		if (!take(p, ">"))
			return malformed(p, "a group's name without >");
	} else if (take(p, "?")) {
		rc = take_flags(p, &f);
		/* "(?i)" holds to the end of the group round it, over all its alternatives. */
		rest = rc == 0 && take(p, ")");
		if (rc == 0 && !rest)
			p->at++;
	}
	if (rc == 0)
		rc = parse_alt(p, f, &child);
	if (rc == 0 && !rest && !take(p, ")"))
		rc = malformed(p, "a group without )");
	if (rc < 0)
		return rc;
	if (kind == LOOK)
		return look_node(p, child, behind, negative, out);
	if (kind == ATOMIC)
		return node_with_child(p, MDL_RE_ATOMIC, child, out);
	*out = child;
	return 0;
}

static int parse_group(struct parser *p, struct flags f, uint32_t *out)
{
	int rc;

	if (p->depth >= MAX_DEPTH)
		return lt_fail(p->err, LT_ETOOBIG, "groups nest deeper than %u", MAX_DEPTH);
	p->depth++;
	rc = group_body(p, f, out);
	p->depth--;
	return rc;
}

/* An escape outside a class. */
static int escape_atom(struct parser *p, struct flags f, uint32_t *out)
{
	struct mdl_set set = {0};
	uint32_t one;
	int rc;

	if (take(p, "A"))
		return anchor_node(p, MDL_RE_TEXT_START, out);
	if (take(p, "z"))
		return anchor_node(p, MDL_RE_TEXT_END, out);
	if (take(p, "Z"))
		return anchor_node(p, MDL_RE_LAST_LINE_END, out);
	if (looking_at(p, "b") || looking_at(p, "B"))
		return word_border(p, p->s[p->at++] == 'b', out);
	rc = escape(p, &set, &one);
	mdl_set_tidy(&set);
	if (rc == 0 && f.fold)
		rc = fold_set(p, &set);
	if (rc < 0) {
		mdl_set_fini(&set);
		return rc;
	}
	return node_of_set(p, &set, out);
}

static int dot(struct parser *p, struct flags f, uint32_t *out)
{
	struct mdl_set set = {0};
	int rc = f.dot_all ? 0 : mdl_set_add(&set, '\n', '\n');

	if (rc == 0)
		rc = mdl_set_invert(&set);
	if (rc < 0) {
		mdl_set_fini(&set);
		return no_memory(p);
	}
	return node_of_set(p, &set, out);
}

static int parse_atom(struct parser *p, struct flags f, uint32_t *out)
{
	struct mdl_set set = {0};
	uint32_t cp;
	int rc = 0;

	if (take(p, "("))
		return parse_group(p, f, out);
	if (take(p, "\\"))
		return escape_atom(p, f, out);
	if (take(p, "."))
		return dot(p, f, out);
	if (take(p, "^"))
		return anchor_node(p, MDL_RE_LINE_START, out);
	if (take(p, "$"))
		return anchor_node(p, MDL_RE_LINE_END, out);
	if (looking_at(p, "*") || looking_at(p, "+") || looking_at(p, "?"))
		return malformed(p, "a repeat of nothing");
	if (take(p, "[")) {
		rc = parse_class(p, f, &set);
	} else {
		cp = take_char(p);
		if (mdl_set_add(&set, cp, cp) < 0)
			rc = no_memory(p);
		else if (f.fold)
			rc = fold_set(p, &set);
	}
	if (rc < 0) {
		mdl_set_fini(&set);
		return rc;
	}
	return node_of_set(p, &set, out);
}

/* "{n}", "{n,}", "{,m}" or "{n,m}". False, and nothing taken, when it is not one: then the brace is
 * an ordinary character. */
static bool take_interval(struct parser *p, uint32_t *min, uint32_t *max)
{
	size_t start = p->at;
	uint32_t v[2] = {0, MDL_RE_NO_MAX};
	bool have[2] = {false, false}, comma = false;

	if (!take(p, "{"))
		return false;
	for (; !at_end(p) && p->s[p->at] != '}'; p->at++) {
		char c = p->s[p->at];
		unsigned k = comma;

		if (c == ',' && !comma) {
			comma = true;
			continue;
		}
		if (c < '0' || c > '9')
			break;
		v[k] = have[k] ? v[k] * 10 + (uint32_t)(c - '0') : (uint32_t)(c - '0');
		have[k] = true;
		if (v[k] > MAX_REPEAT)
			v[k] = MAX_REPEAT + 1;
	}
	if (!take(p, "}") || (!have[0] && !have[1])) {
		p->at = start;
		return false;
	}
	*min = v[0];
	*max = comma ? v[1] : v[0];
	return true;
}

/* One repeat after an atom, if there is one: *atom becomes the repeat. */
static int parse_repeat(struct parser *p, uint32_t *atom, bool *found)
{
	enum mdl_re_greed greed = MDL_RE_GREEDY;
	uint32_t min = 0, max = MDL_RE_NO_MAX, node;
	enum mdl_re_kind kind = p->tree->nodes[*atom].kind;
	bool interval = false;
	int rc;

	*found = true;
	if (take(p, "+")) {
		min = 1;
	} else if (take(p, "?")) {
		max = 1;
	} else if (!take(p, "*")) {
		interval = take_interval(p, &min, &max);
		*found = interval;
		if (!interval)
			return 0;
	}
	if (max < min)
		return malformed(p, "a repeat whose most is below its least");
	if (min > MAX_REPEAT || (max != MDL_RE_NO_MAX && max > MAX_REPEAT))
		return lt_fail(p->err, LT_ETOOBIG, "a repeat of more than %u", MAX_REPEAT);
	if (kind == MDL_RE_LOOK || kind == MDL_RE_ANCHOR)
		return refused(p, "a repeat of an assertion");
	/* In this dialect "{2}?" and "{2,3}+" are a repeat of a repeat. */
	if (!(interval && min == max) && take(p, "?"))
		greed = MDL_RE_LAZY;
	else if (!interval && take(p, "+"))
		greed = MDL_RE_POSSESSIVE;
	rc = node_with_child(p, MDL_RE_REPEAT, *atom, &node);
	if (rc < 0)
		return rc;
	p->tree->nodes[node].min = min;
	p->tree->nodes[node].max = max;
	p->tree->nodes[node].greed = greed;
	*atom = node;
	return 0;
}

static int parse_cat(struct parser *p, struct flags f, uint32_t *out)
{
	uint32_t first = 0, last = 0, atom;
	int rc = 0;

	while (!at_end(p) && p->s[p->at] != '|' && p->s[p->at] != ')') {
		bool more = true;

		rc = parse_atom(p, f, &atom);
		while (rc == 0 && more)
			rc = parse_repeat(p, &atom, &more);
		if (rc < 0)
			return rc;
		if (last)
			p->tree->nodes[last].next = atom;
		else
			first = atom;
		last = atom;
	}
	if (first && first == last) {
		*out = first;
		return 0;
	}
	return node_with_child(p, first ? MDL_RE_CAT : MDL_RE_EMPTY, first, out);
}

static int parse_alt(struct parser *p, struct flags f, uint32_t *out)
{
	uint32_t first, last, branch;
	int rc = parse_cat(p, f, &first);

	if (rc < 0)
		return rc;
	if (!looking_at(p, "|")) {
		*out = first;
		return 0;
	}
	last = first;
	while (take(p, "|")) {
		rc = parse_cat(p, f, &branch);
		if (rc < 0)
			return rc;
		p->tree->nodes[last].next = branch;
		last = branch;
	}
	return node_with_child(p, MDL_RE_ALT, first, out);
}

/* Plain text as a pattern: one set after the other. */
static int parse_literal(struct parser *p, uint32_t *out)
{
	uint32_t first = 0, last = 0, node;

	while (!at_end(p)) {
		struct mdl_set set = {0};
		uint32_t cp = take_char(p);
		int rc = mdl_set_add(&set, cp, cp) < 0 ? no_memory(p) : node_of_set(p, &set, &node);

		if (rc < 0)
			return rc;
		if (last)
			p->tree->nodes[last].next = node;
		else
			first = node;
		last = node;
	}
	return node_with_child(p, first ? MDL_RE_CAT : MDL_RE_EMPTY, first, out);
}

int mdl_re_parse(const char *pattern, size_t n, bool literal, struct mdl_re_tree *tree,
		 struct lt_err *err)
{
	struct parser p = {.s = pattern, .n = n, .tree = tree, .err = err};
	uint32_t unused;
	size_t bad;
	int rc;

	if (n > MAX_PATTERN)
		return lt_fail(err, LT_ETOOBIG, "it has %zu bytes, at most %u are allowed", n,
			       MAX_PATTERN);
	if (!lt_utf8_valid(pattern, n, &bad))
		return lt_fail(err, LT_EFORMAT, "malformed UTF-8 at byte %zu", bad);
	rc = node_new(&p, MDL_RE_EMPTY, &unused);
	if (rc == 0)
		rc = literal ? parse_literal(&p, &tree->root)
			     : parse_alt(&p, (struct flags){0}, &tree->root);
	if (rc == 0 && !at_end(&p))
		rc = malformed(&p, "a ) without (");
	return rc;
}

void mdl_re_tree_fini(struct mdl_re_tree *tree)
{
	for (size_t i = 0; i < tree->n_sets; i++)
		mdl_set_fini(&tree->sets[i]);
	free(tree->sets);
	free(tree->nodes);
	*tree = (struct mdl_re_tree){0};
}
