/*
 * Malformed requests: each with the status, type, param and code that the sender sees, and words that
 * the message must hold.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/request.h"
#include "base/utf8.h"

struct row {
	const char *body;
	const char *param, *code, *words;
	int status; /* 0: 400 */
};

/* A chat request with one more field. */
#define CHAT(field) "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]," field "}"
#define MESSAGE(m)  "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}," m "]}"
#define CALLS(c)    MESSAGE("{\"role\":\"assistant\",\"tool_calls\":" c "}")
#define TEXT(field) "{\"prompt\":\"x\"," field "}"

static const struct row chat[] = {
	/* not JSON */
	{"", "", "invalid_json", "The body is empty", 0},
	{"  ", "", "invalid_json", "ends at byte 2, where a value is expected", 0},
	{"hello", "", "invalid_json", "at byte 0 a value is expected", 0},
	{"{", "", "invalid_json", "a member's name in double quotes", 0},
	{"{\"messages\"", "", "invalid_json", "ends at byte 11, where a colon", 0},
	{"{\"messages\":[", "", "invalid_json", "ends at byte 13", 0},
	{"{\"messages\":[]", "", "invalid_json", "a comma or } is expected", 0},
	{"{\"messages\":[],}", "", "invalid_json", "a member's name", 0},
	{"{'messages':[]}", "", "invalid_json", "at byte 1 a member's name in double quotes", 0},
	{"{messages:[]}", "", "invalid_json", "a member's name in double quotes", 0},
	{"{\"a\":1 \"b\":2}", "", "invalid_json", "at byte 7 a comma or }", 0},
	{"{\"a\":[1,]}", "", "invalid_json", "at byte 8 a value is expected", 0},
	{"{\"a\":[1 2]}", "", "invalid_json", "a comma or ] is expected", 0},
	{"{\"a\":[1}", "", "invalid_json", "a comma or ] is expected", 0},
	{"{\"a\":01}", "", "invalid_json", "leading zero", 0},
	{"{\"a\":-}", "", "invalid_json", "a digit must follow the minus sign", 0},
	{"{\"a\":1.}", "", "invalid_json", "a digit must follow the decimal point", 0},
	{"{\"a\":1e}", "", "invalid_json", "a digit must follow the exponent", 0},
	{"{\"a\":.5}", "", "invalid_json", "a value is expected", 0},
	{"{\"a\":+1}", "", "invalid_json", "a value is expected", 0},
	{"{\"a\":NaN}", "", "invalid_json", "a value is expected", 0},
	{"{\"a\":nulL}", "", "invalid_json", "a value is expected", 0},
	{"{\"a\":True}", "", "invalid_json", "a value is expected", 0},
	{"{\"a\":\"b}", "", "invalid_json", "a string is not closed", 0},
	{"{\"a\":\"\\x\"}", "", "invalid_json", "unknown escape", 0},
	{"{\"a\":\"\\u12g4\"}", "", "invalid_json", "four hexadecimal digits", 0},
	{"{\"a\":\"\\ud800\"}", "", "invalid_json", "second half of a surrogate pair", 0},
	{"{\"a\":\"\\ud800\\u0041\"}", "", "invalid_json", "second half of a surrogate pair", 0},
	{"{\"a\":\"\\udc00\"}", "", "invalid_json", "without the first", 0},
	{"{\"a\":\"\\u0000\"}", "", "invalid_value", "NUL characters are not allowed", 0},
	{"{\"a\":\"tab\there\"}", "", "invalid_json", "control character", 0},
	{"{\"a\":\"\xff\"}", "", "invalid_json", "not valid UTF-8", 0},
	{"{\"a\":\"\xed\xa0\x80\"}", "", "invalid_json", "not valid UTF-8", 0},
	{"{\"a\":\"\xc0\xaf\"}", "", "invalid_json", "not valid UTF-8", 0},
	{"{\"a\":1}}", "", "invalid_json", "something follows the end", 0},
	{"{} {}", "", "invalid_json", "at byte 3 something follows", 0},
	{"\xef\xbb\xbf{}", "", "invalid_json", "at byte 0", 0},
	{"[1]", "", "invalid_type", "must be a JSON object, but got an array", 0},
	{"\"x\"", "", "invalid_type", "but got a string", 0},
	{"null", "", "invalid_type", "but got null", 0},
	/* messages */
	{"{}", "messages", "missing_required_parameter", "'messages' is missing", 0},
	{"{\"messages\":null}", "messages", "missing_required_parameter", "an array of messages",
	 0},
	{"{\"messages\":\"hi\"}", "messages", "invalid_type", "the string \"hi\"", 0},
	{"{\"messages\":[]}", "messages", "invalid_value", "at least one message", 0},
	{"{\"messages\":[],\"messages\":[]}", "messages", "invalid_value", "given twice", 0},
	{"{\"messages\":[\"hi\"]}", "messages[0]", "invalid_type", "must be an object", 0},
	{MESSAGE("{\"role\":\"user\"}"), "messages[1].content", "missing_required_parameter",
	 "a string or an array of text parts", 0},
	{MESSAGE("{\"content\":\"a\"}"), "messages[1].role", "missing_required_parameter",
	 "\"assistant\"", 0},
	{MESSAGE("{\"role\":\"robot\",\"content\":\"a\"}"), "messages[1].role", "invalid_value",
	 "the string \"robot\"", 0},
	{MESSAGE("{\"role\":1,\"content\":\"a\"}"), "messages[1].role", "invalid_type",
	 "the number 1", 0},
	{MESSAGE("{\"role\":\"user\",\"role\":\"system\",\"content\":\"a\"}"), "messages[1].role",
	 "invalid_value", "given twice", 0},
	{MESSAGE("{\"role\":\"user\",\"content\":null}"), "messages[1].content",
	 "missing_required_parameter", "'messages[1].content' is missing", 0},
	{MESSAGE("{\"role\":\"assistant\",\"content\":null}"), "messages[1].content",
	 "missing_required_parameter", "tool_calls", 0},
	{MESSAGE("{\"role\":\"user\",\"content\":5}"), "messages[1].content", "invalid_type",
	 "the number 5", 0},
	{MESSAGE("{\"role\":\"user\",\"content\":{}}"), "messages[1].content", "invalid_type",
	 "but got an object", 0},
	{MESSAGE("{\"role\":\"user\",\"content\":[]}"), "messages[1].content", "invalid_value",
	 "at least one part", 0},
	{MESSAGE("{\"role\":\"user\",\"content\":[\"a\"]}"), "messages[1].content[0]",
	 "invalid_type", "an object {\"type\":\"text\"", 0},
	{MESSAGE("{\"role\":\"user\",\"content\":[{\"text\":\"a\"}]}"),
	 "messages[1].content[0].type", "missing_required_parameter", "\"text\" is expected", 0},
	{MESSAGE("{\"role\":\"user\",\"content\":[{\"type\":\"text\"}]}"),
	 "messages[1].content[0].text", "missing_required_parameter", "a string", 0},
	{MESSAGE("{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},"
		 "{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:\"}}]}"),
	 "messages[1].content[1].type", "unsupported_value", "reads text only", 0},
	{MESSAGE("{\"role\":\"user\",\"content\":[{\"type\":\"input_audio\"}]}"),
	 "messages[1].content[0].type", "unsupported_value", "\"input_audio\"", 0},
	{MESSAGE("{\"role\":\"user\",\"content\":\"a\",\"name\":3}"), "messages[1].name",
	 "invalid_type", "must be a string", 0},
	{MESSAGE("{\"role\":\"assistant\",\"content\":\"a\",\"function_call\":{\"name\":\"f\"}}"),
	 "messages[1].function_call", "unsupported_parameter", "use 'tool_calls'", 0},
	{MESSAGE("{\"role\":\"assistant\",\"content\":\"a\",\"prefix\":true}"),
	 "messages[1].prefix", "unsupported_parameter", "always taken as complete", 0},
	{MESSAGE("{\"role\":\"user\",\"content\":\"a\",\"tool_calls\":[]}"),
	 "messages[1].tool_calls", "invalid_value", "only in messages of the assistant", 0},
	{CALLS("{}"), "messages[1].tool_calls", "invalid_type", "an array of tool calls", 0},
	{CALLS("[]"), "messages[1].content", "missing_required_parameter", "is missing", 0},
	{CALLS("[{\"id\":\"1\"}]"), "messages[1].tool_calls[0].function",
	 "missing_required_parameter", "name and arguments", 0},
	{CALLS("[{\"id\":7,\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]"),
	 "messages[1].tool_calls[0].id", "invalid_type", "must be a string", 0},
	{CALLS("[{\"type\":\"custom\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]"),
	 "messages[1].tool_calls[0].type", "unsupported_value", "\"function\"", 0},
	{CALLS("[{\"function\":{\"arguments\":\"{}\"}}]"),
	 "messages[1].tool_calls[0].function.name", "missing_required_parameter", "a string", 0},
	{CALLS("[{\"function\":{\"name\":\"f\"}}]"), "messages[1].tool_calls[0].function.arguments",
	 "missing_required_parameter", "holds a JSON object", 0},
	{CALLS("[{\"function\":{\"name\":\"f\",\"arguments\":3}}]"),
	 "messages[1].tool_calls[0].function.arguments", "invalid_type", "the number 3", 0},
	/* tools and template */
	{CHAT("\"tools\":{}"), "tools", "invalid_type", "an array of tools", 0},
	{CHAT("\"tools\":[1]"), "tools[0]", "invalid_type", "must be an object", 0},
	{CHAT("\"tools\":[{\"type\":\"function\"}]"), "tools[0].function",
	 "missing_required_parameter", "the function's name", 0},
	{CHAT("\"tools\":[{\"type\":\"web_search\",\"function\":{\"name\":\"f\"}}]"),
	 "tools[0].type", "unsupported_value", "\"web_search\"", 0},
	{CHAT("\"tools\":[{\"function\":{\"name\":\"\"}}]"), "tools[0].function.name",
	 "invalid_value", "1 to 256 bytes", 0},
	{CHAT("\"tools\":[{\"function\":{\"name\":\"f\",\"parameters\":[]}}]"),
	 "tools[0].function.parameters", "invalid_type", "JSON schema object", 0},
	{CHAT("\"tool_choice\":\"required\""), "tool_choice", "unsupported_value",
	 "can't be forced", 0},
	{CHAT("\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"f\"}}"),
	 "tool_choice", "unsupported_value", "can't be forced", 0},
	{CHAT("\"tool_choice\":\"maybe\""), "tool_choice", "invalid_value", "\"maybe\"", 0},
	{CHAT("\"tool_choice\":true"), "tool_choice", "invalid_type", "but got true", 0},
	{CHAT("\"chat_template_kwargs\":[]"), "chat_template_kwargs", "invalid_type", "an object",
	 0},
	{CHAT("\"chat_template_kwargs\":{\"bos_token\":\"x\"}"), "chat_template_kwargs.bos_token",
	 "invalid_value", "can't be set there", 0},
	{CHAT("\"chat_template_kwargs\":{\"e\\u006fs_token\":\"x\"}"),
	 "chat_template_kwargs.eos_token", "invalid_value", "can't be set there", 0},
	{CHAT("\"chat_template_kwargs\":{\"messages\":[]}"), "chat_template_kwargs.messages",
	 "invalid_value", "can't be set there", 0},
	{CHAT("\"response_format\":{\"type\":\"json_object\"}"), "response_format",
	 "unsupported_value", "structured output is not supported", 0},
	{CHAT("\"response_format\":{}"), "response_format.type", "missing_required_parameter",
	 "\"text\"", 0},
	{CHAT("\"response_format\":\"json\""), "response_format", "invalid_type", "an object", 0},
	{CHAT("\"modalities\":[\"text\",\"audio\"]"), "modalities", "unsupported_value", "audio",
	 0},
	{CHAT("\"functions\":[{\"name\":\"f\"}]"), "functions", "unsupported_parameter",
	 "use 'tools'", 0},
	{CHAT("\"guided_json\":{\"type\":\"object\"}"), "guided_json", "unsupported_parameter",
	 "grammar or schema", 0},
	{CHAT("\"continue_final_message\":true"), "continue_final_message", "unsupported_parameter",
	 "", 0},
	{CHAT("\"stop_token_ids\":[3]"), "stop_token_ids", "unsupported_parameter", "use 'stop'",
	 0},
	{CHAT("\"reasoning_effort\":3"), "reasoning_effort", "invalid_type", "a string", 0},
	{CHAT("\"add_generation_prompt\":1"), "add_generation_prompt", "invalid_type",
	 "true or false", 0},
	/* sampling */
	{CHAT("\"temperature\":\"hot\""), "temperature", "invalid_type", "the string \"hot\"", 0},
	{CHAT("\"temperature\":2.1"), "temperature", "invalid_value", "from 0 to 2", 0},
	{CHAT("\"temperature\":-0.1"), "temperature", "invalid_value", "the number -0.1", 0},
	{CHAT("\"temperature\":1e999"), "temperature", "invalid_value", "the number 1e999", 0},
	{CHAT("\"top_p\":0"), "top_p", "invalid_value", "above 0, at most 1", 0},
	{CHAT("\"top_p\":1e-60"), "top_p", "invalid_value", "above 0", 0},
	{CHAT("\"top_p\":1.01"), "top_p", "invalid_value", "at most 1", 0},
	{CHAT("\"top_k\":-2"), "top_k", "invalid_value", "an integer from -1", 0},
	{CHAT("\"top_k\":1.5"), "top_k", "invalid_value", "the number 1.5", 0},
	{CHAT("\"min_p\":1.5"), "min_p", "invalid_value", "from 0 to 1", 0},
	{CHAT("\"presence_penalty\":-2.5"), "presence_penalty", "invalid_value", "-2 to 2", 0},
	{CHAT("\"frequency_penalty\":3"), "frequency_penalty", "invalid_value", "-2 to 2", 0},
	{CHAT("\"repetition_penalty\":0"), "repetition_penalty", "invalid_value", "above 0", 0},
	{CHAT("\"seed\":9223372036854775808"), "seed", "invalid_value",
	 "-9223372036854775808 to 9223372036854775807", 0},
	{CHAT("\"seed\":1.5"), "seed", "invalid_value", "an integer", 0},
	{CHAT("\"seed\":[]"), "seed", "invalid_type", "but got an array", 0},
	{CHAT("\"n\":0"), "n", "invalid_value", "from 1 to 8", 0},
	{CHAT("\"n\":9"), "n", "invalid_value", "from 1 to 8", 0},
	{CHAT("\"max_tokens\":0"), "max_tokens", "invalid_value", "from 1 to 50", 0},
	{CHAT("\"max_tokens\":51"), "max_tokens", "invalid_value", "the number 51", 0},
	{CHAT("\"max_tokens\":\"5\""), "max_tokens", "invalid_type", "the string \"5\"", 0},
	{CHAT("\"max_completion_tokens\":-1"), "max_completion_tokens", "invalid_value",
	 "the number -1", 0},
	{CHAT("\"max_tokens\":99999999999999999999999999"), "max_tokens", "invalid_value",
	 "99999999999999999999999999", 0},
	{CHAT("\"min_tokens\":20,\"max_tokens\":10"), "min_tokens", "invalid_value",
	 "at most 'max_tokens' (10), but got 20", 0},
	{CHAT("\"stop\":\"\""), "stop", "invalid_value", "1 to 16 bytes", 0},
	{CHAT("\"stop\":7"), "stop", "invalid_type", "array of strings", 0},
	{CHAT("\"stop\":[\"a\",7]"), "stop[1]", "invalid_type", "must be a string", 0},
	{CHAT("\"stop\":[\"a\",\"b\",\"c\"]"), "stop", "invalid_value",
	 "at most 2 entries, but got 3", 0},
	{CHAT("\"stop\":\"12345678901234567\""), "stop", "invalid_value", "1 to 16 bytes", 0},
	{CHAT("\"logit_bias\":[]"), "logit_bias", "invalid_type", "token ids", 0},
	{CHAT("\"logit_bias\":{\"abc\":1}"), "logit_bias", "invalid_value", "the key \"abc\"", 0},
	{CHAT("\"logit_bias\":{\"-1\":1}"), "logit_bias", "invalid_value", "the key \"-1\"", 0},
	{CHAT("\"logit_bias\":{\"\":1}"), "logit_bias", "invalid_value", "the key \"\"", 0},
	{CHAT("\"logit_bias\":{\"1000\":1}"), "logit_bias", "invalid_value", "from 0 to 999", 0},
	{CHAT("\"logit_bias\":{\"5\":101}"), "logit_bias.5", "invalid_value", "-100 to 100", 0},
	{CHAT("\"logit_bias\":{\"5\":\"1\"}"), "logit_bias.5", "invalid_type", "-100 to 100", 0},
	{CHAT("\"logit_bias\":{\"5\":1,\"05\":1}"), "logit_bias.05", "invalid_value", "twice", 0},
	{CHAT("\"logit_bias\":{\"1\":1,\"2\":1,\"3\":1,\"4\":1}"), "logit_bias", "invalid_value",
	 "at most 3 entries, but got 4", 0},
	{CHAT("\"logprobs\":5"), "logprobs", "invalid_type", "true or false", 0},
	{CHAT("\"top_logprobs\":3"), "top_logprobs", "invalid_value",
	 "only when 'logprobs' is true", 0},
	{CHAT("\"logprobs\":true,\"top_logprobs\":21"), "top_logprobs", "invalid_value",
	 "from 0 to 20", 0},
	{CHAT("\"stream\":\"yes\""), "stream", "invalid_type", "true or false", 0},
	{CHAT("\"stream\":true,\"stream\":false"), "stream", "invalid_value", "given twice", 0},
	{CHAT("\"stream\":true,\"str\\u0065am\":false"), "stream", "invalid_value", "given twice",
	 0},
	{CHAT("\"stream_options\":{\"include_usage\":true}"), "stream_options", "invalid_value",
	 "only when 'stream' is true", 0},
	{CHAT("\"stream\":true,\"stream_options\":{\"include_usage\":1}"),
	 "stream_options.include_usage", "invalid_type", "true or false", 0},
	{CHAT("\"stream\":true,\"stream_options\":true"), "stream_options", "invalid_type",
	 "an object", 0},
	{CHAT("\"ignore_eos\":0"), "ignore_eos", "invalid_type", "true or false", 0},
	{CHAT("\"priority\":101"), "priority", "invalid_value", "-100 to 100", 0},
	{CHAT("\"timeout\":0"), "timeout", "invalid_value", "seconds above 0", 0},
	{CHAT("\"timeout\":\"5s\""), "timeout", "invalid_type", "seconds", 0},
	{CHAT("\"cache_prompt\":1"), "cache_prompt", "invalid_type", "true or false", 0},
	{CHAT("\"user\":17"), "user", "invalid_type", "must be a string", 0},
	{CHAT("\"skip_special_tokens\":false"), "skip_special_tokens", "unsupported_value", "true",
	 0},
	{CHAT("\"model\":\"gpt-4\""), "model", "model_not_found",
	 "'gpt-4' does not exist; served here: 'tiny', 'default'", 404},
	{CHAT("\"model\":\"\""), "model", "model_not_found", "served here", 404},
	{CHAT("\"model\":4"), "model", "invalid_type", "must be a string", 0},
};

static const struct row completions[] = {
	{"{}", "prompt", "missing_required_parameter", "array of token ids", 0},
	{"{\"prompt\":null}", "prompt", "missing_required_parameter", "is missing", 0},
	{"{\"prompt\":5}", "prompt", "invalid_type", "the number 5", 0},
	{"{\"prompt\":{}}", "prompt", "invalid_type", "an object", 0},
	{"{\"prompt\":[]}", "prompt", "invalid_value", "empty array", 0},
	{"{\"prompt\":[true]}", "prompt[0]", "invalid_type", "but got true", 0},
	{"{\"prompt\":[[]]}", "prompt[0]", "invalid_value", "at least one token id", 0},
	{"{\"prompt\":[1,\"a\"]}", "prompt[1]", "invalid_type", "from 0 to 999", 0},
	{"{\"prompt\":[\"a\",1]}", "prompt[1]", "invalid_type", "as the first prompt is", 0},
	{"{\"prompt\":[[1],\"a\"]}", "prompt[1]", "invalid_type", "as the first prompt is", 0},
	{"{\"prompt\":[[1],[2,-3]]}", "prompt[1][1]", "invalid_value", "the number -3", 0},
	{"{\"prompt\":[1000]}", "prompt[0]", "invalid_value", "from 0 to 999", 0},
	{"{\"prompt\":[1.5]}", "prompt[0]", "invalid_value", "the number 1.5", 0},
	{"{\"prompt\":[4294967297]}", "prompt[0]", "invalid_value", "4294967297", 0},
	{"{\"prompt\":[1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9,0]}", "prompt",
	 "context_length_exceeded", "maximum context length is 20 tokens", 0},
	{"{\"prompt\":[\"a\",\"b\",\"c\",\"d\",\"e\"]}", "prompt", "invalid_value",
	 "at most 4 entries, but got 5", 0},
	{"{\"prompt\":[\"a\",\"b\",\"c\"],\"n\":3}", "n", "invalid_value",
	 "at most 8, but got 3 times 3", 0},
	{TEXT("\"suffix\":\"end\""), "suffix", "unsupported_parameter", "inserted", 0},
	{TEXT("\"best_of\":2"), "best_of", "unsupported_value", "must equal 'n' (1), but got 2", 0},
	{TEXT("\"logprobs\":true"), "logprobs", "invalid_type", "from 0 to 20", 0},
	{TEXT("\"logprobs\":21"), "logprobs", "invalid_value", "from 0 to 20", 0},
	{TEXT("\"echo\":true,\"logprobs\":1"), "echo", "unsupported_value", "prompt tokens", 0},
	{TEXT("\"echo\":\"no\""), "echo", "invalid_type", "true or false", 0},
	{TEXT("\"prompt\":\"y\""), "prompt", "invalid_value", "given twice", 0},
	{TEXT("\"response_format\":{\"type\":\"json_schema\"}"), "response_format",
	 "unsupported_value", "json_schema", 0},
	{TEXT("\"prompt_logprobs\":1"), "prompt_logprobs", "unsupported_parameter", "", 0},
};

static struct api_limits limits(void)
{
	static const char *const models[] = {"tiny", "default"};

	return (struct api_limits){.context = 20,
				   .vocab = 1000,
				   .prompts = 4,
				   .choices = 8,
				   .stops = 2,
				   .stop_bytes = 16,
				   .logit_bias = 3,
				   .max_tokens = 50,
				   .messages = 10,
				   .tools = 3,
				   .models = models,
				   .n_models = 2};
}

typedef int parser(const char *, size_t, const struct api_limits *, struct api_request **,
		   struct api_fault *);

static void check(const struct row *row, parser *parse)
{
	struct api_limits l = limits();
	struct api_request *r = NULL;
	struct api_fault f = {0};
	int rc = parse(row->body, strlen(row->body), &l, &r, &f);

	if (rc == 0)
		fail_msg("%s was accepted", row->body);
	assert_null(r);
	assert_int_equal(rc, f.code);
	if (strcmp(f.param, row->param) || strcmp(f.api_code, row->code) ||
	    !strstr(f.message, row->words) ||
	    api_fault_status(&f) != (row->status ? row->status : 400))
		fail_msg("%s\ngave %d '%s' '%s': %s", row->body, api_fault_status(&f), f.param,
			 f.api_code, f.message);
	assert_string_equal(lt_error_type(f.code), "invalid_request_error");
	/* a fault need not be asked for */
	assert_int_equal(parse(row->body, strlen(row->body), &l, &r, NULL), rc);
}

static void chat_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(chat) / sizeof(chat[0]); i++)
		check(&chat[i], api_chat_parse);
}

static void completions_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(completions) / sizeof(completions[0]); i++)
		check(&completions[i], api_completions_parse);
}

static void expect_fault(struct lt_buf *body, const char *code, const char *words)
{
	struct row row = {body->data, "", code, words, 0};

	check(&row, api_chat_parse);
	lt_buf_fini(body);
}

static void depth(void **state)
{
	struct lt_buf b = LT_BUF_INIT;

	(void)state;
	for (int i = 0; i < 65; i++)
		lt_buf_adds(&b, "[");
	expect_fault(&b, "invalid_json", "deeper than the 64 levels allowed, at byte 64");
	for (int i = 0; i < 100000; i++)
		lt_buf_adds(&b, "{\"a\":[");
	expect_fault(&b, "invalid_json", "deeper than the 64 levels");
}

static void too_many(void **state)
{
	struct row messages = {.param = "messages",
			       .code = "invalid_value",
			       .words = "at most 10 entries, but got 11"};
	struct row tools = {
		.param = "tools", .code = "invalid_value", .words = "at most 3 entries, but got 4"};
	struct lt_buf b = LT_BUF_INIT;

	(void)state;
	lt_buf_adds(&b, "{\"messages\":[");
	for (int i = 0; i < 11; i++)
		lt_buf_addf(&b, "%s{\"role\":\"user\",\"content\":\"\"}", i ? "," : "");
	lt_buf_adds(&b, "]}");
	messages.body = b.data;
	check(&messages, api_chat_parse);
	lt_buf_fini(&b);
	tools.body =
		CHAT("\"tools\":[{\"function\":{\"name\":\"a\"}},{\"function\":{\"name\":\"a\"}},"
		     "{\"function\":{\"name\":\"a\"}},{\"function\":{\"name\":\"a\"}}]");
	check(&tools, api_chat_parse);
}

/* A field that holds a string of 100,000 characters. */
static void long_value(const char *field, int rc)
{
	struct api_limits l = limits();
	struct lt_buf b = LT_BUF_INIT;
	struct api_request *r;
	struct api_fault f;

	lt_buf_addf(&b, "{\"prompt\":\"x\",\"%s\":\"a", field);
	for (int i = 0; i < 100000; i++)
		lt_buf_adds(&b, "\xe4\xbd\xa0");
	lt_buf_adds(&b, "\"}");
	assert_int_equal(api_completions_parse(b.data, b.len, &l, &r, &f), rc);
	assert_string_equal(f.param, field);
	assert_true(lt_utf8_valid(f.message, strlen(f.message), NULL));
	assert_true(strlen(f.message) < 200);
	lt_buf_fini(&b);
}

/* Long values are cut in messages, never inside a character. */
static void long_values(void **state)
{
	(void)state;
	long_value("model", LT_ENOENT);
	long_value("stream", LT_EINVAL);
	long_value("stop", LT_EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(chat_table),  cmocka_unit_test(completions_table),
		cmocka_unit_test(depth),       cmocka_unit_test(too_many),
		cmocka_unit_test(long_values),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
