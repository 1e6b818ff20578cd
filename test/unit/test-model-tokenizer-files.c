/*
 * model/tokenizer.h on tokenizer.json files made here: what is read, honoured and refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/utf8.h"
#include "model/tokenizer.h"
#include "test/unit/tokenizer-help.h"

static char scratch[] = "/tmp/lt-tokenizer-XXXXXX";

static int setup(void **state)
{
	(void)state;
	return mkdtemp(scratch) ? 0 : -1;
}

static int teardown(void **state)
{
	char path[64];

	(void)state;
	snprintf(path, sizeof(path), "%s/tokenizer.json", scratch);
	unlink(path);
	snprintf(path, sizeof(path), "%s/tokenizer_config.json", scratch);
	unlink(path);
	return rmdir(scratch);
}

static void write_file(const char *name, const char *text)
{
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", scratch, name);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
	assert_int_equal(fclose(f), 0);
}

/* A character of the byte-level alphabet. */
static uint32_t letter_of(unsigned byte)
{
	static const unsigned gaps[][2] = {{0, 33}, {127, 34}, {173, 1}};
	uint32_t next = 256;

	for (size_t i = 0; i < 3; i++) {
		if (byte >= gaps[i][0] && byte < gaps[i][0] + gaps[i][1])
			return next + byte - gaps[i][0];
		next += gaps[i][1];
	}
	return byte;
}

/* The vocabulary of the 256 bytes as their ids, then `more`, as a JSON object's inside. */
static void add_vocab(struct lt_buf *b, const char *more)
{
	for (unsigned i = 0; i < 256; i++) {
		uint32_t letter = letter_of(i);
		char utf8[4];
		size_t n = lt_utf8_encode(letter, utf8);

		lt_buf_adds(b, i ? ",\"" : "\"");
		lt_buf_add_json(b, utf8, n);
		lt_buf_addf(b, "\":%u", i);
	}
	lt_buf_adds(b, more);
}

#define BYTE_LEVEL                                                                                 \
	"\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false},"

/* A tokenizer.json with `top` before the model, and more vocabulary, merges and model options. */
static void write_tokenizer(const char *top, const char *vocab, const char *merges,
			    const char *options)
{
	struct lt_buf b = LT_BUF_INIT;

	lt_buf_addf(&b, "{%s\"model\":{\"type\":\"BPE\",%s\"vocab\":{", top, options);
	add_vocab(&b, vocab);
	lt_buf_addf(&b, "},\"merges\":[%s]}}", merges);
	assert_int_equal(b.failed, 0);
	write_file("tokenizer.json", b.data);
	lt_buf_fini(&b);
}

/* Opens the scratch folder; the error has to name `what`. */
static void assert_refused(int code, const char *what)
{
	struct mdl_tok *t = NULL;
	struct lt_err err = {0};
	int rc = mdl_tok_open(scratch, &t, &err);

	if (rc == 0)
		fail_msg("not refused: %s", what);
	if (rc != code || !strstr(err.text, what))
		fail_msg("%d (wanted %d), '%s' (wanted '%s')", rc, code, err.text, what);
	assert_null(t);
}

static void bad_files_are_refused(void **state)
{
	static const struct {
		const char *top, *vocab, *merges, *options;
		int code;
		const char *what;
	} bad[] = {
		{"\"normalizer\":{\"type\":\"NFC\"}," BYTE_LEVEL, "", "", "", LT_EUNSUPPORTED,
		 "normalizer NFC"},
		{"", "", "", "", LT_EUNSUPPORTED, "ByteLevel"},
		{"\"pre_tokenizer\":{\"type\":\"Metaspace\"},", "", "", "", LT_EUNSUPPORTED,
		 "Metaspace"},
		{"\"pre_tokenizer\":{\"type\":\"Sequence\"},", "", "", "", LT_EFORMAT,
		 "pretokenizers"},
		{"\"pre_tokenizer\":{\"type\":\"Split\"},", "", "", "", LT_EFORMAT, "pattern"},
		{"\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(a\"},"
		 "\"behavior\":\"Isolated\"},",
		 "", "", "", LT_EFORMAT, "pattern '(a'"},
		{"\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"\\\\p{Klingon}\"},"
		 "\"behavior\":\"Isolated\"},",
		 "", "", "", LT_EUNSUPPORTED, "Klingon"},
		{"\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(a)\\\\1\"},"
		 "\"behavior\":\"Isolated\"},",
		 "", "", "", LT_EUNSUPPORTED, "\\1"},
		{"\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"String\":\"a\"},"
		 "\"behavior\":\"Shredded\"},",
		 "", "", "", LT_EUNSUPPORTED, "Shredded"},
		{BYTE_LEVEL "\"decoder\":{\"type\":\"WordPiece\"},", "", "", "", LT_EUNSUPPORTED,
		 "decoder WordPiece"},
		{BYTE_LEVEL "\"post_processor\":{\"type\":\"BertProcessing\"},", "", "", "",
		 LT_EUNSUPPORTED, "BertProcessing"},
		{BYTE_LEVEL, "", "", "\"dropout\":0.1,", LT_EUNSUPPORTED, "dropout"},
		{BYTE_LEVEL, "", "", "\"end_of_word_suffix\":\"</w>\",", LT_EUNSUPPORTED,
		 "end_of_word_suffix"},
		{BYTE_LEVEL, ",\"ab\":1.5", "", "", LT_EFORMAT, "'ab'"},
		{BYTE_LEVEL, ",\"ab\":-1", "", "", LT_EFORMAT, "'ab'"},
		{BYTE_LEVEL, ",\"ab\":\"x\"", "", "", LT_EFORMAT, "'ab'"},
		{BYTE_LEVEL, ",\"ab\":97", "", "", LT_EFORMAT, "id 97"},
		{BYTE_LEVEL, ",\"a\":300", "", "", LT_EFORMAT, "'a'"},
		{BYTE_LEVEL, ",\"\":300", "", "", LT_EFORMAT, "empty"},
		{BYTE_LEVEL, ",\"ab\":2000000000", "", "", LT_ETOOBIG, "2000000000"},
		{BYTE_LEVEL, "", "\"a b\"", "", LT_EFORMAT, "merge 0"},
		{BYTE_LEVEL, ",\"ab\":256", "\"a b\",\"ab c\"", "", LT_EFORMAT, "merge 1"},
		{BYTE_LEVEL, ",\"ab\":256", "\"ab\"", "", LT_EFORMAT, "merge 0"},
		{BYTE_LEVEL, ",\"ab\":256", "\"a b c\"", "", LT_EFORMAT, "merge 0"},
		{BYTE_LEVEL, ",\"ab\":256", "[\"a\"]", "", LT_EFORMAT, "merge 0"},
		{BYTE_LEVEL, ",\"ab\":256", "17", "", LT_EFORMAT, "merge 0"},
		{BYTE_LEVEL "\"added_tokens\":[{\"id\":300}],", "", "", "", LT_EFORMAT,
		 "added token"},
		{BYTE_LEVEL "\"added_tokens\":[{\"id\":300,\"content\":\"\"}],", "", "", "",
		 LT_EFORMAT, "added token 300"},
		{BYTE_LEVEL "\"added_tokens\":[{\"id\":300,\"content\":\"<a>\"},"
			    "{\"id\":301,\"content\":\"<a>\"}],",
		 "", "", "", LT_EFORMAT, "'<a>'"},
		{BYTE_LEVEL "\"added_tokens\":[{\"id\":300,\"content\":\"<a>\"},"
			    "{\"id\":300,\"content\":\"<b>\"}],",
		 "", "", "", LT_EFORMAT, "id 300"},
		{BYTE_LEVEL "\"added_tokens\":[{\"id\":300,\"content\":\"<a>\"}],", ",\"<a>\":256",
		 "", "", LT_EFORMAT, "'<a>'"},
		{BYTE_LEVEL "\"added_tokens\":[{\"id\":97,\"content\":\"a\",\"special\":true}],",
		 "", "", "", LT_EFORMAT, "control token"},
		{BYTE_LEVEL, ",\"a\\u0000b\":256", "", "", LT_EUNSUPPORTED, "\\u0000"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		write_tokenizer(bad[i].top, bad[i].vocab, bad[i].merges, bad[i].options);
		assert_refused(bad[i].code, bad[i].what);
	}
	write_file("tokenizer.json", "{\"model\":{\"type\":\"WordLevel\"}," BYTE_LEVEL "\"x\":1}");
	assert_refused(LT_EUNSUPPORTED, "WordLevel");
	write_file("tokenizer.json",
		   "{\"model\":{\"vocab\":{\"a\":0},\"merges\":[]}," BYTE_LEVEL "\"x\":1}");
	assert_refused(LT_EFORMAT, "byte 0x00");
	write_file("tokenizer.json", "{" BYTE_LEVEL "\"x\":1}");
	assert_refused(LT_EFORMAT, "model");
	write_file("tokenizer.json", "{\"model\":");
	assert_refused(LT_EFORMAT, "JSON");
	write_file("tokenizer.json", "[]");
	assert_refused(LT_EFORMAT, "object");
	write_file("tokenizer.json", "\"\xff\"");
	assert_refused(LT_EFORMAT, "UTF-8");
}

static void config_beside_is_read(void **state)
{
	static const char *const configs[] = {
		"{\"bos_token\":\"<s>\",\"eos_token\":{\"content\":\"</s>\"},\"add_bos_token\":true}",
		"{\"bos_token\":null}",
	};
	struct mdl_tok *t;

	(void)state;
	write_tokenizer(BYTE_LEVEL
			"\"added_tokens\":[{\"id\":256,\"content\":\"<s>\",\"special\":true},"
			"{\"id\":270,\"content\":\"</s>\",\"special\":true}],",
			"", "", "");
	write_file("tokenizer_config.json", configs[0]);
	t = open_ok(scratch);
	assert_int_equal(mdl_tok_bos(t), 256);
	assert_int_equal(mdl_tok_eos(t), 270);
	assert_true(mdl_tok_add_bos(t));
	assert_int_equal(mdl_tok_count(t), 271);
	mdl_tok_close(t);
	write_file("tokenizer_config.json", configs[1]);
	t = open_ok(scratch);
	assert_int_equal(mdl_tok_bos(t), -1);
	assert_int_equal(mdl_tok_eos(t), -1);
	mdl_tok_close(t);
	write_file("tokenizer_config.json", "{\"bos_token\":\"<x>\"}");
	assert_refused(LT_EFORMAT, "bos_token '<x>'");
	write_file("tokenizer_config.json", "{}");
	/* Without a word in the config, the post-processor says it. */
	write_tokenizer(
		BYTE_LEVEL
		"\"post_processor\":{\"type\":\"Sequence\",\"processors\":[{\"type\":\"ByteLevel\"},"
		"{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<s>\","
		"\"type_id\":0}},{\"Sequence\":{\"id\":\"A\"}}],\"special_tokens\":{\"<s>\":"
		"{\"id\":\"<s>\",\"ids\":[256]}}}]},"
		"\"added_tokens\":[{\"id\":256,\"content\":\"<s>\",\"special\":true}],",
		"", "", "");
	t = open_ok(scratch);
	assert_int_equal(mdl_tok_bos(t), 256);
	assert_true(mdl_tok_add_bos(t));
	mdl_tok_close(t);
	write_tokenizer(BYTE_LEVEL, "", "", "");
}

/* Encodes with the tokenizer in the scratch folder. */
static void assert_scratch(const char *text, bool trusted, const int32_t *want, size_t n)
{
	struct mdl_tok *t = open_ok(scratch);
	struct mdl_ids ids = {0};

	encode_ok(t, text, strlen(text), trusted, &ids);
	assert_ids(&ids, want, n);
	mdl_ids_fini(&ids);
	mdl_tok_close(t);
}

#define IDS(...) (const int32_t[]){__VA_ARGS__}, sizeof((const int32_t[]){__VA_ARGS__}) / 4

static void merges_go_by_rank(void **state)
{
	(void)state;
	write_tokenizer(BYTE_LEVEL, ",\"ab\":256,\"bc\":257,\"abc\":258,\"aa\":259",
			"[\"b\",\"c\"],[\"a\",\"b\"],[\"ab\",\"c\"],[\"a\",\"a\"]", "");
	/* b c first, so that abc, which is made of ab and c, never comes about. */
	assert_scratch("abc", true, IDS('a', 257));
	assert_scratch("abab", true, IDS(256, 256));
	assert_scratch("aaa", true, IDS(259, 'a'));
	write_tokenizer(BYTE_LEVEL, ",\"ab\":256,\"bc\":257,\"abc\":258",
			"\"b c\",\"a b\",\"ab c\"", "\"ignore_merges\":true,");
	assert_scratch("abc", true, IDS(258));
	assert_scratch("abcd", true, IDS('a', 257, 'd'));
}

static void merges_make_no_control_token(void **state)
{
	(void)state;
	write_tokenizer(BYTE_LEVEL
			"\"added_tokens\":[{\"id\":256,\"content\":\"ab\",\"special\":true}],",
			",\"ab\":256", "\"a b\"", "\"ignore_merges\":true,");
	assert_scratch("xab", true, IDS('x', 256));
	assert_scratch("xab", false, IDS('x', 'a', 'b'));
	assert_scratch("ab", false, IDS('a', 'b'));
}

static void added_tokens_have_manners(void **state)
{
	(void)state;
	write_tokenizer(
		BYTE_LEVEL
		"\"added_tokens\":[{\"id\":256,\"content\":\"<a>\",\"lstrip\":true},"
		"{\"id\":257,\"content\":\"<a>b\",\"rstrip\":true},"
		"{\"id\":258,\"content\":\"word\",\"single_word\":true,\"normalized\":false},"
		"{\"id\":259,\"content\":\"b word\",\"normalized\":true}],",
		"", "", "");
	assert_scratch("x \t<a>y", true, IDS('x', 256, 'y'));
	assert_scratch("<a>b \n<a>", true, IDS(257, 256));
	assert_scratch("a word, words", true,
		       IDS('a', ' ', 258, ',', ' ', 'w', 'o', 'r', 'd', 's'));
	/* `word` is cut out before `b word` is looked for. */
	assert_scratch("b word", true, IDS('b', ' ', 258));
	assert_scratch("b words", true, IDS(259, 's'));
}

static void split(const char *pattern, const char *behavior, bool invert)
{
	char top[600];

	snprintf(top, sizeof(top),
		 "\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\","
		 "\"pattern\":%s,\"behavior\":\"%s\",\"invert\":%s},{\"type\":\"ByteLevel\","
		 "\"add_prefix_space\":false,\"use_regex\":false}]},",
		 pattern, behavior, invert ? "true" : "false");
	/* One merge for each border, so that the ids show where the pieces end. */
	write_tokenizer(top, ",\"a-\":256,\"--\":257,\"-a\":258,\"aa\":259",
			"\"- -\",\"a -\",\"- a\",\"a a\"", "");
}

static void split_behaviors(void **state)
{
	(void)state;
	split("{\"String\":\"-\"}", "Isolated", false);
	assert_scratch("a--aa", true, IDS('a', '-', '-', 259));
	split("{\"String\":\"-\"}", "Removed", false);
	assert_scratch("a--aa", true, IDS('a', 259));
	split("{\"String\":\"-\"}", "Contiguous", false);
	assert_scratch("a--aa", true, IDS('a', 257, 259));
	split("{\"String\":\"-\"}", "MergedWithPrevious", false);
	assert_scratch("a--aa", true, IDS(256, '-', 259));
	split("{\"String\":\"-\"}", "MergedWithNext", false);
	assert_scratch("a--a", true, IDS('a', '-', 258));
	split("{\"Regex\":\"-+\"}", "Removed", true);
	assert_scratch("a--aa", true, IDS(257));
	split("{\"Regex\":\"(?=-)\"}", "Isolated", false);
	assert_scratch("aa-a", true, IDS(259, 258));
}

static void prefix_space_is_added(void **state)
{
	(void)state;
	write_tokenizer("\"pre_tokenizer\":{\"type\":\"ByteLevel\"},", ",\"\xc4\xa0\x61\":256",
			"\"\xc4\xa0 a\"", "");
	assert_scratch("a a", true, IDS(256, 256));
	assert_scratch(" a", true, IDS(256));
	assert_scratch("'s", true, IDS(' ', '\'', 's'));
}

static void missing_files(void **state)
{
	struct mdl_tok *t = NULL;
	struct lt_err err = {0};

	(void)state;
	assert_int_equal(mdl_tok_open("/nonexistent/x", &t, &err), LT_ENOENT);
	assert_non_null(strstr(err.text, "/nonexistent/x"));
	assert_int_equal(mdl_tok_open("/", &t, &err), LT_ENOENT);
	assert_non_null(strstr(err.text, "tokenizer.json"));
	assert_null(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_files_are_refused),
		cmocka_unit_test(config_beside_is_read),
		cmocka_unit_test(merges_go_by_rank),
		cmocka_unit_test(merges_make_no_control_token),
		cmocka_unit_test(added_tokens_have_manners),
		cmocka_unit_test(split_behaviors),
		cmocka_unit_test(prefix_space_is_added),
		cmocka_unit_test(missing_files),
	};

	return cmocka_run_group_tests_name("model tokenizer files", tests, setup, teardown);
}
