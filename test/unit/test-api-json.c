/*
 * api/json.h: what is JSON and what is not, cursors, strings and numbers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "api/json.h"

static struct api_json parse(const char *text)
{
	struct api_json root;
	struct api_fault f = {0};

	if (api_json_check(text, strlen(text), 20, &root, &f) < 0)
		fail_msg("%s: %s", text, f.message);
	return root;
}

static void accepted(void **state)
{
	static const char *const good[] = {
		"0",
		"-0",
		"-0.0e-0",
		"1E+2",
		"123456789012345678901234567890",
		"true",
		"false",
		" null\r\n",
		"\"\"",
		"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
		"[]",
		"[ ]",
		"{}",
		"{ }",
		"[[],[[]],{}]",
		"{\"\":0,\"\":1}",
		"\"\x7f\"",
		"\"\xf4\x8f\xbf\xbf\"",
		"[1 , 2\t,\n3]",
		"\"\\uD83D\\uDE42\\u00e9\"",
		"{\"a\":{\"b\":[{\"c\":null}]}}",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		parse(good[i]);
}

static const char *const bad[] = {
	"",
	" ",
	"-",
	"01",
	"1.",
	"1.e1",
	"1e",
	"1e+",
	"0x10",
	"--1",
	"Infinity",
	"nul",
	"nulll",
	"tru",
	"\"",
	"\"\\\"",
	"\"\\u12\"",
	"[",
	"]",
	"[,1]",
	"[1,]",
	"[1,,2]",
	"[1:2]",
	"{",
	"}",
	"{1:2}",
	"{\"a\"}",
	"{\"a\":}",
	"{\"a\":1,}",
	"{,}",
	"{\"a\":1 \"b\":2}",
	"[1}",
	"{\"a\":1]",
	"1 2",
	"[] []",
	"'a'",
	"// x\n1",
	"[1]/**/",
	"\"a\nb\"",
	"\"\\'\"",
	"\"\\uDE42\\uD83D\"",
	"\xc2\xa0"
	"1",
};

static void refused(void **state)
{
	struct api_json root;
	struct api_fault f;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (api_json_check(bad[i], strlen(bad[i]), 20, &root, &f) == 0)
			fail_msg("%s was accepted", bad[i]);
		assert_string_equal(f.api_code, "invalid_json");
	}
	assert_int_equal(api_json_check("\"a\0b\"", 5, 20, &root, &f), LT_EINVAL);
	assert_int_equal(api_json_check("1\0", 2, 20, &root, &f), LT_EFORMAT);
	assert_int_equal(api_json_check("[[[]]]", 6, 3, &root, &f), 0);
	assert_int_equal(api_json_check("[[[]]]", 6, 2, &root, &f), LT_EFORMAT);
	/* every proper prefix of a container is refused */
	for (size_t n = 0; n < 20; n++)
		assert_int_equal(api_json_check("{\"a\":[1,\"b\",{\"c\":0}]}", n, 20, &root, &f),
				 LT_EFORMAT);
}

static void cursors(void **state)
{
	struct api_json root =
		parse(" { \"a\" : [ 1 , \"x]}\\\"\" , { } ] , \"b\":{\"c\":[]},\"\":null } ");
	struct api_json key, v, list;
	size_t at = 0, inner = 0;

	(void)state;
	assert_int_equal(api_json_type(root), API_JSON_OBJECT);
	assert_int_equal(api_json_count(root), 3);
	assert_true(api_json_next(root, &at, &key, &list));
	assert_true(api_json_is(key, "a"));
	assert_int_equal(api_json_count(list), 3);
	assert_true(api_json_next(list, &inner, NULL, &v));
	assert_int_equal(v.n, 1);
	assert_true(api_json_next(list, &inner, NULL, &v));
	assert_true(api_json_is(v, "x]}\""));
	assert_true(api_json_next(list, &inner, NULL, &v));
	assert_int_equal(api_json_count(v), 0);
	assert_false(api_json_next(list, &inner, NULL, &v));
	assert_false(api_json_next(list, &inner, NULL, &v));
	assert_true(api_json_next(root, &at, &key, &v));
	assert_int_equal(v.n, strlen("{\"c\":[]}"));
	assert_true(api_json_next(root, &at, &key, &v));
	assert_true(api_json_is(key, ""));
	assert_int_equal(api_json_type(v), API_JSON_NULL);
	assert_false(api_json_next(root, &at, &key, &v));
}

static void strings(void **state)
{
	struct api_str s;

	(void)state;
	assert_int_equal(api_json_string(parse("\"a\\u00e9\\ud83d\\ude42\\n\\/\\u20AC.\""), &s), 0);
	assert_string_equal(s.s, "a\xc3\xa9\xf0\x9f\x99\x82\n/\xe2\x82\xac.");
	assert_int_equal(s.n, strlen(s.s));
	free(s.s);
	assert_true(api_json_is(parse("\"\\u0061b\""), "ab"));
	assert_false(api_json_is(parse("\"\\u0061b\""), "a"));
	assert_false(api_json_is(parse("\"a\""), "ab"));
	assert_false(api_json_is(parse("\"\\u00e9\""), "\xc3"));
	assert_true(api_json_is(parse("\"\""), ""));
}

/* Writing and reading strings are inverse: random bytes that are UTF-8, all ASCII among them. */
static void round_trip(void **state)
{
	static const char *const chars[] = {
		"\x01", "\x1f", "\"",	    "\\",	    "/",
		"a",	"\x7f", "\xc2\x80", "\xe2\x80\xa8", "\xf0\x9f\x99\x82",
		"\n",	"\t",	"u"};

	(void)state;
	srand(2);
	for (int round = 0; round < 2000; round++) {
		struct lt_buf text = LT_BUF_INIT, json = LT_BUF_INIT;
		struct api_json root;
		struct api_str back;
		lt_buf_adds(&text, "");
		for (int i = rand() % 20; i > 0; i--)
			lt_buf_adds(&text, chars[(size_t)rand() % 13]);
		lt_buf_addc(&json, '"');
		lt_buf_add_json(&json, text.data, text.len);
		lt_buf_addc(&json, '"');
		assert_int_equal(api_json_check(json.data, json.len, 1, &root, NULL), 0);
		assert_int_equal(api_json_string(root, &back), 0);
		assert_int_equal(back.n, text.len);
		assert_memory_equal(back.s, text.data, text.len);
		free(back.s);
		lt_buf_fini(&text);
		lt_buf_fini(&json);
	}
}

static void numbers(void **state)
{
	int64_t i;
	double d;

	(void)state;
	assert_true(api_json_int(parse("-9223372036854775808"), &i) && i == INT64_MIN);
	assert_false(api_json_int(parse("9223372036854775808"), &i));
	assert_true(api_json_int(parse("1.5e1"), &i) && i == 15);
	assert_true(api_json_int(parse("-0.0"), &i) && i == 0);
	assert_true(api_json_int(parse("9007199254740992.0"), &i) && i == INT64_C(1) << 53);
	assert_false(api_json_int(parse("1e300"), &i));
	assert_false(api_json_int(parse("0.1"), &i));
	assert_true(api_json_double(parse("-2.5e-1"), &d) && d == -0.25);
	assert_false(api_json_double(parse("1e400"), &d));
	assert_true(api_json_double(parse("1e-400"), &d) && d >= 0 && d < 1e-300);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(accepted), cmocka_unit_test(refused),	  cmocka_unit_test(cursors),
		cmocka_unit_test(strings),  cmocka_unit_test(round_trip), cmocka_unit_test(numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
