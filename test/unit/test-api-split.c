/*
 * api/split.h: reasoning and tool calls. Every case is run on the whole text, cut in two at every
 * place, byte by byte and at random places: the result must be the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/split.h"

/* DeepSeek's and Kimi's markers */
#define CS  "<｜tool▁calls▁begin｜>"
#define CE  "<｜tool▁calls▁end｜>"
#define B   "<｜tool▁call▁begin｜>"
#define E   "<｜tool▁call▁end｜>"
#define S   "<｜tool▁sep｜>"
#define KCS "<|tool_calls_section_begin|>"
#define KCE "<|tool_calls_section_end|>"
#define KB  "<|tool_call_begin|>"
#define KE  "<|tool_call_end|>"
#define KA  "<|tool_call_argument_begin|>"

struct setup {
	bool reasoning, open, single;
	enum api_tool_dialect dialect;
};

static const struct setup plain = {false, false, false, API_TOOLS_NONE};
static const struct setup think = {true, false, false, API_TOOLS_NONE};
static const struct setup opened = {true, true, false, API_TOOLS_NONE};
static const struct setup deep = {false, false, false, API_TOOLS_DEEPSEEK};
static const struct setup deep_think = {true, true, false, API_TOOLS_DEEPSEEK};
static const struct setup deep_single = {false, false, true, API_TOOLS_DEEPSEEK};
static const struct setup kimi = {false, false, false, API_TOOLS_KIMI};
static const struct setup kimi_think = {true, true, false, API_TOOLS_KIMI};

/* What came out, one letter and brackets a part: R{...} C{...} T0{name,id} A0{...}; parts of one
 * kind joined. */
struct seen {
	struct lt_buf text;
	enum api_delta_kind kind;
	uint32_t call;
	bool any;
};

static void see(struct seen *v, const struct api_deltas *d)
{
	for (size_t i = 0; i < d->n; i++) {
		const struct api_delta *x = &d->list[i];
		bool same = v->any && v->kind == x->kind && v->call == x->call &&
			    x->kind != API_DELTA_CALL;
		if (!same) {
			if (v->any)
				lt_buf_adds(&v->text, "} ");
			lt_buf_addc(&v->text, "CRTA"[x->kind]);
			if (x->kind >= API_DELTA_CALL)
				lt_buf_addf(&v->text, "%u", x->call);
			lt_buf_addc(&v->text, '{');
		}
		assert_true(x->n > 0);
		lt_buf_add(&v->text, x->text, x->n);
		if (x->kind == API_DELTA_CALL)
			lt_buf_addf(&v->text, ",%.*s", (int)x->id_n, x->id);
		v->any = true;
		v->kind = x->kind;
		v->call = x->call;
	}
}

/* Splits text with a cut before every i for which cut(i) holds. */
static char *result(const struct setup *how, const char *text, size_t n,
		    bool (*cut)(size_t, size_t), size_t arg)
{
	struct api_deltas d = {0};
	struct seen v = {0};
	struct api_split s;
	size_t from = 0;

	api_split_init(&s, how->reasoning, how->open, how->dialect, how->single, "id_");
	for (size_t i = 1; i <= n; i++) {
		if (i < n && !cut(i, arg))
			continue;
		api_deltas_clear(&d);
		assert_int_equal(api_split_push(&s, text + from, i - from, &d), 0);
		see(&v, &d);
		from = i;
	}
	api_deltas_clear(&d);
	assert_int_equal(api_split_flush(&s, &d), 0);
	assert_int_equal(api_split_held(&s), 0);
	see(&v, &d);
	if (v.any)
		lt_buf_addc(&v.text, '}');
	api_deltas_fini(&d);
	api_split_fini(&s);
	return lt_buf_take(&v.text, NULL);
}

static bool never(size_t i, size_t arg)
{
	(void)i;
	(void)arg;
	return false;
}

static bool always(size_t i, size_t arg)
{
	(void)i;
	(void)arg;
	return true;
}

static bool at(size_t i, size_t arg)
{
	return i == arg;
}

static bool sometimes(size_t i, size_t arg)
{
	(void)i;
	return (size_t)rand() % 10 < arg;
}

static void same(const struct setup *how, const char *text, const char *want,
		 bool (*cut)(size_t, size_t), size_t arg)
{
	char *got = result(how, text, strlen(text), cut, arg);

	assert_string_equal(got, want);
	free(got);
}

static void expect(const struct setup *how, const char *text, const char *want)
{
	same(how, text, want, never, 0);
	same(how, text, want, always, 0);
	for (size_t i = 1; i < strlen(text); i++)
		same(how, text, want, at, i);
	for (int i = 0; i < 50; i++)
		same(how, text, want, sometimes, 1 + (size_t)i % 9);
}

static void content_only(void **state)
{
	(void)state;
	expect(&plain, "", "");
	expect(&plain, "Hello <think>a</think> " CS, "C{Hello <think>a</think> " CS "}");
	expect(&deep, "a < b <｜ <｜tool▁", "C{a < b <｜ <｜tool▁}");
	expect(&kimi, "no <|tool_call_begin|> alone", "C{no <|tool_call_begin|> alone}");
}

static void reasoning(void **state)
{
	(void)state;
	expect(&think, "<think>\nLet me see.\n</think>\n\n42", "R{Let me see.} C{42}");
	expect(&think, " \n<think>a  b</think>c", "R{a  b} C{c}");
	expect(&think, "  no thoughts <think>x</think>", "C{  no thoughts <think>x</think>}");
	expect(&think, " \n", "C{ \n}");
	expect(&think, "<thin", "C{<thin}");
	expect(&think, "<think>\n\n</think>\n\nplain", "C{plain}");
	expect(&opened, "\nso 1 < 2 and </thin\n\n</think>\n\n yes </think>",
	       "R{so 1 < 2 and </thin} C{yes </think>}");
	expect(&opened, "<think>\nagain</think>ok", "R{again} C{ok}");
	expect(&opened, "cut short \n", "R{cut short \n}");
	expect(&opened, "cut short </thi", "R{cut short </thi}");
	expect(&opened, "</think>\n\nHi", "C{Hi}");
	expect(&opened, "thought</think>  \n", "R{thought}");
}

static void deepseek_v31(void **state)
{
	(void)state;
	expect(&deep, "Let me look.\n" CS B "get_weather" S "{\"city\": \"Paris\"}" E CE,
	       "C{Let me look.\n} T0{get_weather,id_0} A0{{\"city\": \"Paris\"}}");
	expect(&deep, CS B "a" S "{}" E B "b" S "{\"x\":{\"y\":[1,\"}\"]}}" E CE,
	       "T0{a,id_0} A0{{}} T1{b,id_1} A1{{\"x\":{\"y\":[1,\"}\"]}}}");
	expect(&deep, CS B "a" S " {\"t\":\"1 < 2 \\\" } <｜tool\"}\n" E "\n" CE "bye",
	       "T0{a,id_0} A0{{\"t\":\"1 < 2 \\\" } <｜tool\"}} C{bye}");
	/* ends missing */
	expect(&deep, CS B "a" S "{\"x\":1}", "T0{a,id_0} A0{{\"x\":1}}");
	expect(&deep, CS B "a" S "{\"x\":1", "T0{a,id_0} A0{{\"x\":1}");
	expect(&deep, CS B "a" S "{\"x\":1}" CE "t", "T0{a,id_0} A0{{\"x\":1}} C{t}");
	/* reasoning before; the section may begin inside it */
	expect(&deep_think, "I'll call.\n</think>\n\n" CS B "f" S "{}" E CE,
	       "R{I'll call.} T0{f,id_0} A0{{}}");
	expect(&deep_think, "I'll call.\n" CS B "f" S "{}" E CE, "R{I'll call.} T0{f,id_0} A0{{}}");
	/* the only call allowed */
	expect(&deep_single, CS B "f" S "{}" E B "g" S "{}" E CE, "T0{f,id_0} A0{{}}");
}

static void deepseek_v3(void **state)
{
	(void)state;
	expect(&deep,
	       CS B "function" S "get_weather\n```json\n{\"city\": \"Rome\"}\n```" E "\n" B
		    "function" S "add\n```json\n{\"a\": 1}\n```" E CE,
	       "T0{get_weather,id_0} A0{{\"city\": \"Rome\"}} T1{add,id_1} A1{{\"a\": 1}}");
	expect(&deep, CS B "function" S "f\n{}" E CE, "T0{f,id_0} A0{{}}");
	/* a function of that name, V3.1's way */
	expect(&deep, CS B "function" S "{\"a\":1}" E CE, "T0{function,id_0} A0{{\"a\":1}}");
	expect(&deep, CS B "f" S "```json\n{\"a\":1}\n```" E CE, "T0{f,id_0} A0{{\"a\":1}}");
}

static void kimi_k2(void **state)
{
	(void)state;
	expect(&kimi,
	       "ok" KCS KB "functions.get_weather:0" KA "{\"city\": \"Oslo\"}" KE KB
	       " functions.add:12 " KA " {\"a\":1} " KE KCE,
	       "C{ok} T0{get_weather,functions.get_weather:0} A0{{\"city\": \"Oslo\"}} "
	       "T1{add,functions.add:12} A1{{\"a\":1}}");
	expect(&kimi, KCS KB "plain_name" KA "{}" KE KCE, "T0{plain_name,plain_name} A0{{}}");
	expect(&kimi_think, "hmm " KCS KB "functions.a:3" KA "{}" KE KCE,
	       "R{hmm} T0{a,functions.a:3} A0{{}}");
}

static void malformed_is_text(void **state)
{
	char longer[2000], want[2100];

	(void)state;
	expect(&deep, CS "nothing here", "C{" CS "nothing here}");
	expect(&deep, CS CE "x", "C{" CS CE "x}");
	expect(&deep, CS, "C{" CS "}");
	expect(&deep, CS B, "C{" CS B "}");
	expect(&deep, CS B "get" E CE, "C{" CS B "get" E CE "}");
	expect(&deep, CS B S "{}" E CE, "C{" CS B S "{}" E CE "}");
	expect(&deep, CS B "two words" S "{}" E, "C{" CS B "two words" S "{}" E "}");
	expect(&deep, CS B "f" S "[1]" E CE, "C{" CS B "f" S "[1]" E CE "}");
	expect(&deep, CS B "f" S E CE, "C{" CS B "f" S E CE "}");
	expect(&deep, CS B "f" S "{\"a\":1}" E "junk" CE, "T0{f,id_0} A0{{\"a\":1}} C{junk" CE "}");
	expect(&deep, CS B "f" S "{}" E "\n" B "g" E CE, "T0{f,id_0} A0{{}} C{\n" B "g" E CE "}");
	/* arguments that turn out to be invalid go to the client as they are */
	expect(&deep, CS B "f" S "{\"a\":" E CE, "T0{f,id_0} A0{{\"a\":}");
	expect(&deep, CS B "f" S "{\"a\":1}, oops" E CE, "T0{f,id_0} A0{{\"a\":1},oops}");
	expect(&kimi, KCS KB "functions.:0" KA "{}" KE KCE,
	       "C{" KCS KB "functions.:0" KA "{}" KE KCE "}");
	/* a header without end does not hold text back for ever */
	snprintf(longer, sizeof(longer), "%s%01000d", CS B, 0);
	snprintf(want, sizeof(want), "C{%s}", longer);
	expect(&deep, longer, want);
	snprintf(longer, sizeof(longer), "%s%01000d{}", CS B "function" S, 0);
	snprintf(want, sizeof(want), "C{%s}", longer);
	expect(&deep, longer, want);
}

/* Random sequences of markers and odds and ends: always the same result, nothing held at the end. */
static void random_soup(void **state)
{
	static const char *const bits[] = {CS,
					   CE,
					   B,
					   E,
					   S,
					   "{",
					   "}",
					   "\"",
					   "\\",
					   " ",
					   "\n",
					   "```",
					   "json",
					   "function",
					   "f",
					   "<",
					   "<｜",
					   "<think>",
					   "</think>",
					   "</",
					   "a b",
					   "functions.x:1",
					   KCS,
					   KCE,
					   KB,
					   KE,
					   KA,
					   ":",
					   "<｜tool▁call"};
	static const struct setup *const all[] = {&plain,      &think,	     &opened, &deep,
						  &deep_think, &deep_single, &kimi,   &kimi_think};

	(void)state;
	srand(5);
	for (int round = 0; round < 6000; round++) {
		const struct setup *how = all[rand() % 8];
		struct lt_buf text = LT_BUF_INIT;
		char *whole;
		lt_buf_adds(&text, "");
		for (int i = rand() % 24; i > 0; i--)
			lt_buf_adds(&text, bits[(size_t)rand() % (sizeof(bits) / sizeof(bits[0]))]);
		whole = result(how, text.data, text.len, never, 0);
		same(how, text.data, whole, always, 0);
		same(how, text.data, whole, sometimes, 2);
		same(how, text.data, whole, sometimes, 7);
		free(whole);
		lt_buf_fini(&text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(content_only), cmocka_unit_test(reasoning),
		cmocka_unit_test(deepseek_v31), cmocka_unit_test(deepseek_v3),
		cmocka_unit_test(kimi_k2),	cmocka_unit_test(malformed_is_text),
		cmocka_unit_test(random_soup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
