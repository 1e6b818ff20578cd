/*
 * api/response.h: the exact bytes of chunks and bodies.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/error.h"
#include "api/json.h"
#include "api/response.h"

struct fixture {
	struct api_request *request;
	struct api_response *response;
	struct lt_buf out;
};

static struct api_request *parse(const char *body)
{
	static const char *const models[] = {"tiny"};
	struct api_limits limits = {
		.context = 4096, .vocab = 1000, .models = models, .n_models = 1};
	struct api_request *r;
	struct api_fault fault = {0};
	int rc = strstr(body, "\"prompt\"")
			 ? api_completions_parse(body, strlen(body), &limits, &r, &fault)
			 : api_chat_parse(body, strlen(body), &limits, &r, &fault);

	if (rc < 0)
		fail_msg("%s", fault.message);
	return r;
}

static void open_with(struct fixture *f, const char *body, struct api_response_opts opts)
{
	f->out = LT_BUF_INIT;
	f->request = parse(body);
	opts.request = f->request;
	opts.id = f->request->endpoint == API_CHAT ? "chatcmpl-0a" : "cmpl-0a";
	opts.created = 1700000000;
	assert_int_equal(api_response_open(&opts, &f->response), 0);
}

static void close_all(struct fixture *f)
{
	api_response_close(f->response);
	api_request_close(f->request);
	lt_buf_fini(&f->out);
}

/* What has come since the last look. */
static void expect(struct fixture *f, const char *want)
{
	assert_string_equal(f->out.len ? f->out.data : "", want);
	lt_buf_clear(&f->out);
}

static void text(struct fixture *f, uint32_t choice, const char *s)
{
	struct api_token t = {.text = s, .n = strlen(s)};

	assert_int_equal(api_response_token(f->response, choice, &t, &f->out), 0);
}

static void finish(struct fixture *f, uint32_t choice, enum api_finish why)
{
	assert_int_equal(api_response_finish(f->response, choice, "", 0, why, &f->out), 0);
}

static void end(struct fixture *f)
{
	struct api_usage usage = {.prompt = 7, .completion = 3, .cached = 4};

	assert_int_equal(api_response_end(f->response, &usage, &f->out), 0);
}

#define MESSAGES "\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]"
#define HEAD                                                                                       \
	"data: {\"id\":\"chatcmpl-0a\",\"object\":\"chat.completion.chunk\","                      \
	"\"created\":1700000000,\"model\":\"tiny\",\"system_fingerprint\":null,\"choices\":["
#define TEXT_HEAD                                                                                  \
	"data: {\"id\":\"cmpl-0a\",\"object\":\"text_completion\","                                \
	"\"created\":1700000000,\"model\":\"tiny\",\"system_fingerprint\":null,"                   \
	"\"choices\":["
#define USAGE                                                                                      \
	"\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":3,\"total_tokens\":10,"              \
	"\"prompt_tokens_details\":{\"cached_tokens\":4}"

static void chat_stream(void **state)
{
	struct fixture f;

	(void)state;
	open_with(&f, "{" MESSAGES ",\"stream\":true,\"stop\":[\"END\"]}",
		  (struct api_response_opts){.fingerprint = "fp\"1"});
	assert_int_equal(api_response_choices(f.response), 1);
	api_response_begin(f.response, NULL, &f.out);
	expect(&f, "data: {\"id\":\"chatcmpl-0a\",\"object\":\"chat.completion.chunk\","
		   "\"created\":1700000000,\"model\":\"tiny\",\"system_fingerprint\":\"fp\\\"1\","
		   "\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},"
		   "\"logprobs\":null,\"finish_reason\":null}]}\n\n");
	text(&f, 0, "Hel\"lo\n");
	expect(&f, "data: {\"id\":\"chatcmpl-0a\",\"object\":\"chat.completion.chunk\","
		   "\"created\":1700000000,\"model\":\"tiny\",\"system_fingerprint\":\"fp\\\"1\","
		   "\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hel\\\"lo\\n\"},"
		   "\"logprobs\":null,\"finish_reason\":null}]}\n\n");
	text(&f, 0, "");
	text(&f, 0, "EN");
	expect(&f, "");
	assert_false(api_response_stopped(f.response, 0));
	text(&f, 0, "D and more");
	expect(&f, "");
	assert_true(api_response_stopped(f.response, 0));
	text(&f, 0, "ignored");
	finish(&f, 0, API_FINISH_LENGTH); /* the stop string came first */
	expect(&f, "data: {\"id\":\"chatcmpl-0a\",\"object\":\"chat.completion.chunk\","
		   "\"created\":1700000000,\"model\":\"tiny\",\"system_fingerprint\":\"fp\\\"1\","
		   "\"choices\":[{\"index\":0,\"delta\":{},\"logprobs\":null,"
		   "\"finish_reason\":\"stop\"}]}\n\n");
	assert_true(api_response_finished(f.response, 0));
	finish(&f, 0, API_FINISH_LENGTH);
	end(&f);
	expect(&f, "data: [DONE]\n\n");
	close_all(&f);
}

static void chat_stream_usage_and_choices(void **state)
{
	struct fixture f;

	(void)state;
	open_with(&f,
		  "{" MESSAGES
		  ",\"stream\":true,\"n\":2,\"stream_options\":{\"include_usage\":true}}",
		  (struct api_response_opts){0});
	api_response_begin(f.response, NULL, &f.out);
	expect(&f, HEAD "{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},"
			"\"logprobs\":null,\"finish_reason\":null}],\"usage\":null}\n\n" HEAD
			"{\"index\":1,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},"
			"\"logprobs\":null,\"finish_reason\":null}],\"usage\":null}\n\n");
	text(&f, 1, "b");
	expect(&f, HEAD "{\"index\":1,\"delta\":{\"content\":\"b\"},\"logprobs\":null,"
			"\"finish_reason\":null}],\"usage\":null}\n\n");
	finish(&f, 0, API_FINISH_STOP);
	lt_buf_clear(&f.out);
	/* the detokenizer's rest belongs to the text */
	api_response_finish(f.response, 1, "\xef\xbf\xbd", 3, API_FINISH_LENGTH, &f.out);
	expect(&f,
	       HEAD "{\"index\":1,\"delta\":{\"content\":\"\xef\xbf\xbd\"},\"logprobs\":null,"
		    "\"finish_reason\":null}],\"usage\":null}\n\n" HEAD
		    "{\"index\":1,\"delta\":{},\"logprobs\":null,\"finish_reason\":\"length\"}],"
		    "\"usage\":null}\n\n");
	end(&f);
	expect(&f, HEAD "]," USAGE "}}\n\ndata: [DONE]\n\n");
	close_all(&f);
}

static void chat_body(void **state)
{
	struct fixture f;

	(void)state;
	open_with(&f, "{" MESSAGES ",\"n\":2}", (struct api_response_opts){0});
	api_response_begin(f.response, NULL, &f.out);
	text(&f, 0, "one ");
	text(&f, 1, "\t2");
	text(&f, 0, "1");
	finish(&f, 0, API_FINISH_STOP);
	finish(&f, 1, API_FINISH_LENGTH);
	expect(&f, "");
	end(&f);
	expect(&f,
	       "{\"id\":\"chatcmpl-0a\",\"object\":\"chat.completion\",\"created\":1700000000,"
	       "\"model\":\"tiny\",\"system_fingerprint\":null,\"choices\":["
	       "{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"one 1\","
	       "\"refusal\":null},\"logprobs\":null,\"finish_reason\":\"stop\"},"
	       "{\"index\":1,\"message\":{\"role\":\"assistant\",\"content\":\"\\t2\","
	       "\"refusal\":null},\"logprobs\":null,\"finish_reason\":\"length\"}]," USAGE "}}");
	close_all(&f);
}

static void completions_stream(void **state)
{
	struct fixture f;
	struct api_str echo[2] = {{NULL, 0}, {(char *)"ids", 3}};

	(void)state;
	open_with(&f, "{\"prompt\":[[5],[6]],\"n\":1,\"echo\":true,\"stream\":true}",
		  (struct api_response_opts){0});
	echo[0] = echo[1];
	api_response_begin(f.response, echo, &f.out);
	expect(&f, TEXT_HEAD "{\"index\":0,\"text\":\"ids\",\"logprobs\":null,"
			     "\"finish_reason\":null}]}\n\n" TEXT_HEAD
			     "{\"index\":1,\"text\":\"ids\",\"logprobs\":null,"
			     "\"finish_reason\":null}]}\n\n");
	text(&f, 1, "</think>");
	expect(&f, TEXT_HEAD "{\"index\":1,\"text\":\"</think>\",\"logprobs\":null,"
			     "\"finish_reason\":null}]}\n\n");
	finish(&f, 0, API_FINISH_LENGTH);
	finish(&f, 1, API_FINISH_STOP);
	expect(&f, TEXT_HEAD "{\"index\":0,\"text\":\"\",\"logprobs\":null,"
			     "\"finish_reason\":\"length\"}]}\n\n" TEXT_HEAD
			     "{\"index\":1,\"text\":\"\",\"logprobs\":null,"
			     "\"finish_reason\":\"stop\"}]}\n\n");
	end(&f);
	expect(&f, "data: [DONE]\n\n");
	close_all(&f);
}

static void completions_body(void **state)
{
	struct fixture f;

	(void)state;
	open_with(&f, "{\"prompt\":[\"a\",\"b\"],\"n\":2,\"echo\":true}",
		  (struct api_response_opts){0});
	assert_int_equal(api_response_choices(f.response), 4);
	api_response_begin(f.response, NULL, &f.out);
	for (uint32_t i = 0; i < 4; i++) {
		text(&f, i, "!");
		finish(&f, i, API_FINISH_STOP);
	}
	end(&f);
	expect(&f,
	       "{\"id\":\"cmpl-0a\",\"object\":\"text_completion\",\"created\":1700000000,"
	       "\"model\":\"tiny\",\"system_fingerprint\":null,\"choices\":["
	       "{\"index\":0,\"text\":\"a!\",\"logprobs\":null,\"finish_reason\":\"stop\"},"
	       "{\"index\":1,\"text\":\"a!\",\"logprobs\":null,\"finish_reason\":\"stop\"},"
	       "{\"index\":2,\"text\":\"b!\",\"logprobs\":null,\"finish_reason\":\"stop\"},"
	       "{\"index\":3,\"text\":\"b!\",\"logprobs\":null,\"finish_reason\":\"stop\"}]," USAGE
	       "}}");
	close_all(&f);
}

#define CALL                                                                                                 \
	"<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>add<｜tool▁sep｜>{\"a\":1}"              \
	"<｜tool▁call▁end｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>{}<｜tool▁call▁end｜>" \
	"<｜tool▁calls▁end｜>"
#define TOOLS "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"add\"}}]"

static void reasoning_and_calls_stream(void **state)
{
	struct fixture f;

	(void)state;
	open_with(&f, "{" MESSAGES "," TOOLS ",\"stream\":true}",
		  (struct api_response_opts){
			  .reasoning = true, .reasoning_open = true, .tools = API_TOOLS_DEEPSEEK});
	text(&f, 0, "mm");
	expect(&f, HEAD "{\"index\":0,\"delta\":{\"reasoning_content\":\"mm\"},\"logprobs\":null,"
			"\"finish_reason\":null}]}\n\n");
	text(&f, 0, "</think>" CALL);
	expect(&f,
	       HEAD "{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"call_0a_0_0\","
		    "\"type\":\"function\",\"function\":{\"name\":\"add\",\"arguments\":\"\"}}]},"
		    "\"logprobs\":null,\"finish_reason\":null}]}\n\n" HEAD
		    "{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,"
		    "\"function\":{\"arguments\":\"{\\\"a\\\":1}\"}}]},"
		    "\"logprobs\":null,\"finish_reason\":null}]}\n\n" HEAD
		    "{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":1,\"id\":\"call_0a_0_1\","
		    "\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]},"
		    "\"logprobs\":null,\"finish_reason\":null}]}\n\n" HEAD
		    "{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":1,"
		    "\"function\":{\"arguments\":\"{}\"}}]},"
		    "\"logprobs\":null,\"finish_reason\":null}]}\n\n");
	finish(&f, 0, API_FINISH_STOP);
	expect(&f, HEAD "{\"index\":0,\"delta\":{},\"logprobs\":null,"
			"\"finish_reason\":\"tool_calls\"}]}\n\n");
	close_all(&f);
}

static void reasoning_and_calls_body(void **state)
{
	struct fixture f;

	(void)state;
	open_with(&f, "{" MESSAGES "," TOOLS "}",
		  (struct api_response_opts){.reasoning = true, .tools = API_TOOLS_DEEPSEEK});
	assert_true(api_response_reasons(f.response, 0));
	text(&f, 0, "<think>");
	text(&f, 0, "a\"");
	assert_true(api_response_reasons(f.response, 0));
	text(&f, 0, "</think>");
	assert_false(api_response_reasons(f.response, 0));
	text(&f, 0, CALL);
	finish(&f, 0, API_FINISH_STOP);
	end(&f);
	expect(&f,
	       "{\"id\":\"chatcmpl-0a\",\"object\":\"chat.completion\",\"created\":1700000000,"
	       "\"model\":\"tiny\",\"system_fingerprint\":null,\"choices\":[{\"index\":0,\"message\":"
	       "{\"role\":\"assistant\",\"content\":null,\"refusal\":null,"
	       "\"reasoning_content\":\"a\\\"\",\"tool_calls\":["
	       "{\"id\":\"call_0a_0_0\",\"type\":\"function\",\"function\":"
	       "{\"name\":\"add\",\"arguments\":\"{\\\"a\\\":1}\"}},"
	       "{\"id\":\"call_0a_0_1\",\"type\":\"function\",\"function\":"
	       "{\"name\":\"f\",\"arguments\":\"{}\"}}]},"
	       "\"logprobs\":null,\"finish_reason\":\"tool_calls\"}]," USAGE
	       ",\"completion_tokens_details\":{\"reasoning_tokens\":3}}}");
	close_all(&f);
}

/* A single call ends the choice; without tools in the request nothing is taken for a call. */
static void calls_only_when_asked(void **state)
{
	struct fixture f;

	(void)state;
	open_with(&f, "{" MESSAGES "," TOOLS ",\"parallel_tool_calls\":false}",
		  (struct api_response_opts){.tools = API_TOOLS_DEEPSEEK});
	text(&f, 0, CALL);
	assert_true(api_response_stopped(f.response, 0));
	finish(&f, 0, API_FINISH_LENGTH);
	end(&f);
	assert_non_null(strstr(f.out.data, "\"finish_reason\":\"tool_calls\""));
	assert_null(strstr(f.out.data, "\"f\""));
	close_all(&f);
	open_with(&f, "{" MESSAGES "," TOOLS ",\"tool_choice\":\"none\"}",
		  (struct api_response_opts){.tools = API_TOOLS_DEEPSEEK});
	text(&f, 0, CALL);
	finish(&f, 0, API_FINISH_STOP);
	end(&f);
	assert_non_null(strstr(f.out.data, "\"finish_reason\":\"stop\""));
	assert_non_null(strstr(f.out.data, "tool▁call▁begin"));
	close_all(&f);
}

static struct api_token with_logprob(const char *s, const char *bytes, float logprob,
				     const struct api_token_bytes *top, uint32_t n_top)
{
	return (struct api_token){.text = s,
				  .n = strlen(s),
				  .self = {bytes, strlen(bytes), logprob},
				  .top = top,
				  .n_top = n_top};
}

static void push(struct fixture *f, struct api_token t)
{
	assert_int_equal(api_response_token(f->response, 0, &t, &f->out), 0);
}

#define ENTRY(token, bytes) "{\"token\":\"" token "\",\"logprob\":-0.5,\"bytes\":[" bytes "],"

static void chat_logprobs(void **state)
{
	static const struct api_token_bytes top[] = {{"a", 1, -0.5f},
						     {"\xc3", 1, -__builtin_inff()}};
	struct fixture f;

	(void)state;
	open_with(&f,
		  "{" MESSAGES ",\"stream\":true,\"logprobs\":true,\"top_logprobs\":2,"
		  "\"stop\":\"xyz\"}",
		  (struct api_response_opts){0});
	push(&f, with_logprob("a", "a", -0.5f, top, 2));
	expect(&f,
	       HEAD "{\"index\":0,\"delta\":{\"content\":\"a\"},\"logprobs\":{\"content\":[" ENTRY(
		       "a", "97") "\"top_logprobs\":[{\"token\":\"a\",\"logprob\":-0.5,"
				  "\"bytes\":[97]},{\"token\":\"\xef\xbf\xbd\","
				  "\"logprob\":-9999.0,\"bytes\":[195]}]}],\"refusal\":null},"
				  "\"finish_reason\":null}]}\n\n");
	/* half a character goes with the text that completes it */
	push(&f, with_logprob("", "\xc3", -0.5f, NULL, 0));
	expect(&f, "");
	push(&f, with_logprob("\xc3\xa9", "\xa9", -0.5f, NULL, 0));
	expect(&f, HEAD
	       "{\"index\":0,\"delta\":{\"content\":\"\xc3\xa9\"},\"logprobs\":{\"content\":[" ENTRY(
		       "\xef\xbf\xbd",
		       "195") "\"top_logprobs\":[]}," ENTRY("\xef\xbf\xbd",
							    "169") "\"top_logprobs\":[]}],\"refusal\":null},"
								   "\"finish_reason\":null}]}\n\n");
	/* held back with the beginning of a stop string; shown text takes its tokens along */
	push(&f, with_logprob("bx", "bx", -0.5f, NULL, 0));
	expect(&f, HEAD "{\"index\":0,\"delta\":{\"content\":\"b\"},\"logprobs\":null,"
			"\"finish_reason\":null}]}\n\n");
	push(&f, with_logprob("y", "y", -0.5f, NULL, 0));
	expect(&f, "");
	push(&f, with_logprob("-xy", "-xy", -0.5f, NULL, 0));
	expect(&f, HEAD
	       "{\"index\":0,\"delta\":{\"content\":\"xy-\"},\"logprobs\":{\"content\":[" ENTRY(
		       "bx",
		       "98,120") "\"top_logprobs\":[]}," ENTRY("y",
							       "121") "\"top_logprobs\":[]}],"
								      "\"refusal\":null},\"finish_reason\":null}]}\n\n");
	/* the token that the stop string begins in is shown, those wholly in it are not */
	push(&f, with_logprob("z", "z", -0.5f, NULL, 0));
	expect(&f, "");
	finish(&f, 0, API_FINISH_STOP);
	expect(&f, HEAD "{\"index\":0,\"delta\":{},\"logprobs\":{\"content\":[" ENTRY(
			   "-xy", "45,120,121") "\"top_logprobs\":[]}],\"refusal\":null},"
						"\"finish_reason\":\"stop\"}]}\n\n");
	close_all(&f);
}

static void completions_logprobs(void **state)
{
	static const struct api_token_bytes top[] = {{" \"b", 3, -1}, {"\xe4\xbd", 2, -2.25f}};
	static const char want[] =
		"\"logprobs\":{\"tokens\":[\"\xc3\xa9\",\" \\\"b\"],\"token_logprobs\":[-0.25,-1],"
		"\"top_logprobs\":[null,{\" \\\"b\":-1,\"bytes:\\\\xe4\\\\xbd\":-2.25}],"
		"\"text_offset\":[0,1]}";
	struct fixture f;

	(void)state;
	open_with(&f, "{\"prompt\":\"p\",\"logprobs\":2}", (struct api_response_opts){0});
	push(&f, with_logprob("\xc3\xa9", "\xc3\xa9", -0.25f, NULL, 0));
	push(&f, with_logprob(" \"b", " \"b", -1, top, 2));
	finish(&f, 0, API_FINISH_STOP);
	end(&f);
	assert_non_null(strstr(f.out.data, want));
	close_all(&f);
}

/* Random text with random stops, streamed and not: the chunks' pieces make up the body's text, and
 * every token's entry comes exactly once. */
static void stream_equals_body(void **state)
{
	static const char *const pieces[] = {"a", "b",	      "ab", "", "\xc3\xa9",
					     "<", "</think>", " ",  "x"};

	(void)state;
	srand(3);
	for (int round = 0; round < 500; round++) {
		struct fixture f[2];
		struct lt_buf joined = LT_BUF_INIT;
		size_t entries[2] = {0, 0}, n = (size_t)rand() % 30;
		const char *p;
		open_with(&f[0],
			  "{" MESSAGES ",\"stream\":true,\"logprobs\":true,"
			  "\"stop\":[\"aba\",\"xx\"]}",
			  (struct api_response_opts){.reasoning = round % 2});
		open_with(&f[1], "{" MESSAGES ",\"logprobs\":true,\"stop\":[\"aba\",\"xx\"]}",
			  (struct api_response_opts){.reasoning = round % 2});
		for (size_t i = 0; i < n; i++) {
			const char *s = pieces[(size_t)rand() % 9];
			push(&f[0], with_logprob(s, s, -0.5f, NULL, 0));
			push(&f[1], with_logprob(s, s, -0.5f, NULL, 0));
		}
		for (int k = 0; k < 2; k++) {
			finish(&f[k], 0, API_FINISH_LENGTH);
			end(&f[k]);
			for (p = f[k].out.data; (p = strstr(p, "\"top_logprobs\"")); p++)
				entries[k]++;
		}
		lt_buf_adds(&joined, "\"content\":\"");
		for (p = f[0].out.data; (p = strstr(p, "{\"content\":\"")); p++)
			lt_buf_add(&joined, p + 12, strcspn(p + 12, "\""));
		lt_buf_adds(&joined, "\",\"refusal\"");
		if (!strstr(f[1].out.data, joined.data))
			fail_msg("%s\n%s\n%s", joined.data, f[0].out.data, f[1].out.data);
		assert_int_equal(entries[0], entries[1]);
		lt_buf_fini(&joined);
		close_all(&f[0]);
		close_all(&f[1]);
	}
}

static void body_limit(void **state)
{
	struct fixture f;
	struct api_token t = {.text = "0123456789", .n = 10};
	int rc = 0;

	(void)state;
	open_with(&f, "{" MESSAGES "}", (struct api_response_opts){.limit = 95});
	for (int i = 0; i < 9; i++)
		assert_int_equal(api_response_token(f.response, 0, &t, &f.out), 0);
	rc = api_response_token(f.response, 0, &t, &f.out);
	assert_int_equal(rc, LT_ETOOBIG);
	close_all(&f);
}

static void errors_and_models(void **state)
{
	struct lt_buf b = LT_BUF_INIT;
	struct api_fault f = {0};
	struct lt_err err = {LT_ETOOLONG, "prompt of 9 tokens"};
	struct api_model models[] = {{"a\"b", 12, 4096}, {"c", 13, 1}};
	unsigned char random[API_ID_BYTES] = {0, 1, 0xab};
	char id[API_ID_LENGTH];

	(void)state;
	api_error_body(&b, LT_EAUTH, "no \"key\"", NULL, "invalid_api_key");
	assert_string_equal(b.data, "{\"error\":{\"message\":\"no \\\"key\\\"\",\"type\":"
				    "\"authentication_error\",\"param\":null,"
				    "\"code\":\"invalid_api_key\"}}");
	lt_buf_clear(&b);
	assert_int_equal(api_fault_from(&f, LT_ETOOLONG, &err, "messages"), LT_ETOOLONG);
	assert_int_equal(api_fault_status(&f), 400);
	api_fault_event(&b, &f);
	assert_string_equal(b.data, "data: {\"error\":{\"message\":\"prompt of 9 tokens\",\"type\":"
				    "\"invalid_request_error\",\"param\":\"messages\","
				    "\"code\":\"context_length_exceeded\"}}\n\n");
	lt_buf_clear(&b);
	api_fault_from(&f, LT_EFULL, NULL, NULL);
	api_fault_body(&b, &f);
	assert_string_equal(b.data, "{\"error\":{\"message\":\"queue full\",\"type\":"
				    "\"rate_limit_error\",\"param\":null,"
				    "\"code\":\"rate_limit_exceeded\"}}");
	lt_buf_clear(&b);
	api_models_body(models, 2, &b);
	assert_string_equal(
		b.data, "{\"object\":\"list\",\"data\":[{\"id\":\"a\\\"b\",\"object\":\"model\","
			"\"created\":12,\"owned_by\":\"latentd\",\"max_model_len\":4096},"
			"{\"id\":\"c\",\"object\":\"model\",\"created\":13,"
			"\"owned_by\":\"latentd\",\"max_model_len\":1}]}");
	lt_buf_clear(&b);
	api_stream_ping(&b);
	assert_string_equal(b.data, ":\n\n");
	lt_buf_fini(&b);
	api_id(API_CHAT, random, id);
	assert_string_equal(id, "chatcmpl-0001ab000000000000000000");
	api_id(API_COMPLETIONS, random, id);
	assert_string_equal(id, "cmpl-0001ab000000000000000000");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(chat_stream),
		cmocka_unit_test(chat_stream_usage_and_choices),
		cmocka_unit_test(chat_body),
		cmocka_unit_test(completions_stream),
		cmocka_unit_test(completions_body),
		cmocka_unit_test(reasoning_and_calls_stream),
		cmocka_unit_test(reasoning_and_calls_body),
		cmocka_unit_test(calls_only_when_asked),
		cmocka_unit_test(chat_logprobs),
		cmocka_unit_test(completions_logprobs),
		cmocka_unit_test(stream_equals_body),
		cmocka_unit_test(body_limit),
		cmocka_unit_test(errors_and_models),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
