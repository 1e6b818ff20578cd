/*
 * model/pretok.h: the pre-tokenizers by hand make the pieces that their patterns make.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/utf8.h"
#include "model/pretok.h"
#include "test/unit/text-help.h"

#define RANDOM_TEXTS 60000u
#define MOST_PIECES  4096u

/* Where the pieces of a text end. */
struct pieces {
	const char *text;
	size_t ends[MOST_PIECES], n;
};

static const char *const names[] = {"deepseek-v3", "deepseek-llm"};
#define NAMES (sizeof(names) / sizeof(names[0]))

static struct mdl_pretok by_hand[NAMES], by_patterns[NAMES];
static struct mdl_pretok_work work;

static void add_stages(struct mdl_pretok *p, const char *name)
{
	struct lt_err err = {0};

	if (mdl_pretok_add_named(p, name, strlen(name), &err) < 0)
		fail_msg("%s", err.text);
}

static int setup(void **state)
{
	(void)state;
	for (size_t i = 0; i < NAMES; i++) {
		add_stages(&by_hand[i], names[i]);
		add_stages(&by_patterns[i], names[i]);
		assert_int_equal(mdl_pretok_seal(&by_hand[i], NULL), 0);
		assert_non_null(by_hand[i].hand);
		assert_string_equal(by_hand[i].hand->name, names[i]);
	}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (size_t i = 0; i < NAMES; i++) {
		mdl_pretok_fini(&by_hand[i]);
		mdl_pretok_fini(&by_patterns[i]);
	}
	mdl_pretok_work_fini(&work);
	return 0;
}

static int note(void *arg, const char *s, size_t n)
{
	struct pieces *p = arg;

	assert_true(n > 0 && p->n < MOST_PIECES);
	assert_ptr_equal(s, p->text + (p->n ? p->ends[p->n - 1] : 0));
	p->ends[p->n++] = (size_t)(s - p->text) + n;
	return 0;
}

static void cut(const struct mdl_pretok *p, const char *s, size_t n, struct pieces *out)
{
	struct lt_err err = {0};

	out->text = s;
	out->n = 0;
	if (mdl_pretok_run(p, &work, s, n, note, out, &err) != 0)
		fail_msg("%s", err.text);
}

static void assert_same_pieces(size_t which, const char *s, size_t n, uint64_t seed)
{
	static struct pieces got, want;

	cut(&by_hand[which], s, n, &got);
	cut(&by_patterns[which], s, n, &want);
	if (got.n == want.n && memcmp(got.ends, want.ends, got.n * sizeof(*got.ends)) == 0)
		return;
	for (size_t i = 0; i < n; i++)
		fprintf(stderr, "%s%02x", i ? " " : "", (unsigned char)s[i]);
	fprintf(stderr, "\n");
	for (size_t i = 0; i < got.n || i < want.n; i++)
		fprintf(stderr, "piece %zu ends at %zu by hand, at %zu by the patterns\n", i,
			i < got.n ? got.ends[i] : 0, i < want.n ? want.ends[i] : 0);
	fail_msg("%s: pieces differ, seed %llu", names[which], (unsigned long long)seed);
}

/* `seed` says in a message which text it was. */
static void assert_same(const char *s, size_t n, uint64_t seed)
{
	for (size_t i = 0; i < NAMES; i++)
		assert_same_pieces(i, s, n, seed);
}

static void every_character(void **state)
{
	/* '@' is the character. */
	static const char frame[] = "a@b1@@ @\n@ 2 @ @@\xe6\xbc\xa2@x!@?@\xe3\x83\xbb@.@@a@";
	struct lt_buf b = LT_BUF_INIT;
	char c[4];

	(void)state;
	for (uint32_t cp = 0; cp <= 0x10ffff; cp++) {
		size_t n = lt_utf8_encode(cp, c);

		lt_buf_clear(&b);
		for (const char *f = frame; n && *f; f++)
			lt_buf_add(&b, *f == '@' ? c : f, *f == '@' ? n : 1);
		assert_int_equal(b.failed, 0);
		assert_same(b.data, b.len, cp);
	}
	lt_buf_fini(&b);
}

static void every_triple_at_the_borders(void **state)
{
	char text[16];

	(void)state;
	for (size_t i = 0; i < N_BORDERS; i++) {
		for (size_t j = 0; j < N_BORDERS; j++) {
			for (size_t k = 0; k < N_BORDERS; k++) {
				size_t n = lt_utf8_encode(borders[i], text);

				n += lt_utf8_encode(borders[j], text + n);
				n += lt_utf8_encode(borders[k], text + n);
				assert_same(text, n, (i * N_BORDERS + j) * N_BORDERS + k);
			}
		}
	}
}

static void random_texts(void **state)
{
	struct lt_buf b = LT_BUF_INIT;

	(void)state;
	for (uint64_t seed = 1; seed <= RANDOM_TEXTS; seed++) {
		lt_buf_clear(&b);
		random_text(seed, 60, &b);
		assert_same(b.data, b.len, seed);
	}
	lt_buf_fini(&b);
}

static void add_split(struct mdl_pretok *p, const char *pattern, enum mdl_split split)
{
	assert_int_equal(
		mdl_pretok_add_split(p, pattern, strlen(pattern), MDL_RE_BEST, split, false, NULL),
		0);
}

/* DeepSeek-V3's stages, with these as the second. */
static void assert_taken(const char *second, enum mdl_split split, bool by_a_hand)
{
	const char *const *patterns = mdl_hand_v3.patterns;
	struct mdl_pretok p = {0};

	add_split(&p, patterns[0], MDL_SPLIT_ISOLATED);
	add_split(&p, second, split);
	add_split(&p, patterns[2], MDL_SPLIT_ISOLATED);
	assert_int_equal(mdl_pretok_seal(&p, NULL), 0);
	assert_true((p.hand == &mdl_hand_v3) == by_a_hand);
	mdl_pretok_fini(&p);
}

/* Whatever differs from the known stages runs as it stands. */
static void other_stages_are_left_alone(void **state)
{
	const char *ours = mdl_hand_v3.patterns[1];
	struct mdl_pretok p = {0};

	(void)state;
	assert_taken(ours, MDL_SPLIT_ISOLATED, true);
	assert_taken("[一-龥぀-ゟ゠-ヿ]+", MDL_SPLIT_ISOLATED, true);
	assert_taken(ours, MDL_SPLIT_CONTIGUOUS, false);
	assert_taken("[一-龥]+", MDL_SPLIT_ISOLATED, false);
	assert_taken("[\\u4e00-\\u9fa5\\x{3040}-ヿ]+", MDL_SPLIT_ISOLATED, true);
	assert_taken("[\\u4e00-\\u9fa5\\x{3040}-\\u30fe]+", MDL_SPLIT_ISOLATED, false);
	assert_taken("[\\u4e00\\-\\u9fa5\\x{3040}-\\u30ff]+", MDL_SPLIT_ISOLATED, false);
	assert_taken("[\\u4e00-\\u9fa5\\x{3040}-\\u30ff]", MDL_SPLIT_ISOLATED, false);
	add_stages(&p, "deepseek-v3");
	assert_int_equal(mdl_pretok_add_space(&p, NULL), 0);
	assert_int_equal(mdl_pretok_seal(&p, NULL), 0);
	assert_null(p.hand);
	mdl_pretok_fini(&p);
	assert_int_equal(mdl_pretok_seal(&p, NULL), 0);
	assert_null(p.hand);
	mdl_pretok_fini(&p);
}

/* A pattern with line ends and characters beyond ASCII put for their escapes, as published
 * tokenizer.json files have them once their JSON is read. */
static void spell_out(const char *s, struct lt_buf *out)
{
	lt_buf_clear(out);
	for (size_t n; *s; s += n) {
		unsigned cp = 0;
		char utf8[4];
		int used = 0;

		n = 1;
		if (strncmp(s, "\\r", 2) == 0 || strncmp(s, "\\n", 2) == 0) {
			n = 2;
			cp = s[1] == 'r' ? '\r' : '\n';
		} else if (sscanf(s, "\\u%4x%n", &cp, &used) == 1 ||
			   sscanf(s, "\\x{%x}%n", &cp, &used) == 1) {
			n = (size_t)used;
		} else if (s[0] == '\\') {
			n = 2;
			cp = 0;
		}
		if (cp)
			lt_buf_add(out, utf8, lt_utf8_encode(cp, utf8));
		else
			lt_buf_add(out, s, n);
	}
	assert_int_equal(lt_buf_addc(out, 0), 0);
}

static void published_spellings_are_known(void **state)
{
	static const struct mdl_hand *const hands[] = {&mdl_hand_v3, &mdl_hand_llm};
	struct lt_buf text = {0};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct mdl_pretok p = {0};

		for (size_t k = 0; hands[i]->patterns[k]; k++) {
			spell_out(hands[i]->published[k] ? hands[i]->published[k]
							 : hands[i]->patterns[k],
				  &text);
			assert_null(strstr(text.data, "\\r"));
			add_split(&p, text.data, MDL_SPLIT_ISOLATED);
		}
		assert_int_equal(mdl_pretok_seal(&p, NULL), 0);
		assert_ptr_equal(p.hand, hands[i]);
		mdl_pretok_fini(&p);
	}
	lt_buf_fini(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_character),
		cmocka_unit_test(every_triple_at_the_borders),
		cmocka_unit_test(random_texts),
		cmocka_unit_test(other_stages_are_left_alone),
		cmocka_unit_test(published_spellings_are_known),
	};

	return cmocka_run_group_tests_name("model pretok", tests, setup, teardown);
}
