/*
 * Added tokens: a trie over bytes. One step costs a bit test and a count of bits, so a search costs
 * at most MDL_ADDED_MAX_TEXT steps for a byte of text however many tokens there are; nearly always
 * one, as few bytes begin a token.
 */
#include "model/added.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "model/charset.h"

void mdl_added_fini(struct mdl_added *a)
{
	for (size_t i = 0; i < a->n; i++)
		free(a->tokens[i].text);
	free(a->tokens);
	free(a->tries[0]);
	free(a->tries[1]);
	*a = (struct mdl_added){0};
}

int mdl_added_add(struct mdl_added *a, const struct mdl_added_token *t, struct lt_err *err)
{
	struct mdl_added_token copy = *t;

	if (t->n == 0 || !lt_utf8_valid(t->text, t->n, NULL))
		return lt_fail(err, LT_EFORMAT, "added token %d is %s", t->id,
			       t->n ? "not UTF-8" : "empty");
	if (t->n > MDL_ADDED_MAX_TEXT)
		return lt_fail(err, LT_ETOOBIG,
			       "added token %d has %zu bytes, at most %u are allowed", t->id, t->n,
			       MDL_ADDED_MAX_TEXT);
	copy.text = lt_strndup(t->text, t->n);
	if (!copy.text || lt_reserve(&a->tokens, &a->cap, a->n + 1, sizeof(copy)) < 0) {
		free(copy.text);
		return lt_fail(err, LT_ENOMEM, "no memory for added tokens");
	}
	a->tokens[a->n++] = copy;
	return 0;
}

/* ---- the trie ---- */

static bool has(const struct mdl_added_node *x, unsigned char c)
{
	return x->has[c >> 6] >> (c & 63) & 1;
}

/* Where the child for byte c, which is there, stands among its siblings. */
static uint32_t place(const struct mdl_added_node *x, unsigned char c)
{
	uint32_t before = 0;

	for (unsigned i = 0; i < c >> 6; i++)
		before += (uint32_t)__builtin_popcountll(x->has[i]);
	return before +
	       (uint32_t)__builtin_popcountll(x->has[c >> 6] & ((UINT64_C(1) << (c & 63)) - 1));
}

static int by_text(const void *pa, const void *pb)
{
	const struct mdl_added_token *a = *(struct mdl_added_token *const *)pa;
	const struct mdl_added_token *b = *(struct mdl_added_token *const *)pb;
	int order = memcmp(a->text, b->text, a->n < b->n ? a->n : b->n);

	return order ? order : a->n < b->n ? -1 : a->n > b->n;
}

/* Tokens [lo, hi) of the sorted list share the first `depth` bytes, which lead to `node`. */
struct todo {
	size_t lo, hi, depth;
	uint32_t node;
};

static int add_nodes(struct mdl_added *a, int k, size_t count, uint32_t *first)
{
	*first = (uint32_t)a->n_nodes[k];
	if (lt_reserve(&a->tries[k], &a->nodes_cap[k], a->n_nodes[k] + count, sizeof(**a->tries)) <
	    0)
		return LT_ENOMEM;
	memset(a->tries[k] + a->n_nodes[k], 0, count * sizeof(**a->tries));
	for (size_t i = 0; i < count; i++)
		a->tries[k][a->n_nodes[k] + i].token = -1;
	a->n_nodes[k] += count;
	return 0;
}

/* Gives a node its token and its children; each child's stretch goes to `queue` from *tail on. */
static int expand(struct mdl_added *a, int k, struct mdl_added_token **sorted, struct todo t,
		  struct todo *queue, size_t *tail)
{
	size_t children = 0, lo = t.lo;
	uint32_t first;

	if (sorted[lo]->n == t.depth) {
		a->tries[k][t.node].token = (int32_t)(sorted[lo] - a->tokens);
		lo++;
	}
	for (size_t i = lo; i < t.hi; i++) {
		unsigned char c = (unsigned char)sorted[i]->text[t.depth];
		struct mdl_added_node *x = &a->tries[k][t.node];

		if (has(x, c)) {
			queue[*tail - 1].hi = i + 1;
			continue;
		}
		x->has[c >> 6] |= UINT64_C(1) << (c & 63);
		queue[(*tail)++] = (struct todo){i, i + 1, t.depth + 1, (uint32_t)children++};
	}
	if (add_nodes(a, k, children, &first) < 0)
		return LT_ENOMEM;
	a->tries[k][t.node].first = first;
	for (size_t i = 0; i < children; i++)
		queue[*tail - 1 - i].node += first;
	return 0;
}

static int build_trie(struct mdl_added *a, int k)
{
	struct mdl_added_token **sorted = lt_alloc(a->n, sizeof(*sorted));
	struct todo *queue = NULL;
	size_t n = 0, nodes = 1, head = 0, tail = 1;
	uint32_t root;
	int rc = 0;

	for (size_t i = 0; sorted && i < a->n; i++) {
		if (a->tokens[i].normalized != (k == 1))
			continue;
		sorted[n++] = &a->tokens[i];
		nodes += a->tokens[i].n;
	}
	if (sorted && n) {
		qsort(sorted, n, sizeof(*sorted), by_text);
		queue = lt_alloc(nodes, sizeof(*queue));
		rc = queue ? add_nodes(a, k, 1, &root) : LT_ENOMEM;
		if (rc == 0)
			queue[0] = (struct todo){0, n, 0, root};
		for (; rc == 0 && head < tail; head++)
			rc = expand(a, k, sorted, queue[head], queue, &tail);
	}
	rc = sorted ? rc : LT_ENOMEM;
	free(sorted);
	free(queue);
	return rc;
}

static int by_id(const void *pa, const void *pb)
{
	const struct mdl_added_token *a = pa, *b = pb;

	return a->id < b->id ? -1 : a->id > b->id;
}

static int check_texts(const struct mdl_added *a, struct lt_err *err)
{
	const struct mdl_added_token **sorted = lt_alloc(a->n, sizeof(*sorted));
	int rc = 0;

	if (!sorted)
		return lt_fail(err, LT_ENOMEM, "no memory for added tokens");
	for (size_t i = 0; i < a->n; i++)
		sorted[i] = &a->tokens[i];
	qsort(sorted, a->n, sizeof(*sorted), by_text);
	for (size_t i = 1; i < a->n && rc == 0; i++) {
		if (by_text(&sorted[i - 1], &sorted[i]) == 0)
			rc = lt_fail(err, LT_EFORMAT, "added token '%.*s' stands there twice",
				     (int)(sorted[i]->n < 80 ? sorted[i]->n : 80), sorted[i]->text);
	}
	free(sorted);
	return rc;
}

int mdl_added_seal(struct mdl_added *a, struct lt_err *err)
{
	int rc;

	if (a->n == 0)
		return 0;
	qsort(a->tokens, a->n, sizeof(*a->tokens), by_id);
	for (size_t i = 1; i < a->n; i++) {
		if (a->tokens[i].id == a->tokens[i - 1].id)
			return lt_fail(err, LT_EFORMAT, "two added tokens have id %d",
				       a->tokens[i].id);
	}
	rc = check_texts(a, err);
	for (int k = 0; k < 2 && rc == 0; k++) {
		rc = build_trie(a, k);
		if (rc < 0)
			lt_fail(err, rc, "no memory for added tokens");
	}
	return rc;
}

/* ---- looking up ---- */

const struct mdl_added_token *mdl_added_by_id(const struct mdl_added *a, int32_t id)
{
	size_t lo = 0, hi = a->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (a->tokens[mid].id == id)
			return &a->tokens[mid];
		if (a->tokens[mid].id < id)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

/* The longest token that s[0..n) begins with. */
static const struct mdl_added_token *longest(const struct mdl_added *a, int k, const char *s,
					     size_t n)
{
	const struct mdl_added_node *x = a->tries[k];
	int32_t found = -1;

	for (size_t i = 0;; i++) {
		found = x->token >= 0 ? x->token : found;
		if (i == n || !has(x, (unsigned char)s[i]))
			break;
		x = &a->tries[k][x->first + place(x, (unsigned char)s[i])];
	}
	return found < 0 ? NULL : &a->tokens[found];
}

const struct mdl_added_token *mdl_added_by_text(const struct mdl_added *a, const char *text,
						size_t n)
{
	for (int k = 0; k < 2; k++) {
		const struct mdl_added_token *t = a->tries[k] ? longest(a, k, text, n) : NULL;

		if (t && t->n == n)
			return t;
	}
	return NULL;
}

/* ---- finding ---- */

/* The character of s[begin..at) that ends at `at`; false at the beginning and at malformed bytes. */
static bool char_before(const char *s, size_t begin, size_t at, uint32_t *cp)
{
	for (size_t back = 1; back <= 4 && back <= at - begin; back++) {
		if (((unsigned char)s[at - back] & 0xc0) != 0x80)
			return lt_utf8_decode(s + at - back, back, cp) == back;
	}
	return false;
}

static bool is_space(uint32_t cp)
{
	return (cp >= 9 && cp <= 13) || cp == 0x20 || cp == 0x85 || cp == 0xa0 || cp == 0x1680 ||
	       (cp >= 0x2000 && cp <= 0x200a) || cp == 0x2028 || cp == 0x2029 || cp == 0x202f ||
	       cp == 0x205f || cp == 0x3000;
}

/* Word characters are looked up rarely enough to make the set each time. */
static bool is_word(uint32_t cp)
{
	struct mdl_set word = {0};
	bool yes = mdl_set_add_word(&word) == 0 && mdl_set_has(&word, cp);

	mdl_set_fini(&word);
	return yes;
}

static bool stands_alone(const char *s, size_t begin, size_t n, size_t start, size_t end)
{
	uint32_t cp;

	if (char_before(s, begin, start, &cp) && is_word(cp))
		return false;
	return lt_utf8_decode(s + end, n - end, &cp) == 0 || !is_word(cp);
}

/* Widens [*start, *end) over white space as the token asks, not below `from`. */
static void strip(const struct mdl_added_token *t, const char *s, size_t n, size_t from,
		  size_t *start, size_t *end)
{
	uint32_t cp;
	size_t len;
	char bytes[4];

	while (t->lstrip && char_before(s, from, *start, &cp) && is_space(cp))
		*start -= lt_utf8_encode(cp, bytes);
	while (t->rstrip && (len = lt_utf8_decode(s + *end, n - *end, &cp)) && is_space(cp))
		*end += len;
}

/* The first of the spans that ends after `from`. */
static size_t span_after(const struct mdl_span *spans, size_t n, size_t from)
{
	size_t lo = 0, hi = n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (spans[mid].end <= from)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

const struct mdl_added_token *mdl_added_find(const struct mdl_added *a, bool normalized,
					     const char *text, size_t begin, size_t n, size_t from,
					     const struct mdl_span *trusted, size_t n_trusted,
					     size_t *start, size_t *end)
{
	const struct mdl_added_node *root = a->tries[normalized];
	size_t at = root ? span_after(trusted, n_trusted, from) : n_trusted;

	for (; at < n_trusted && trusted[at].start < n; at++) {
		size_t stop = trusted[at].end < n ? trusted[at].end : n;
		size_t i = from > trusted[at].start ? from : trusted[at].start;

		for (; i < stop; i++) {
			const struct mdl_added_token *t;

			if (!has(root, (unsigned char)text[i]))
				continue;
			t = longest(a, normalized, text + i, stop - i);
			if (t && t->single_word && !stands_alone(text, begin, n, i, i + t->n)) {
				i += t->n - 1;
				t = NULL;
			}
			if (!t)
				continue;
			*start = i;
			*end = i + t->n;
			strip(t, text, n, from, start, end);
			return t;
		}
	}
	return NULL;
}
