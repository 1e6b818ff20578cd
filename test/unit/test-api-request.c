/*
 * api/request.h: what good requests become, the JSON for chat templates, and a mutation fuzz of the
 * parsers (meant for the sanitizers).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/json.h"
#include "api/request.h"

static const char *const models[] = {"tiny", "default"};
static const struct api_limits limits = {
	.context = 4096, .vocab = 1000, .models = models, .n_models = 2};

#define USER "{\"role\":\"user\",\"content\":\"hi\"}"

static struct api_request *chat(const char *body)
{
	struct api_request *r;
	struct api_fault f = {0};

	if (api_chat_parse(body, strlen(body), &limits, &r, &f) < 0)
		fail_msg("%s: %s", body, f.message);
	return r;
}

static struct api_request *completions(const char *body)
{
	struct api_request *r;
	struct api_fault f = {0};

	if (api_completions_parse(body, strlen(body), &limits, &r, &f) < 0)
		fail_msg("%s: %s", body, f.message);
	return r;
}

static void defaults(void **state)
{
	struct api_request *r = chat("{\"messages\":[" USER "]}");

	(void)state;
	assert_int_equal(r->endpoint, API_CHAT);
	assert_string_equal(r->model.s, "tiny");
	assert_false(r->stream || r->include_usage || r->has_max_tokens || r->has_seed);
	assert_false(r->has_temperature || r->has_top_p || r->has_top_k || r->has_min_p);
	assert_false(r->logprobs || r->ignore_eos || r->tools || r->single_call || r->echo);
	assert_int_equal(r->n, 1);
	assert_true(r->temperature == 1 && r->top_p == 1 && r->min_p == 0 && r->top_k == 0);
	assert_true(r->repetition_penalty == 1 && r->presence_penalty == 0);
	assert_true(r->cache_prompt && r->add_generation_prompt);
	assert_int_equal(r->n_stops, 0);
	assert_null(r->user.s);
	api_request_close(r);
	/* null is absent */
	r = chat("{\"messages\":[" USER "],\"temperature\":null,\"stop\":null,\"n\":null,"
		 "\"tools\":null,\"seed\":null,\"stream\":null,\"stream_options\":null,"
		 "\"response_format\":null,\"model\":null,\"max_tokens\":null}");
	assert_string_equal(r->model.s, "tiny");
	assert_false(r->has_temperature || r->has_max_tokens || r->has_seed);
	api_request_close(r);
}

static void every_field(void **state)
{
	struct api_request *r = chat(
		" {\"model\":\"default\",\"messages\":[" USER "],\"stream\":true,\"n\":3,"
		"\"stream_options\":{\"include_usage\":true,\"other\":1},\"max_tokens\":5,"
		"\"max_completion_tokens\":7,\"min_tokens\":2,\"temperature\":0.5,\"top_p\":0.25,"
		"\"top_k\":40,\"min_p\":0.125,\"presence_penalty\":-2,\"frequency_penalty\":2,"
		"\"repetition_penalty\":1.5,\"seed\":-1,\"logit_bias\":{\"5\":-100,\"999\":1.5},"
		"\"logprobs\":true,\"top_logprobs\":20,\"stop\":[\"a\\n\",\"\\u00e9\"],"
		"\"ignore_eos\":true,\"priority\":-7,\"timeout\":1.5,\"cache_prompt\":false,"
		"\"user\":\"me\",\"parallel_tool_calls\":false,\"response_format\":"
		"{\"type\":\"text\"},\"modalities\":[\"text\"],\"store\":true,\"metadata\":{\"a\":[]},"
		"\"unknown_field\":[{}],\"functions\":[],\"guided_json\":null,\"suffix\":\"x\"}\n");

	(void)state;
	assert_string_equal(r->model.s, "default");
	assert_true(r->stream && r->include_usage && r->has_max_tokens && r->has_seed);
	assert_int_equal(r->n, 3);
	assert_int_equal(r->max_tokens, 7);
	assert_int_equal(r->min_tokens, 2);
	assert_true(r->has_temperature && r->temperature == 0.5f);
	assert_true(r->has_top_p && r->top_p == 0.25f);
	assert_true(r->has_top_k && r->top_k == 40);
	assert_true(r->has_min_p && r->min_p == 0.125f);
	assert_true(r->presence_penalty == -2 && r->frequency_penalty == 2);
	assert_true(r->repetition_penalty == 1.5f);
	assert_true(r->seed == UINT64_MAX);
	assert_int_equal(r->n_logit_bias, 2);
	assert_true(r->logit_bias[0].token == 5 && r->logit_bias[0].add == -100);
	assert_true(r->logit_bias[1].token == 999 && r->logit_bias[1].add == 1.5f);
	assert_true(r->logprobs && r->top_logprobs == 20);
	assert_int_equal(r->n_stops, 2);
	assert_string_equal(r->stops[0].s, "a\n");
	assert_string_equal(r->stops[1].s, "\xc3\xa9");
	assert_int_equal(r->stops[1].n, 2);
	assert_true(r->ignore_eos && r->priority == -7 && r->timeout_ms == 1500);
	assert_true(!r->cache_prompt && r->single_call);
	assert_string_equal(r->user.s, "me");
	api_request_close(r);
}

static void numbers(void **state)
{
	struct api_request *r = completions(
		"{\"prompt\":\"\",\"seed\":9223372036854775807,\"max_tokens\":1.6e1,\"top_k\":-1,"
		"\"n\":2.0,\"best_of\":2,\"temperature\":0,\"stop\":\"x\",\"logprobs\":0}");

	(void)state;
	assert_true(r->seed == INT64_MAX);
	assert_int_equal(r->max_tokens, 16);
	assert_int_equal(r->n, 2);
	assert_true(r->has_top_k && r->top_k == 0);
	assert_true(r->has_temperature && r->temperature == 0);
	assert_int_equal(r->n_stops, 1);
	assert_true(r->logprobs && r->top_logprobs == 0);
	assert_int_equal(r->n_prompts, 1);
	assert_int_equal(r->prompts[0].text.n, 0);
	assert_null(r->prompts[0].ids);
	api_request_close(r);
}

static void prompts(void **state)
{
	struct api_request *r =
		completions("{\"prompt\":[\"a\\\"\",\"\\ud83d\\ude42\"],\"echo\":true}");

	(void)state;
	assert_true(r->echo);
	assert_int_equal(r->n_prompts, 2);
	assert_string_equal(r->prompts[0].text.s, "a\"");
	assert_string_equal(r->prompts[1].text.s, "\xf0\x9f\x99\x82");
	api_request_close(r);
	r = completions("{\"prompt\":[ 0 , 999,7]}");
	assert_int_equal(r->n_prompts, 1);
	assert_int_equal(r->prompts[0].n_ids, 3);
	assert_int_equal(r->prompts[0].ids[1], 999);
	assert_null(r->prompts[0].text.s);
	api_request_close(r);
	r = completions("{\"prompt\":[[1],[2,3]]}");
	assert_int_equal(r->n_prompts, 2);
	assert_int_equal(r->prompts[1].n_ids, 2);
	assert_int_equal(r->prompts[1].ids[1], 3);
	api_request_close(r);
}

static void expect_template(const char *body, struct api_template_opts opts, const char *want)
{
	struct api_request *r = chat(body);
	struct lt_buf b = LT_BUF_INIT;
	struct api_json root;

	assert_int_equal(api_request_template_json(r, &opts, &b), 0);
	assert_string_equal(b.data, want);
	assert_int_equal(api_json_check(b.data, b.len, 200, &root, NULL), 0);
	lt_buf_fini(&b);
	api_request_close(r);
}

static void template_messages(void **state)
{
	struct api_template_opts none = {0};
	struct api_template_opts opts = {.bos = "<\"B\">", .eos = "", .developer_role = true};

	(void)state;
	expect_template("{\"messages\":[" USER "]}", opts,
			"{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],"
			"\"add_generation_prompt\":true,\"bos_token\":\"<\\\"B\\\">\","
			"\"eos_token\":\"\"}");
	/* parts are joined, unknown members left out, spelling kept */
	expect_template("{\"messages\":[{\"content\":[{\"type\":\"text\",\"text\":\"a\\u00e9\"},"
			"{\"text\":\"\\\"b\",\"type\":\"text\",\"x\":1}],\"role\":\"user\","
			"\"secret\":1,\"name\":\"bob\"}],\"add_generation_prompt\":false}",
			none,
			"{\"messages\":[{\"role\":\"user\",\"content\":\"a\\u00e9\\\"b\","
			"\"name\":\"bob\"}],\"add_generation_prompt\":false}");
	expect_template("{\"messages\":[{\"role\":\"developer\",\"content\":\"d\"}]}", opts,
			"{\"messages\":[{\"role\":\"developer\",\"content\":\"d\"}],"
			"\"add_generation_prompt\":true,\"bos_token\":\"<\\\"B\\\">\","
			"\"eos_token\":\"\"}");
	expect_template("{\"messages\":[{\"role\":\"dev\\u0065loper\",\"content\":\"d\"}]}", none,
			"{\"messages\":[{\"role\":\"system\",\"content\":\"d\"}],"
			"\"add_generation_prompt\":true}");
	expect_template("{\"messages\":[{\"role\":\"assistant\",\"content\":\"c\","
			"\"reasoning\":\"r\",\"tool_calls\":[]},"
			"{\"role\":\"tool\",\"content\":\"t\",\"tool_call_id\":\"id\"}]}",
			none,
			"{\"messages\":[{\"role\":\"assistant\",\"content\":\"c\","
			"\"reasoning_content\":\"r\"},{\"role\":\"tool\",\"content\":\"t\","
			"\"tool_call_id\":\"id\"}],\"add_generation_prompt\":true}");
}

#define CALL(arguments)                                                                            \
	"{\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"i\",\"type\":"           \
	"\"function\",\"function\":{\"arguments\":" arguments ",\"name\":\"f\"}}]}]}"
#define CALLED(arguments)                                                                          \
	"{\"messages\":[{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"type\":"       \
	"\"function\",\"id\":\"i\",\"function\":{\"name\":\"f\",\"arguments\":" arguments          \
	"}}]}],\"add_generation_prompt\":true}"

static void template_arguments(void **state)
{
	struct api_template_opts object = {0}, as_text = {.arguments_as_text = true};

	(void)state;
	expect_template(CALL("\"{\\\"b\\\": 1.50, \\\"a\\\": 123456789012345678901}\""), object,
			CALLED("{\"b\": 1.50, \"a\": 123456789012345678901}"));
	expect_template(CALL("{\"b\": 1.50, \"a\":[]}"), object, CALLED("{\"b\": 1.50, \"a\":[]}"));
	expect_template(CALL("\"\""), object, CALLED("{}"));
	expect_template(CALL("\" \""), object, CALLED("{}"));
	expect_template(CALL("\"not json\""), object, CALLED("\"not json\""));
	expect_template(CALL("\"[1]\""), object, CALLED("\"[1]\""));
	expect_template(CALL("\"{\\\"a\\\":\\\"\\\\u0000\\\"}\""), object,
			CALLED("\"{\\\"a\\\":\\\"\\\\u0000\\\"}\""));
	expect_template(CALL("{\"a\":\"x\"}"), as_text, CALLED("\"{\\\"a\\\":\\\"x\\\"}\""));
	expect_template(CALL("\"{\\\"a\\\":1}\""), as_text, CALLED("\"{\\\"a\\\":1}\""));
}

static void template_tools_and_kwargs(void **state)
{
	struct api_template_opts none = {0};
	struct api_request *r;

	(void)state;
	expect_template("{\"tools\":[ {\"type\":\"function\",\"function\":{\"name\":\"f\","
			"\"parameters\":{\"z\":1.0,\"a\":1e5,\"z2\":10000000000000000000000}}}],"
			"\"messages\":[" USER
			"],\"tool_choice\":\"auto\",\"reasoning_effort\":\"high\","
			"\"chat_template_kwargs\":{\"thinking\":true,\"k\":{\"n\":-0.0}}}",
			none,
			"{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],"
			"\"tools\":[ {\"type\":\"function\",\"function\":{\"name\":\"f\","
			"\"parameters\":{\"z\":1.0,\"a\":1e5,\"z2\":10000000000000000000000}}}],"
			"\"add_generation_prompt\":true,\"thinking\":true,\"k\":{\"n\":-0.0},"
			"\"reasoning_effort\":\"high\"}");
	expect_template(
		"{\"messages\":[" USER "],\"tools\":[{\"function\":{\"name\":\"f\"}}],"
		"\"tool_choice\":\"none\",\"chat_template_kwargs\":{\"reasoning_effort\":1},"
		"\"reasoning_effort\":\"low\"}",
		none,
		"{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],"
		"\"add_generation_prompt\":true,\"reasoning_effort\":1}");
	r = chat("{\"messages\":[" USER "],\"tools\":[]}");
	assert_false(r->tools);
	api_request_close(r);
}

static const char *const seeds[] = {
	"{\"messages\":[{\"role\":\"system\",\"content\":\"a\\u00e9\\n\"},{\"role\":\"user\","
	"\"content\":[{\"type\":\"text\",\"text\":\"x\"},{\"type\":\"text\",\"text\":\"y\"}]},"
	"{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"1\",\"type\":\"function\","
	"\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\\\":1}\"}}]},{\"role\":\"tool\","
	"\"tool_call_id\":\"1\",\"content\":\"{}\"}],\"tools\":[{\"type\":\"function\",\"function\":"
	"{\"name\":\"f\",\"parameters\":{\"a\":[1,2.5e3,-0.1]}}}],\"chat_template_kwargs\":{\"k\":true},"
	"\"stop\":[\"a\",\"b\"],\"logit_bias\":{\"5\":1},\"stream\":true,\"temperature\":0.7}",
	"{\"prompt\":[[1,2,3],[4,5]],\"n\":2,\"max_tokens\":16,\"seed\":-12345678901234,"
	"\"logprobs\":5,\"stream\":true,\"stream_options\":{\"include_usage\":true},\"user\":\"\xc3\xa9\"}",
	"{\"prompt\":[\"one\",\"two \\ud83d\\ude42\"],\"echo\":true,\"stop\":\"\\n\\n\"}",
};

/* Flips, drops, repeats and splices bytes; most results are refused, all must be survived. */
static size_t mutate(char *s, size_t n, size_t cap)
{
	static const char *const bits[] = {
		"{",	 "}", "[",	 "]",	 "\"",	 ",",	  ":",	    "\\u",  "\\", "null",
		"1e999", "-", "\\ud800", "\xff", "\x01", "[[[[[", "\"a\":", "true", "0"};

	for (int i = 1 + rand() % 4; i > 0 && n > 0; i--) {
		size_t at = (size_t)rand() % n, len;
		const char *bit = bits[(size_t)rand() % (sizeof(bits) / sizeof(bits[0]))];
		switch (rand() % 4) {
		case 0: s[at] = (char)rand(); break;
		case 1:
			len = 1 + (size_t)rand() % 8;
			len = len > n - at ? n - at : len;
			memmove(s + at, s + at + len, n - at - len);
			n -= len;
			break;
		case 2:
			len = strlen(bit);
			if (n + len > cap)
				break;
			memmove(s + at + len, s + at, n - at);
			memcpy(s + at, bit, len);
			n += len;
			break;
		default: n = at; break;
		}
	}
	return n;
}

static void survive(const char *body, size_t n, struct api_request *r, struct api_fault *f, int rc)
{
	struct api_template_opts opts = {.arguments_as_text = n % 2};
	struct lt_buf b = LT_BUF_INIT;
	struct api_json root;

	if (rc < 0) {
		assert_null(r);
		assert_int_equal(f->code, rc);
		assert_true(f->message[0] && f->api_code[0]);
		return;
	}
	assert_int_equal(api_json_check(body, n, 64, &root, NULL), 0);
	if (r->chat) {
		assert_int_equal(api_request_template_json(r, &opts, &b), 0);
		assert_int_equal(api_json_check(b.data, b.len, 100, &root, NULL), 0);
	}
	lt_buf_fini(&b);
	api_request_close(r);
}

static void fuzz(void **state)
{
	(void)state;
	srand(1);
	for (int round = 0; round < 60000; round++) {
		const char *seed = seeds[(size_t)round % 3];
		size_t cap = strlen(seed) + 64, n = strlen(seed);
		char *work = malloc(cap), *body;
		struct api_request *r = NULL;
		struct api_fault f = {0};
		int rc;
		assert_non_null(work);
		memcpy(work, seed, n);
		n = mutate(work, n, cap);
		/* exactly n bytes, so that the sanitizer sees a step too far */
		body = malloc(n ? n : 1);
		assert_non_null(body);
		memcpy(body, work, n);
		rc = round % 3 ? api_completions_parse(body, n, &limits, &r, &f)
			       : api_chat_parse(body, n, &limits, &r, &f);
		survive(body, n, r, &f, rc);
		free(body);
		free(work);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults),
		cmocka_unit_test(every_field),
		cmocka_unit_test(numbers),
		cmocka_unit_test(prompts),
		cmocka_unit_test(template_messages),
		cmocka_unit_test(template_arguments),
		cmocka_unit_test(template_tools_and_kwargs),
		cmocka_unit_test(fuzz),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
