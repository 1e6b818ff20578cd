/*
 * model/tokenizer.h on the fixtures: golden cases, trust, streaming, round trips, time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/file.h"
#include "base/utf8.h"
#include "model/tokenizer.h"
#include "test/unit/tokenizer-help.h"
#include "tools/ctl-json.h"

/* Of the fixture. */
enum { BOS = 0, USER = 4000, ASSISTANT = 4001, THINK = 4007, END_THINK = 4008 };

static char v3_path[4096];
static struct mdl_tok *v3;

static uint64_t random_state = 88172645463325252u;

static uint32_t random_below(uint32_t n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32_t)(random_state >> 33) % n;
}

static int setup(void **state)
{
	const char *src = getenv("LT_SRCDIR");

	(void)state;
	snprintf(v3_path, sizeof(v3_path), "%s/test/fixtures/tokenizer/v3", src ? src : ".");
	v3 = open_ok(v3_path);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	mdl_tok_close(v3);
	return 0;
}

/* ---- golden cases ---- */

/* One line {"text": "...", "ids": [...]} of cases.jsonl. */
static void split_case(char *line, struct lt_buf *text, struct mdl_ids *ids)
{
	char *ids_at = strstr(line, ", \"ids\": ");
	char *text_at = line + strlen("{\"text\": ");
	struct lt_err err = {0};

	assert_non_null(ids_at);
	lt_buf_clear(text);
	ids->n = 0;
	if (ctl_json_string(text_at, (size_t)(ids_at - text_at), text, &err) < 0)
		fail_msg("%s", err.text);
	ids_at += strlen(", \"ids\": ");
	ids_at[strlen(ids_at) - 1] = '\0';
	if (ctl_json_ids(ids_at, strlen(ids_at), ids, &err) < 0)
		fail_msg("%s", err.text);
}

static void golden_v3(void **state)
{
	char path[4200];
	struct lt_buf text = LT_BUF_INIT, back = LT_BUF_INIT;
	struct mdl_ids want = {0}, got = {0};
	char *data, *line, *at;
	size_t n, cases = 0;

	(void)state;
	snprintf(path, sizeof(path), "%s/cases.jsonl", v3_path);
	assert_int_equal(lt_read_file(path, 1 << 20, &data, &n, NULL), 0);
	for (at = data; (line = strsep(&at, "\n")) != NULL && *line;) {
		split_case(line, &text, &want);
		encode_ok(v3, text.data, text.len, true, &got);
		assert_ids(&got, want.data, want.n);
		lt_buf_clear(&back);
		assert_int_equal(mdl_tok_decode(v3, got.data, got.n, true, &back, NULL), 0);
		assert_int_equal(back.len, text.len);
		if (text.len)
			assert_memory_equal(back.data, text.data, text.len);
		cases++;
	}
	assert_int_equal(cases, 1041);
	free(data);
	lt_buf_fini(&text);
	lt_buf_fini(&back);
	mdl_ids_fini(&want);
	mdl_ids_fini(&got);
}

/* Reads the next whole number of *at. */
static bool next_number(char **at, long *v)
{
	char *end;

	*v = strtol(*at, &end, 10);
	if (end == *at)
		return false;
	*at = end;
	return true;
}

static void golden_deepseek_llm(void **state)
{
	static const char border[] = "\n__ggml_vocab_test__\n";
	const char *dir = getenv("LT_FIXTURES"), *src = getenv("LT_SRCDIR");
	char path[4096], *texts, *lines, *text, *line, *lines_at;
	size_t n, cases = 0;
	struct mdl_ids got = {0};
	struct mdl_tok *t;

	(void)state;
	snprintf(path, sizeof(path), "%s%s/tokenizer/deepseek-llm/vocab.gguf",
		 dir ? dir : (src ? src : "."), dir ? "" : "/../shared/fixtures");
	if (!lt_is_file(path)) {
		print_message("no %s: the DeepSeek-LLM vectors are not checked\n", path);
		skip();
	}
	t = open_ok(path);
	assert_int_equal(mdl_tok_count(t), 102400);
	assert_int_equal(mdl_tok_bos(t), 100000);
	strcpy(strrchr(path, '/'), "/cases.inp");
	assert_int_equal(lt_read_file(path, 1 << 20, &texts, &n, NULL), 0);
	strcpy(strrchr(path, '/'), "/cases.out");
	assert_int_equal(lt_read_file(path, 1 << 20, &lines, &n, NULL), 0);
	lines_at = lines;
	for (text = texts; text; cases++) {
		char *end = strstr(text, border);
		size_t k = 0;
		long id;

		encode_ok(t, text, end ? (size_t)(end - text) : strlen(text), true, &got);
		text = end ? end + strlen(border) : NULL;
		line = strsep(&lines_at, "\n");
		assert_non_null(line);
		for (; next_number(&line, &id); k++) {
			assert_true(k < got.n);
			assert_int_equal(got.data[k], id);
		}
		assert_int_equal(got.n, k);
	}
	assert_true(cases >= 46);
	free(texts);
	free(lines);
	mdl_ids_fini(&got);
	mdl_tok_close(t);
}

/* ---- trust ---- */

static void control_tokens_need_trust(void **state)
{
	static const char text[] = "<｜User｜>hi<think>";
	struct mdl_ids ids = {0};

	(void)state;
	encode_ok(v3, text, strlen(text), true, &ids);
	assert_int_equal(ids.data[0], USER);
	assert_int_equal(ids.data[ids.n - 1], THINK);
	encode_ok(v3, text, strlen(text), false, &ids);
	for (size_t i = 0; i < ids.n; i++)
		assert_in_range(ids.data[i], 3, USER - 1);
	mdl_ids_fini(&ids);
}

static void parts_encode(const char *text, const struct mdl_part *parts, size_t n,
			 struct mdl_ids *ids)
{
	struct lt_err err = {0};

	ids->n = 0;
	if (mdl_tok_encode_parts(v3, text, strlen(text), parts, n, ids, &err) < 0)
		fail_msg("%s", err.text);
}

static void parts_are_one_text(void **state)
{
	static const char text[] = "<｜User｜>Hello, world!<｜Assistant｜>";
	size_t user = strlen("<｜User｜>"), said = strlen("Hello, world!");
	size_t n = strlen(text), rest = n - user - said;
	struct mdl_ids whole = {0}, ids = {0};
	struct lt_err err = {0};

	(void)state;
	encode_ok(v3, text, n, true, &whole);
	/* Cut anywhere inside the middle, trusted or not, the words stay what they are. */
	for (size_t cut = 0; cut <= said; cut++) {
		struct mdl_part parts[] = {{0, user, true},
					   {user, cut, cut % 2},
					   {user + cut, said - cut, false},
					   {user + said, rest, true}};

		parts_encode(text, parts, 4, &ids);
		assert_ids(&ids, whole.data, whole.n);
	}
	/* A token that runs over the border of two trusted parts is still wholly trusted... */
	parts_encode(text, (struct mdl_part[]){{0, 5, true}, {5, 0, false}, {5, n - 5, true}}, 3,
		     &ids);
	assert_ids(&ids, whole.data, whole.n);
	/* ...and one with a single byte from elsewhere is text. */
	parts_encode(text, (struct mdl_part[]){{0, 5, true}, {5, 1, false}, {6, n - 6, true}}, 3,
		     &ids);
	assert_int_not_equal(ids.data[0], USER);
	assert_int_equal(ids.data[ids.n - 1], ASSISTANT);
	/* What no part covers is not trusted. */
	parts_encode(text, NULL, 0, &ids);
	assert_int_not_equal(ids.data[0], USER);
	assert_int_equal(
		mdl_tok_encode_parts(v3, text, n, (struct mdl_part[]){{1, n, true}}, 1, &ids, &err),
		LT_EINVAL);
	assert_int_equal(mdl_tok_encode_parts(v3, text, n,
					      (struct mdl_part[]){{4, 4, true}, {3, 1, true}}, 2,
					      &ids, &err),
			 LT_EINVAL);
	mdl_ids_fini(&whole);
	mdl_ids_fini(&ids);
}

/* ---- looking up, decoding ---- */

static void tokens_by_text(void **state)
{
	size_t n;
	const char *s = mdl_tok_bytes(v3, THINK, &n);
	struct lt_buf text = LT_BUF_INIT;
	struct lt_err err = {0};

	(void)state;
	assert_int_equal(mdl_tok_count(v3), 4009);
	assert_int_equal(mdl_tok_bos(v3), -1);
	assert_false(mdl_tok_add_bos(v3));
	assert_int_equal(n, strlen("<think>"));
	assert_memory_equal(s, "<think>", n);
	assert_int_equal(mdl_tok_id(v3, "<think>", 7), THINK);
	assert_int_equal(mdl_tok_id(v3, "<｜User｜>", strlen("<｜User｜>")), USER);
	assert_int_equal(mdl_tok_id(v3, " ", 1), 223);
	assert_int_equal(mdl_tok_id(v3, "no such token", 13), -1);
	assert_int_equal(mdl_tok_id(v3, "", 0), -1);
	assert_true(mdl_tok_is_special(v3, USER));
	assert_false(mdl_tok_is_special(v3, THINK));
	assert_false(mdl_tok_is_special(v3, 5));
	assert_null(mdl_tok_bytes(v3, 4009, &n));
	assert_int_equal(n, 0);
	assert_null(mdl_tok_bytes(v3, -1, &n));
	assert_int_equal(mdl_tok_decode(v3, (int32_t[]){USER, 67, THINK}, 3, false, &text, &err),
			 0);
	assert_string_equal(text.data, "a<think>");
	assert_int_equal(mdl_tok_decode(v3, (int32_t[]){USER}, 1, true, &text, &err), 0);
	assert_string_equal(text.data, "a<think><｜User｜>");
	assert_int_equal(mdl_tok_decode(v3, (int32_t[]){4009}, 1, true, &text, &err), LT_EINVAL);
	assert_non_null(strstr(err.text, "4009"));
	lt_buf_fini(&text);
}

/* Random bytes, half of them pieces of UTF-8. */
static size_t random_bytes(char *s, size_t most)
{
	static const char *const bits[] = {
		"\xe4\xbd\xa0", "\xf0\x9f\x99\x82", "\xc3\xa9", " ",	"the",
		"\n",		"\xe4\xbd",	    "\xf0\x9f", "\xff", "\xed\xa0\x80",
		"\xc0\x80",	"\xf4\x90\x80\x80"};
	size_t n = 0, want = random_below((uint32_t)most - 4);

	while (n < want) {
		if (random_below(2)) {
			s[n++] = (char)random_below(256);
		} else {
			const char *bit = bits[random_below(12)];

			memcpy(s + n, bit, strlen(bit));
			n += strlen(bit);
		}
	}
	return n;
}

static void any_bytes_come_back(void **state)
{
	struct lt_buf back = LT_BUF_INIT;
	struct mdl_ids ids = {0};
	char s[200];

	(void)state;
	for (int round = 0; round < 3000; round++) {
		size_t n = random_bytes(s, sizeof(s));

		encode_ok(v3, s, n, round % 2, &ids);
		lt_buf_clear(&back);
		assert_int_equal(mdl_tok_decode(v3, ids.data, ids.n, true, &back, NULL), 0);
		assert_int_equal(back.len, n);
		if (n)
			assert_memory_equal(back.data, s, n);
	}
	mdl_ids_fini(&ids);
	lt_buf_fini(&back);
}

static void malformed_bytes_stand_alone(void **state)
{
	struct mdl_ids good = {0}, ids = {0};

	(void)state;
	/* The stretches round a malformed byte are encoded as if they were alone. */
	encode_ok(v3, "Hello", 5, true, &good);
	encode_ok(v3, "Hello\xffHello", 11, true, &ids);
	assert_int_equal(ids.n, 2 * good.n + 1);
	assert_memory_equal(ids.data + good.n + 1, good.data, good.n * sizeof(int32_t));
	assert_int_equal(ids.data[good.n], mdl_tok_id(v3, "\xff", 1));
	mdl_ids_fini(&good);
	mdl_ids_fini(&ids);
}

/* ---- streaming ---- */

static void detok_all(const struct mdl_ids *ids, bool special, struct lt_buf *out)
{
	struct mdl_detok d;

	lt_buf_clear(out);
	mdl_detok_init(&d, v3, special);
	for (size_t i = 0; i < ids->n; i++) {
		assert_int_equal(mdl_detok_push(&d, ids->data[i], out), 0);
		/* What has come out so far is whole characters. */
		assert_true(lt_utf8_valid(out->data ? out->data : "", out->len, NULL));
	}
	assert_int_equal(mdl_detok_flush(&d, out), 0);
	assert_true(lt_utf8_valid(out->data ? out->data : "", out->len, NULL));
}

static void streams_hold_back(void **state)
{
	struct lt_buf out = LT_BUF_INIT;
	struct mdl_detok d;
	int32_t e4 = mdl_tok_id(v3, "\xe4", 1), bd = mdl_tok_id(v3, "\xbd", 1),
		a0 = mdl_tok_id(v3, "\xa0", 1), a = mdl_tok_id(v3, "a", 1);

	(void)state;
	mdl_detok_init(&d, v3, false);
	assert_int_equal(mdl_detok_push(&d, e4, &out), 0);
	assert_int_equal(mdl_detok_push(&d, bd, &out), 0);
	assert_int_equal(out.len, 0);
	/* A control token that isn't shown doesn't come between the halves of a character. */
	assert_int_equal(mdl_detok_push(&d, USER, &out), 0);
	assert_int_equal(out.len, 0);
	assert_int_equal(mdl_detok_push(&d, a0, &out), 0);
	assert_string_equal(out.data, "\xe4\xbd\xa0");
	assert_int_equal(mdl_detok_push(&d, e4, &out), 0);
	assert_int_equal(mdl_detok_push(&d, a, &out), 0);
	assert_string_equal(out.data, "\xe4\xbd\xa0\xef\xbf\xbd"
				      "a");
	assert_int_equal(mdl_detok_push(&d, e4, &out), 0);
	assert_int_equal(mdl_detok_push(&d, 99999, &out), LT_EINVAL);
	lt_buf_clear(&out);
	assert_int_equal(mdl_detok_flush(&d, &out), 0);
	assert_string_equal(out.data, "\xef\xbf\xbd");
	assert_int_equal(mdl_detok_flush(&d, &out), 0);
	assert_int_equal(out.len, 3);
	lt_buf_fini(&out);
}

/* The text of bytes with every malformed stretch (the longest beginning of a character that goes no
 * further, or a byte) as U+FFFD, worked out byte by byte. */
static void replace_malformed(const char *s, size_t n, struct lt_buf *out)
{
	size_t i = 0;

	lt_buf_clear(out);
	while (i < n) {
		uint32_t cp;
		size_t len = lt_utf8_decode(s + i, n - i, &cp), k;

		if (len) {
			lt_buf_add(out, s + i, len);
			i += len;
			continue;
		}
		for (k = 1; k < 3 && i + k < n; k++) {
			/* Does a character begin with these k + 1 bytes? */
			char probe[4];
			bool any = false;

			memcpy(probe, s + i, k + 1);
			for (int b = 0x80; b < 0xc0 && !any; b++) {
				probe[k + 1] = (char)b;
				for (int c = 0x80; c < 0xc0 && !any; c++) {
					if (k + 2 < 4)
						probe[k + 2] = (char)c;
					any = lt_utf8_decode(probe, 4, &cp) > k + 1;
				}
			}
			if (!any)
				break;
		}
		lt_buf_adds(out, "\xef\xbf\xbd");
		i += k;
	}
}

static void streams_say_what_the_whole_says(void **state)
{
	struct lt_buf out = LT_BUF_INIT, want = LT_BUF_INIT;
	struct mdl_ids ids = {0};
	char s[120];

	(void)state;
	for (int round = 0; round < 2000; round++) {
		size_t n = random_bytes(s, sizeof(s));

		/* As the tokenizer cuts it, and byte by byte. */
		replace_malformed(s, n, &want);
		encode_ok(v3, s, n, false, &ids);
		for (int way = 0; way < 2; way++) {
			detok_all(&ids, true, &out);
			assert_int_equal(out.len, want.len);
			if (want.len)
				assert_memory_equal(out.data, want.data, want.len);
			ids.n = 0;
			for (size_t i = 0; i < n; i++)
				assert_int_equal(mdl_ids_add(&ids, mdl_tok_id(v3, s + i, 1)), 0);
		}
	}
	mdl_ids_fini(&ids);
	lt_buf_fini(&out);
	lt_buf_fini(&want);
}

/* ---- time ---- */

static double seconds_of(const char *s, size_t n)
{
	struct timespec a, b;
	struct mdl_ids ids = {0};

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
	encode_ok(v3, s, n, true, &ids);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
	assert_true(ids.n > 0);
	mdl_ids_fini(&ids);
	return (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) * 1e-9;
}

/* Texts that a naive tokenizer takes quadratic time for: sixteen times the text must not take
 * anywhere near 256 times as long. */
static void time_is_not_quadratic(void **state)
{
	static const char *const bits[] = {"a",	    " ", "\n",	"1",   "!",    "\xe4\xbd\xa0",
					   "ab",    "<", "<｜", " \n", "\xff", "e\xcc\x81",
					   "<think"};
	size_t small = 1 << 16, large = small * 16;
	char *s = malloc(large + 16);

	(void)state;
	assert_non_null(s);
	for (size_t i = 0; i < sizeof(bits) / sizeof(bits[0]); i++) {
		size_t n = strlen(bits[i]);
		double a, b;

		for (size_t at = 0; at < large; at += n)
			memcpy(s + at, bits[i], n);
		a = seconds_of(s, small - small % n);
		b = seconds_of(s, large - large % n);
		if (b > 100 * a + 0.05)
			fail_msg("'%s': %g s for %zu bytes, %g s for %zu", bits[i], a, small, b,
				 large);
	}
	free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(golden_v3),
		cmocka_unit_test(golden_deepseek_llm),
		cmocka_unit_test(control_tokens_need_trust),
		cmocka_unit_test(parts_are_one_text),
		cmocka_unit_test(tokens_by_text),
		cmocka_unit_test(any_bytes_come_back),
		cmocka_unit_test(malformed_bytes_stand_alone),
		cmocka_unit_test(streams_hold_back),
		cmocka_unit_test(streams_say_what_the_whole_says),
		cmocka_unit_test(time_is_not_quadratic),
	};

	return cmocka_run_group_tests_name("model tokenizer", tests, setup, teardown);
}
