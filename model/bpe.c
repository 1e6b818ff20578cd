/*
 * The BPE vocabulary: tokens by id and by bytes, merges by pair. Merging itself is in merge.c.
 * Filled by one thread, then immutable.
 */
#include "model/bpe.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "model/bpe-table.h"

#define MAX_TEXT 65535u

int mdl_bpe_init(struct mdl_bpe *b)
{
	*b = (struct mdl_bpe){.words_mask = 1023};
	for (size_t i = 0; i < 256; i++)
		b->bytes[i] = -1;
	b->raw = lt_map_open(0);
	b->words = lt_alloc(b->words_mask + 1, sizeof(*b->words));
	return b->raw && b->words ? 0 : LT_ENOMEM;
}

void mdl_bpe_fini(struct mdl_bpe *b)
{
	lt_map_close(b->raw);
	free(b->tokens);
	free(b->arena);
	free(b->words);
	free(b->pairs);
	free(b->maybe);
	free(b->merges);
	free(b->first);
	free(b->parts);
	mdl_trie_fini(&b->made);
	*b = (struct mdl_bpe){0};
}

/* The byte that a character of the byte-level alphabet stands for, or -1. Printable Latin-1 stands
 * for itself; the other bytes, in order, are the characters from U+0100 on. */
static int byte_of(uint32_t cp)
{
	if ((cp >= 33 && cp <= 126) || (cp >= 161 && cp <= 172) || (cp >= 174 && cp <= 255))
		return (int)cp;
	if (cp >= 256 && cp < 256 + 33)
		return (int)cp - 256;
	if (cp >= 256 + 33 && cp < 256 + 33 + 34)
		return (int)cp - 256 - 33 + 127;
	return cp == 256 + 33 + 34 ? 173 : -1;
}

/* Writes the bytes of a text in the byte-level alphabet to dst (room for n); false if it is not. */
static bool to_bytes(const char *text, size_t n, char *dst, size_t *out_n)
{
	size_t at = 0, k = 0;

	while (at < n) {
		uint32_t cp = 0;
		size_t len = lt_utf8_decode(text + at, n - at, &cp);
		int byte = len ? byte_of(cp) : -1;

		if (byte < 0)
			return false;
		dst[k++] = (char)byte;
		at += len;
	}
	*out_n = k;
	return true;
}

/* ---- words: tokens by their bytes ---- */

int32_t mdl_bpe_find(const struct mdl_bpe *b, const char *bytes, size_t n)
{
	uint64_t slot = n ? mdl_bpe_word(b, bytes, n) : 0;

	return slot ? mdl_bpe_slot_id(slot) : -1;
}

int32_t mdl_bpe_find_raw(const struct mdl_bpe *b, const char *text, size_t n)
{
	uint64_t id;

	return lt_map_get(b->raw, text, n, &id) ? (int32_t)id : -1;
}

static void put_slot(uint64_t *words, size_t mask, uint64_t hash, uint64_t slot)
{
	size_t i = hash & mask;

	while (words[i])
		i = (i + 1) & mask;
	words[i] = slot;
}

static int grow_words(struct mdl_bpe *b)
{
	size_t mask = b->words_mask * 2 + 1;
	uint64_t *words = lt_alloc(mask + 1, sizeof(*words));

	if (!words)
		return LT_ENOMEM;
	for (size_t i = 0; i <= b->words_mask; i++) {
		const struct mdl_bpe_token *t;

		if (!b->words[i])
			continue;
		t = &b->tokens[mdl_bpe_slot_id(b->words[i])];
		put_slot(words, mask, mdl_bpe_hash(b->arena + t->at, t->len), b->words[i]);
	}
	free(b->words);
	b->words = words;
	b->words_mask = mask;
	return 0;
}

static int add_word(struct mdl_bpe *b, uint32_t id)
{
	const struct mdl_bpe_token *t = &b->tokens[id];
	uint64_t hash = mdl_bpe_hash(b->arena + t->at, t->len);

	if ((b->n_words + 1) * 2 > b->words_mask && grow_words(b) < 0)
		return LT_ENOMEM;
	put_slot(b->words, b->words_mask, hash, mdl_bpe_slot(hash, id));
	b->n_words++;
	if (t->len == 1)
		b->bytes[(unsigned char)b->arena[t->at]] = (int32_t)id;
	return 0;
}

/* Room for n bytes at the arena's end. */
static char *arena_room(struct mdl_bpe *b, size_t n)
{
	if (n > UINT32_MAX || b->arena_used + n > UINT32_MAX ||
	    lt_reserve(&b->arena, &b->arena_cap, b->arena_used + n, 1) < 0)
		return NULL;
	return b->arena + b->arena_used;
}

static int room_for_id(struct mdl_bpe *b, uint32_t id)
{
	if (id < b->n_ids)
		return 0;
	if (lt_reserve(&b->tokens, &b->tokens_cap, (size_t)id + 1, sizeof(*b->tokens)) < 0)
		return LT_ENOMEM;
	memset(b->tokens + b->n_ids, 0, ((size_t)id + 1 - b->n_ids) * sizeof(*b->tokens));
	b->n_ids = (size_t)id + 1;
	return 0;
}

int mdl_bpe_add_token(struct mdl_bpe *b, int64_t id, const char *text, size_t n, struct lt_err *err)
{
	int shown = (int)(n < 80 ? n : 80);
	size_t len = n;
	bool raw;
	char *dst;

	if (id < 0 || id >= MDL_BPE_MAX_IDS)
		return lt_fail(err, LT_ETOOBIG, "token '%.*s' has id %lld, allowed are 0 to %u",
			       shown, text, (long long)id, MDL_BPE_MAX_IDS - 1);
	if (n == 0 || n > MAX_TEXT || !lt_utf8_valid(text, n, NULL))
		return lt_fail(err, LT_EFORMAT, "token %lld is %s", (long long)id,
			       n == 0	      ? "empty"
			       : n > MAX_TEXT ? "longer than 65535 bytes"
					      : "not UTF-8");
	dst = arena_room(b, n);
	if (!dst || room_for_id(b, (uint32_t)id) < 0)
		return lt_fail(err, LT_ENOMEM, "no memory for the vocabulary");
	if (b->tokens[id].len)
		return lt_fail(err, LT_EFORMAT, "id %lld belongs to two tokens, one is '%.*s'",
			       (long long)id, shown, text);
	raw = !to_bytes(text, n, dst, &len);
	if (raw)
		memcpy(dst, text, len = n);
	if (raw ? mdl_bpe_find_raw(b, text, n) >= 0 : mdl_bpe_find(b, dst, len) >= 0)
		return lt_fail(err, LT_EFORMAT, "token '%.*s' stands there twice", shown, text);
	b->tokens[id] = (struct mdl_bpe_token){(uint32_t)b->arena_used, (uint32_t)len};
	b->arena_used += len;
	if (raw ? lt_map_put(b->raw, text, n, (uint64_t)id) < 0 : add_word(b, (uint32_t)id) < 0)
		return lt_fail(err, LT_ENOMEM, "no memory for the vocabulary");
	return 0;
}

/* ---- merges ---- */

int mdl_bpe_add_merge(struct mdl_bpe *b, const char *left, size_t left_n, const char *right,
		      size_t right_n, struct lt_err *err)
{
	struct mdl_bpe_merge m = {.left = MDL_BPE_MAX_IDS};
	size_t l = 0, r = 0;
	int32_t ids[3];
	char *dst;

	if (b->n_ranks + 1 >= MDL_BPE_MAX_IDS)
		return lt_fail(err, LT_ETOOBIG, "more than %u merges", MDL_BPE_MAX_IDS - 1);
	if (left_n == 0 || right_n == 0 || left_n > MAX_TEXT || right_n > MAX_TEXT)
		return lt_fail(err, LT_EFORMAT, "merge %zu has an empty or overlong side",
			       b->n_ranks);
	dst = arena_room(b, left_n + right_n);
	if (!dst || lt_reserve(&b->merges, &b->merges_cap, b->n_ranks + 1, sizeof(m)) < 0)
		return lt_fail(err, LT_ENOMEM, "no memory for the merges");
	if (to_bytes(left, left_n, dst, &l) && to_bytes(right, right_n, dst + l, &r)) {
		ids[0] = mdl_bpe_find(b, dst, l);
		ids[1] = mdl_bpe_find(b, dst + l, r);
		ids[2] = mdl_bpe_find(b, dst, l + r);
		m = (struct mdl_bpe_merge){(uint32_t)ids[0], (uint32_t)ids[1], (uint32_t)ids[2]};
	} else {
		/* Text of the byte-level alphabet never gets here: the merge has its rank, but no
		 * pair. Its tokens have to exist all the same. */
		memcpy(dst, left, left_n);
		memcpy(dst + left_n, right, right_n);
		ids[0] = mdl_bpe_id(b, left, left_n);
		ids[1] = mdl_bpe_id(b, right, right_n);
		ids[2] = mdl_bpe_id(b, dst, left_n + right_n);
	}
	if (ids[0] < 0 || ids[1] < 0 || ids[2] < 0)
		return lt_fail(err, LT_EFORMAT,
			       "merge %zu ('%.*s' and '%.*s'): the vocabulary does not have %s",
			       b->n_ranks, (int)(left_n < 80 ? left_n : 80), left,
			       (int)(right_n < 80 ? right_n : 80), right,
			       ids[0] < 0   ? "the left side"
			       : ids[1] < 0 ? "the right side"
					    : "what they make");
	b->merges[b->n_ranks++] = m;
	return 0;
}

int32_t mdl_bpe_id(const struct mdl_bpe *b, const char *text, size_t n)
{
	char bytes[MAX_TEXT];
	size_t len;
	int32_t id;

	if (n == 0 || n > MAX_TEXT)
		return -1;
	id = mdl_bpe_find_raw(b, text, n);
	if (id < 0 && to_bytes(text, n, bytes, &len))
		id = mdl_bpe_find(b, bytes, len);
	return id;
}

/* The table of pairs; where a pair has two ranks the later one counts. */
static int fill_pairs(struct mdl_bpe *b, bool (*is_control)(const void *arg, int32_t id),
		      const void *arg)
{
	size_t size = 1024;
	unsigned bits = 10;

	while (size < b->n_ranks * 2) {
		size *= 2;
		bits++;
	}
	b->pairs = lt_alloc(size, sizeof(*b->pairs));
	b->maybe = lt_alloc(size / 16, sizeof(*b->maybe));
	if (!b->pairs || !b->maybe)
		return LT_ENOMEM;
	b->pairs_mask = size - 1;
	b->pairs_shift = 64 - bits;
	for (size_t i = 0; i < size; i++)
		b->pairs[i] = MDL_BPE_NO_PAIR;
	for (size_t rank = 0; rank < b->n_ranks; rank++) {
		const struct mdl_bpe_merge *m = &b->merges[rank];
		uint64_t key = (uint64_t)m->left << MDL_BPE_ID_BITS | m->right;
		uint64_t hash = mdl_bpe_pair_hash(key);
		size_t i = hash >> b->pairs_shift, bit = hash >> (b->pairs_shift - 2);

		if (m->left >= MDL_BPE_MAX_IDS || is_control(arg, (int32_t)m->merged))
			continue;
		while (b->pairs[i] != MDL_BPE_NO_PAIR && b->pairs[i] >> MDL_BPE_ID_BITS != key)
			i = (i + 1) & b->pairs_mask;
		b->pairs[i] = key << MDL_BPE_ID_BITS | rank;
		b->maybe[bit / 64] |= UINT64_C(1) << bit % 64;
	}
	return 0;
}

static int fill_first(struct mdl_bpe *b)
{
	b->first = lt_alloc(256 * 256, sizeof(*b->first));
	if (!b->first)
		return LT_ENOMEM;
	for (size_t i = 0; i < 256; i++) {
		for (size_t k = 0; k < 256; k++)
			b->first[i << 8 | k] =
				mdl_bpe_rank(b, (uint32_t)b->bytes[i], (uint32_t)b->bytes[k]);
	}
	return 0;
}

/* Finds out how merging makes a token of its own bytes, if it does. */
static int find_parts(struct mdl_bpe *b, struct mdl_bpe_work *w, struct mdl_ids *ids, int32_t id)
{
	const struct mdl_bpe_token *t = &b->tokens[id];
	struct mdl_bpe_part *part = &b->parts[id];
	int rc;

	ids->n = 0;
	rc = mdl_bpe_merge(b, w, b->arena + t->at, t->len, ids);
	if (rc < 0 || ids->n != 1 || ids->data[0] != id)
		return rc;
	part->made = 0;
	if (t->len > 1) {
		part->made = w->last + 1;
		part->left = b->merges[w->last].left;
		part->right = b->merges[w->last].right;
	}
	return 0;
}

/* Finds out which tokens a piece with exactly their bytes becomes: those that merging makes of their
 * own bytes, or all where the merges are ignored. */
static int mark_whole(struct mdl_bpe *b, bool (*is_control)(const void *arg, int32_t id),
		      const void *arg)
{
	const struct mdl_bpe_part none = {.made = MDL_BPE_UNMADE,
					  .shorter = MDL_TRIE_NONE,
					  .as_left = MDL_BPE_NO_RANK,
					  .as_right = MDL_BPE_NO_RANK};
	struct mdl_bpe_work w = {0};
	struct mdl_ids ids = {0};
	int rc = 0;

	b->parts = lt_alloc(b->n_ids, sizeof(*b->parts));
	if (!b->parts)
		return LT_ENOMEM;
	for (size_t i = 0; i < b->n_ids; i++)
		b->parts[i] = none;
	for (size_t i = 0; i <= b->words_mask && rc == 0; i++) {
		int32_t id = b->words[i] ? mdl_bpe_slot_id(b->words[i]) : -1;
		uint32_t len;

		if (id < 0 || is_control(arg, id))
			continue;
		rc = find_parts(b, &w, &ids, id);
		if (b->ignore_merges || b->parts[id].made != MDL_BPE_UNMADE) {
			len = b->tokens[id].len;
			b->words[i] |= MDL_BPE_WHOLE;
			b->longest = len > b->longest ? len : b->longest;
		}
	}
	mdl_ids_fini(&ids);
	mdl_bpe_work_fini(&w);
	return rc;
}

int mdl_bpe_seal(struct mdl_bpe *b, bool (*is_control)(const void *arg, int32_t id),
		 const void *arg, struct lt_err *err)
{
	for (unsigned i = 0; i < 256; i++) {
		if (b->bytes[i] < 0)
			return lt_fail(err, LT_EFORMAT,
				       "the vocabulary has no token for byte 0x%02x", i);
		if (is_control(arg, b->bytes[i]))
			return lt_fail(err, LT_EFORMAT,
				       "the token of byte 0x%02x is a control token", i);
	}
	if (fill_pairs(b, is_control, arg) < 0 || fill_first(b) < 0 ||
	    mark_whole(b, is_control, arg) < 0 || mdl_bpe_front_open(b) < 0)
		return lt_fail(err, LT_ENOMEM, "no memory for the vocabulary");
	return 0;
}
