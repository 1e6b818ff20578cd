/*
 * BPE from front to back, without merging: the ids that merging would leave are found by looking only
 * at tokens that stand next to each other.
 *
 * Why that is right. Merging takes the pair of lowest rank, the leftmost of equal ones. Look at the
 * bytes of one token of its result, or of two neighbours: what merging does within them is what it
 * would do were they alone, because no merge crosses their borders, and of the merges within them it
 * always takes the lowest, leftmost one. So every token is what its own bytes become ("made"), and
 * two neighbours are what the bytes of both become. The other way round, take any row of made tokens
 * of which all neighbours are so. Were it not the result, there would be a first merge across a
 * border; till then all has gone as if the two tokens at that border were alone, so the two alone
 * would have had it, too. So a row is the result exactly if its tokens are made and its neighbours
 * agree; there is one such row, and all its beginnings are the rows of their bytes.
 *
 * Whether two tokens agree can be seen from the few tokens that stood at their border in the course
 * of merging: on the left the right part of the right part and so on, on the right the left parts.
 * Going back in time from the two, the one made last is replaced by its part; where some pair has a
 * rank that comes before either of the two was taken up, merging would have taken the pair. This
 * needs ranks that grow: a merge's rank has to be above those that make its parts. All trained
 * vocabularies are so; for others there is mdl_bpe_merge.
 *
 * The search tries the longest token first, then shorter ones. A place from which no token leads on
 * is remembered, as there is but one way to come to it, and nothing is looked at twice. Past a
 * budget of steps a piece is merged after all, so that time stays bounded whatever the text is.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/bpe-table.h"

#define STEPS_A_BYTE 64u	/* pairs looked at, tokens tried, bytes walked: texts take a few */
#define MOST_BYTES   (4u << 20) /* of all made tokens; a trained vocabulary has one million */

/* ---- opening ---- */

/* Notes the lowest ranks of each token's pairs; false if a rank isn't above those of its parts. */
static bool note_ranks(struct mdl_bpe *b)
{
	const uint64_t low = MDL_BPE_MAX_IDS - 1;

	for (size_t i = 0; i <= b->pairs_mask; i++) {
		struct mdl_bpe_part *left, *right;
		uint64_t pair = b->pairs[i];
		uint32_t rank = (uint32_t)(pair & low);

		if (pair == MDL_BPE_NO_PAIR)
			continue;
		left = &b->parts[pair >> 2 * MDL_BPE_ID_BITS];
		right = &b->parts[pair >> MDL_BPE_ID_BITS & low];
		/* A side that merging doesn't make never stands anywhere. */
		if (left->made == MDL_BPE_UNMADE || right->made == MDL_BPE_UNMADE)
			continue;
		if (rank < left->made || rank < right->made)
			return false;
		left->as_left = rank < left->as_left ? rank : left->as_left;
		right->as_right = rank < right->as_right ? rank : right->as_right;
	}
	return true;
}

static void find_shorter(struct mdl_bpe *b, uint32_t id)
{
	const struct mdl_bpe_token *t = &b->tokens[id];
	size_t len;

	b->parts[id].shorter = mdl_trie_longest(&b->made, b->arena + t->at, t->len - 1, &len);
}

int mdl_bpe_front_open(struct mdl_bpe *b)
{
	struct mdl_trie_string *strings = lt_alloc(b->n_ids, sizeof(*strings));
	size_t n = 0, bytes = 0;
	int rc = 0;

	if (!strings)
		return LT_ENOMEM;
	for (uint32_t id = 0; id < b->n_ids; id++) {
		const struct mdl_bpe_token *t = &b->tokens[id];

		if (b->parts[id].made == MDL_BPE_UNMADE)
			continue;
		strings[n++] = (struct mdl_trie_string){b->arena + t->at, t->len, id};
		bytes += t->len;
	}
	if (bytes <= MOST_BYTES && note_ranks(b))
		rc = mdl_trie_make(&b->made, strings, n);
	if (b->made.blocks) {
		for (size_t i = 0; i < n; i++)
			find_shorter(b, strings[i].value);
	}
	free(strings);
	return rc;
}

/* ---- encoding ---- */

/* The rank of the pair if it comes before the left token is taken up, at `left_until`, and the right
 * one; MDL_BPE_NO_RANK if it doesn't. Of equal ranks the leftmost goes first: the left token's own
 * merge, then the pair, then the right token's. */
static inline uint32_t rank_before(const struct mdl_bpe *b, uint32_t left, uint32_t right,
				   uint32_t left_until, uint32_t right_until)
{
	uint32_t least = b->parts[left].as_left, rank;

	if (b->parts[right].as_right > least)
		least = b->parts[right].as_right;
	if (least >= left_until || least > right_until)
		return MDL_BPE_NO_RANK;
	rank = mdl_bpe_rank(b, left, right);
	return rank < left_until && rank <= right_until ? rank : MDL_BPE_NO_RANK;
}

/* True if the bytes of both become these two tokens. Takes a step off the budget for each pair looked
 * at; what it says is worth nothing once there is none left. */
static bool agree(const struct mdl_bpe *b, uint32_t left, uint32_t right, size_t *budget)
{
	uint32_t left_until = MDL_BPE_NO_RANK, right_until = MDL_BPE_NO_RANK;

	for (; *budget > 0; --*budget) {
		const struct mdl_bpe_part *l = &b->parts[left], *r = &b->parts[right];

		if (rank_before(b, left, right, left_until, right_until) != MDL_BPE_NO_RANK)
			return false;
		if (l->made > r->made) {
			left_until = l->made - 1;
			left = l->right;
		} else if (r->made > 0) {
			right_until = r->made - 1;
			right = r->left;
		} else {
			return true;
		}
	}
	return false;
}

int mdl_bpe_front(const struct mdl_bpe *b, struct mdl_bpe_work *w, const char *s, size_t n,
		  uint32_t token, size_t len, int32_t *ids, size_t *n_ids)
{
	size_t at = 0, k = 0, budget = STEPS_A_BYTE * n + 1024;

	*n_ids = 0;
	if (lt_reserve(&w->starts, &w->starts_cap, n, sizeof(*w->starts)) < 0 ||
	    lt_reserve(&w->dead, &w->dead_cap, n / 64 + 1, sizeof(*w->dead)) < 0)
		return LT_ENOMEM;
	memset(w->dead, 0, (n / 64 + 1) * sizeof(*w->dead));
	while (at < n) {
		size_t end = at + len;

		if (!(w->dead[end / 64] >> end % 64 & 1) &&
		    (k == 0 || agree(b, (uint32_t)ids[k - 1], token, &budget))) {
			ids[k] = (int32_t)token;
			w->starts[k++] = (uint32_t)at;
			at = end;
			token = mdl_trie_longest(&b->made, s + at, n - at, &len);
			if (budget <= len)
				return 0;
			budget -= len; /* and a try for each token taken */
			continue;
		}
		if (budget-- <= 1)
			return 0;
		token = b->parts[token].shorter;
		if (token == MDL_TRIE_NONE) {
			if (k == 0)
				return 0;
			w->dead[at / 64] |= UINT64_C(1) << at % 64;
			token = (uint32_t)ids[--k];
			at = w->starts[k];
		}
		len = b->tokens[token].len;
	}
	*n_ids = k;
	return 0;
}

int mdl_bpe_encode(const struct mdl_bpe *b, struct mdl_bpe_work *w, const char *s, size_t n,
		   struct mdl_ids *out)
{
	size_t len, most, n_ids;
	uint32_t token;

	if (n <= b->longest && (b->ignore_merges || !b->made.blocks)) {
		uint64_t slot = mdl_bpe_word(b, s, n);

		if (slot & MDL_BPE_WHOLE)
			return mdl_ids_add(out, mdl_bpe_slot_id(slot));
	}
	if (!b->made.blocks)
		return mdl_bpe_merge(b, w, s, n, out);
	token = mdl_trie_longest(&b->made, s, n, &len);
	if (len == n)
		return mdl_ids_add(out, (int32_t)token);
	if (n > UINT32_MAX)
		return LT_ETOOBIG;
	if (!lt_add(out->n, n, &most) ||
	    lt_reserve(&out->data, &out->cap, most, sizeof(*out->data)) < 0 ||
	    mdl_bpe_front(b, w, s, n, token, len, out->data + out->n, &n_ids) < 0)
		return LT_ENOMEM;
	out->n += n_ids;
	return n_ids ? 0 : mdl_bpe_merge(b, w, s, n, out);
}
