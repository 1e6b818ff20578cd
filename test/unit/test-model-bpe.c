/*
 * model/bpe.h: encoding from front to back gives what merging gives, on random vocabularies and on
 * those of the fixtures.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/utf8.h"
#include "model/bpe.h"
#include "model/tok.h"
#include "test/unit/text-help.h"
#include "test/unit/tokenizer-help.h"

#define VOCABULARIES 3000u
#define WORDS	     60u
#define TEXTS	     20000u

static bool no_control(const void *arg, int32_t id)
{
	(void)arg;
	(void)id;
	return false;
}

static void add_token(struct mdl_bpe *b, int64_t id, const char *text, size_t n)
{
	struct lt_err err = {0};

	if (mdl_bpe_add_token(b, id, text, n, &err) < 0)
		fail_msg("%s", err.text);
}

/* Tokens 0..255 are the characters of the byte-level alphabet, 'a' is byte 'a'. */
static void add_bytes(struct mdl_bpe *b)
{
	int64_t id = 0;

	for (uint32_t cp = 33; cp <= 256 + 67; cp++) {
		char c[4];

		if (cp != 173 && (cp < 127 || cp > 160))
			add_token(b, id++, c, lt_utf8_encode(cp, c));
	}
	assert_int_equal(id, 256);
}

struct merge {
	char left[64], right[64];
};

/* Merges over an alphabet of `letters`, each of two tokens that are there; what it makes may be there,
 * too. Out of order, some come before what makes their parts. */
static void make_vocabulary(struct mdl_bpe *b, uint64_t *state, uint32_t letters, bool in_order,
			    bool ignore_merges)
{
	static struct merge merges[64];
	char tokens[128][64];
	size_t n = 1 + text_below(state, 40), n_tokens = 0, made = 0;

	assert_int_equal(mdl_bpe_init(b), 0);
	b->ignore_merges = ignore_merges;
	add_bytes(b);
	for (uint32_t i = 0; i < letters; i++)
		snprintf(tokens[n_tokens++], sizeof(*tokens), "%c", 'a' + (char)i);
	for (size_t i = 0; i < n; i++) {
		const char *l = tokens[text_below(state, (uint32_t)n_tokens)];
		const char *r = tokens[text_below(state, (uint32_t)n_tokens)];
		char both[128];

		if (snprintf(both, sizeof(both), "%s%s", l, r) > 12)
			continue;
		snprintf(merges[made].left, sizeof(merges[made].left), "%s", l);
		snprintf(merges[made++].right, sizeof(merges[0].right), "%s", r);
		if (mdl_bpe_find(b, both, strlen(both)) >= 0)
			continue;
		add_token(b, (int64_t)b->n_ids, both, strlen(both));
		memcpy(tokens[n_tokens++], both, sizeof(*tokens));
	}
	for (size_t i = 0; !in_order && i < made; i++) {
		size_t k = text_below(state, (uint32_t)made);
		struct merge swap = merges[i];

		merges[i] = merges[k];
		merges[k] = swap;
	}
	for (size_t i = 0; i < made; i++)
		assert_int_equal(mdl_bpe_add_merge(b, merges[i].left, strlen(merges[i].left),
						   merges[i].right, strlen(merges[i].right), NULL),
				 0);
	assert_int_equal(mdl_bpe_seal(b, no_control, NULL, NULL), 0);
}

/* By merging alone, but for a token that the merges are ignored for. */
static void plain(const struct mdl_bpe *b, struct mdl_bpe_work *w, const char *s, size_t n,
		  struct mdl_ids *out)
{
	int32_t id = b->ignore_merges ? mdl_bpe_find(b, s, n) : -1;

	assert_int_equal(id >= 0 ? mdl_ids_add(out, id) : mdl_bpe_merge(b, w, s, n, out), 0);
}

static void assert_word(const struct mdl_bpe *b, struct mdl_bpe_work *w, const char *s, size_t n,
			uint64_t seed)
{
	struct mdl_ids got = {0}, want = {0};

	plain(b, w, s, n, &want);
	assert_int_equal(mdl_bpe_encode(b, w, s, n, &got), 0);
	if (got.n != want.n || memcmp(got.data, want.data, got.n * sizeof(*got.data)) != 0)
		fail_msg("'%.*s' has other ids than merging gives, seed %llu", (int)n, s,
			 (unsigned long long)seed);
	mdl_ids_fini(&got);
	mdl_ids_fini(&want);
}

static void random_vocabularies(void **state)
{
	struct mdl_bpe_work w = {0};
	size_t fast = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= VOCABULARIES; seed++) {
		uint64_t random = seed * UINT64_C(0x9e3779b97f4a7c15);
		uint32_t letters = 1 + text_below(&random, 3);
		struct mdl_bpe b;

		make_vocabulary(&b, &random, letters, seed % 3 != 0, seed % 7 == 0);
		fast += b.made.blocks != 0;
		for (uint32_t i = 0; i < WORDS; i++) {
			char s[80];
			size_t n = 1 + text_below(&random, i % 8 ? 16 : sizeof(s));

			for (size_t k = 0; k < n; k++)
				s[k] = (char)('a' + text_below(&random, letters));
			assert_word(&b, &w, s, n, seed);
		}
		mdl_bpe_fini(&b);
	}
	mdl_bpe_work_fini(&w);
	/* Both ways have to have been taken. */
	assert_in_range(fast, VOCABULARIES / 4, VOCABULARIES - 1);
}

/* ---- whole tokenizers ---- */

struct reference {
	const struct mdl_tok *t;
	struct mdl_bpe_work work;
	struct mdl_ids ids;
};

static int plain_piece(void *arg, const char *s, size_t n)
{
	struct reference *r = arg;

	plain(&r->t->bpe, &r->work, s, n, &r->ids);
	return 0;
}

/* The pre-tokenizer's patterns and merging; malformed bytes one by one. */
static void encode_plain(struct reference *r, struct mdl_pretok_work *w, const char *s, size_t n)
{
	struct mdl_pretok patterns = r->t->pretok;
	size_t good;

	patterns.hand = NULL;
	r->ids.n = 0;
	for (; n; s += good, n -= good) {
		if (lt_utf8_valid(s, n, &good))
			good = n;
		assert_int_equal(mdl_pretok_run(&patterns, w, s, good, plain_piece, r, NULL), 0);
		if (good < n)
			plain_piece(r, s + good++, 1);
	}
}

/* Pieces of tokens and random characters, and now and then a byte that breaks one. */
static void make_text(const struct mdl_tok *t, uint64_t seed, struct lt_buf *out)
{
	uint64_t state = seed * UINT64_C(0x9e3779b97f4a7c15) + 3;
	uint32_t n = 1 + text_below(&state, seed % 500 ? 24 : 4000);

	lt_buf_clear(out);
	for (uint32_t i = 0; i < n; i++) {
		size_t len;
		const char *s =
			mdl_tok_bytes(t, (int32_t)text_below(&state, mdl_tok_count(t)), &len);

		if (s)
			lt_buf_add(out, s, text_below(&state, 4) ? len : len / 2);
		if (text_below(&state, 4) == 0)
			random_text(seed * 64 + i, 6, out);
		if (text_below(&state, 40) == 0)
			lt_buf_addc(out, (char)text_below(&state, 256));
	}
	assert_int_equal(out->failed, 0);
}

static void check_tokenizer(const char *path)
{
	struct mdl_tok *t = open_ok(path);
	struct reference r = {.t = t};
	struct mdl_pretok_work w = {0};
	struct lt_buf text = LT_BUF_INIT;
	struct mdl_ids got = {0};

	assert_true(t->bpe.made.blocks > 0);
	for (uint64_t seed = 1; seed <= TEXTS; seed++) {
		make_text(t, seed, &text);
		encode_ok(t, text.data, text.len, false, &got);
		encode_plain(&r, &w, text.data, text.len);
		if (got.n != r.ids.n ||
		    memcmp(got.data, r.ids.data, got.n * sizeof(*got.data)) != 0)
			fail_msg("%s: other ids than by patterns and merging, seed %llu", path,
				 (unsigned long long)seed);
	}
	lt_buf_fini(&text);
	mdl_ids_fini(&got);
	mdl_ids_fini(&r.ids);
	mdl_bpe_work_fini(&r.work);
	mdl_pretok_work_fini(&w);
	mdl_tok_close(t);
}

static void check_in_tree(const char *name)
{
	const char *src = getenv("LT_SRCDIR");
	char path[4096];

	snprintf(path, sizeof(path), "%s/%s", src ? src : ".", name);
	check_tokenizer(path);
}

static void the_fixture(void **state)
{
	(void)state;
	check_in_tree("test/fixtures/tokenizer/v3");
}

static void the_embedded_model(void **state)
{
	(void)state;
	check_in_tree("models/tiny");
}

static void deepseek_llm(void **state)
{
	const char *dir = getenv("LT_FIXTURES"), *src = getenv("LT_SRCDIR");
	char path[4096];

	(void)state;
	snprintf(path, sizeof(path), "%s%s/tokenizer/deepseek-llm/vocab.gguf",
		 dir ? dir : (src ? src : "."), dir ? "" : "/../shared/fixtures");
	if (!lt_is_file(path)) {
		print_message("no %s: its vocabulary is not checked\n", path);
		skip();
	}
	check_tokenizer(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_vocabularies),
		cmocka_unit_test(the_fixture),
		cmocka_unit_test(the_embedded_model),
		cmocka_unit_test(deepseek_llm),
	};

	return cmocka_run_group_tests_name("model bpe", tests, NULL, NULL);
}
