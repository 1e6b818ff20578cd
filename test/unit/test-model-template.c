/*
 * model/template.c and the interpreter behind it: cases whose results come from Jinja itself
 * (test/fixtures/templates), where characters come from, limits, malformed templates and inputs,
 * and, where they are present, published templates.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <cjson/cJSON.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "model/template.h"

/* 2024-03-05 06:07:08 UTC */
static const int64_t NOW = 1709618828;

static int render(const char *source, const char *json, const struct mdl_template_limits *limits,
		  struct mdl_rendered *out, struct lt_err *err)
{
	struct mdl_template *t;
	int rc;

	*out = (struct mdl_rendered){0};
	*err = (struct lt_err){0};
	rc = mdl_template_open(source, strlen(source), &t, err);
	if (rc < 0)
		return rc;
	rc = mdl_template_render(t, json, strlen(json), NOW, limits, out, err);
	mdl_template_close(t);
	return rc;
}

/* --- files of cases ---------------------------------------------------------------------------- */

static char *read_all(const char *path)
{
	struct lt_err err = {0};
	char *data;
	size_t n;

	if (lt_read_file(path, 64 << 20, &data, &n, &err) < 0)
		fail_msg("%s", err.text);
	return data;
}

/* Renders one case and compares; returns whether it is as wanted, and says so if not. */
static bool check_case(const char *name, const char *source, const char *json, const cJSON *want)
{
	const cJSON *output = cJSON_GetObjectItem(want, "output");
	struct mdl_rendered r;
	struct lt_err err;
	int rc = render(source, json, NULL, &r, &err);
	bool ok = output ? rc == 0 && strcmp(r.text, output->valuestring) == 0 : rc < 0;

	if (!ok && output)
		print_error("%s\n  template %s\n  want     %s\n  got      %s\n", name, source,
			    output->valuestring, rc < 0 ? err.text : r.text);
	else if (!ok)
		print_error("%s\n  template %s\n  want an error, got %s\n", name, source, r.text);
	if (rc < 0)
		assert_string_not_equal(err.text, "");
	mdl_rendered_fini(&r);
	return ok;
}

/* Cases of our own, one object a line: name, template, input (JSON in a string, so that 1.0 stays
 * 1.0), and output or error. */
static void own_cases(void **unused)
{
	char path[1024], *data, *at, *line;
	size_t bad = 0, n = 0;

	(void)unused;
	snprintf(path, sizeof(path), "%s/test/fixtures/templates/cases.jsonl", getenv("LT_SRCDIR"));
	data = at = read_all(path);
	while ((line = strsep(&at, "\n")) != NULL) {
		cJSON *c = *line ? cJSON_Parse(line) : NULL;

		if (!*line)
			continue;
		assert_non_null(c);
		bad += !check_case(cJSON_GetObjectItem(c, "name")->valuestring,
				   cJSON_GetObjectItem(c, "template")->valuestring,
				   cJSON_GetObjectItem(c, "input")->valuestring, c);
		n++;
		cJSON_Delete(c);
	}
	free(data);
	assert_true(n > 300);
	assert_int_equal(bad, 0);
}

/* The variables of a published case: kwargs flattened, defaults put in. */
static char *published_input(cJSON *input)
{
	cJSON *kwargs = cJSON_DetachItemFromObject(input, "kwargs"), *item;

	while (kwargs && (item = kwargs->child) != NULL)
		cJSON_AddItemToObject(input, item->string,
				      cJSON_DetachItemViaPointer(kwargs, item));
	cJSON_Delete(kwargs);
	if (!cJSON_GetObjectItem(input, "tools"))
		cJSON_AddNullToObject(input, "tools");
	cJSON_AddNullToObject(input, "documents");
	return cJSON_PrintUnformatted(input);
}

static const char *fixtures(char *path, size_t n)
{
	const char *folder = getenv("LT_FIXTURES");

	if (folder)
		snprintf(path, n, "%s", folder);
	else
		snprintf(path, n, "%s/../shared/fixtures", getenv("LT_SRCDIR"));
	return path;
}

/* Templates of published models, which are not ours to ship. */
static void published_cases(void **unused)
{
	char folder[1000], path[1400], *data, *at, *line;
	size_t bad = 0, n = 0;

	(void)unused;
	fixtures(folder, sizeof(folder));
	snprintf(path, sizeof(path), "%s/templates/cases.jsonl", folder);
	if (!lt_is_file(path)) {
		print_message("skipped: no %s (LT_FIXTURES names another folder)\n", path);
		skip();
	}
	data = at = read_all(path);
	while ((line = strsep(&at, "\n")) != NULL) {
		cJSON *c = *line ? cJSON_Parse(line) : NULL;
		char *source, *json;

		if (!*line)
			continue;
		assert_non_null(c);
		snprintf(path, sizeof(path), "%s/templates/%s", folder,
			 cJSON_GetObjectItem(c, "template")->valuestring);
		source = read_all(path);
		json = published_input(cJSON_GetObjectItem(c, "input"));
		bad += !check_case(cJSON_GetObjectItem(c, "name")->valuestring, source, json, c);
		n++;
		free(json);
		free(source);
		cJSON_Delete(c);
	}
	free(data);
	assert_true(n >= 126);
	assert_int_equal(bad, 0);
}

/* --- trust ------------------------------------------------------------------------------------- */

/* The trusted text with untrusted runs as "_" for each byte. */
static void trusted_text(const struct mdl_rendered *r, char *out)
{
	size_t at = 0;

	for (size_t i = 0; i < r->n_parts; i++) {
		assert_int_equal(r->parts[i].start, at);
		assert_true(r->parts[i].len > 0);
		assert_true(i == 0 || r->parts[i].trusted != r->parts[i - 1].trusted);
		for (size_t k = 0; k < r->parts[i].len; k++)
			out[at + k] = r->parts[i].trusted ? r->text[at + k] : '_';
		at += r->parts[i].len;
	}
	assert_int_equal(at, r->n);
	out[at] = '\0';
}

/* x is "<a>" and m[0].c is "<b>", both from the input. */
static const struct {
	const char *source, *want;
} trust[] = {
	{"<t>", "<t>"},
	{"{{ x }}", "___"},
	{"{{ bos_token }}{{ eos_token }}", "<s></s>"},
	{"{{ m[0].bos_token }}", "_______"},
	{"<t>{{ x }}<t>", "<t>___<t>"},
	{"{{ '<t>' + x + '</t>' }}", "<t>___</t>"},
	{"{{ '<t>' ~ x ~ 1 }}", "<t>____"},
	{"{% set y = '<t>' + x %}{{ (y + y)[1:8] }}", "t>___<t"},
	{"{{ ('<t>' + x)[::-1] }}", "___>t<"},
	{"{{ ('<t>' + x)|upper }}", "<T>___"},
	{"{{ ('<t> ' + x + ' ')|trim }}", "<t> ___"},
	{"{{ ('a,' + x + ',b').split(',')|join('|') }}", "a|___|b"},
	{"{{ x.replace('a', 'T') }}", "_T_"},
	{"{{ 'axa'.replace('x', x) }}", "a___a"},
	{"{{ [x, '<t>']|join('-') }}", "___-<t>"},
	{"{{ [x, '<t>'] }}", "_________<t>__"},
	{"{{ m|tojson }}", "______________________________________"},
	{"{{ '<t>'|tojson }}", "_<t>_"},
	{"{{ '%s<t>%s'|format(x, '<u>') }}", "___<t><u>"},
	{"{{ '<t>{}'.format(x) }}", "<t>___"},
	{"{% macro f(a) %}<t>{{ a }}{% endmacro %}{{ f(x) }}{{ f('<u>') }}", "<t>___<t><u>"},
	{"{% set y %}<t>{{ x }}{% endset %}{{ y }}", "<t>___"},
	{"{% filter upper %}<t>{{ x }}{% endfilter %}", "<T>___"},
	{"{% set ns = namespace(y='') %}{% for c in m %}{% set ns.y = ns.y + '<t>' + c.c %}"
	 "{% endfor %}{{ ns.y }}",
	 "<t>___"},
	{"{{ x if x else '<t>' }}{{ z|default('<t>') }}", "___<t>"},
	{"{{ m[0].keys()|first }}{{ m[0]|items|first|last }}", "____"},
	{"{% for c in 'a' ~ x %}{{ c }}{% endfor %}", "a___"},
	{"{{ ('a\n' + x)|indent(1) }}", "a_____"},
	{"{{ x * 2 }}{{ 'ab' * 2 }}", "______abab"},
	{"{{ strftime_now('%Y') }}{{ x|length }}", "_____"},
	{"{{ x|title ~ 'ß'|upper }}", "___SS"},
	{"{{ ('<' ~ 't>')|e }}{{ x|e }}", "&lt;t&gt;_________"},
};

static void trust_follows_characters(void **unused)
{
	static const char json[] = "{\"x\":\"<a>\",\"bos_token\":\"<s>\",\"eos_token\":\"</s>\","
				   "\"m\":[{\"c\":\"<b>\",\"bos_token\":\"<b>fake\"}]}";
	struct mdl_rendered r;
	struct lt_err err;
	char got[256];

	(void)unused;
	for (size_t i = 0; i < sizeof(trust) / sizeof(trust[0]); i++) {
		if (render(trust[i].source, json, NULL, &r, &err) < 0)
			fail_msg("%s: %s", trust[i].source, err.text);
		trusted_text(&r, got);
		if (strcmp(got, trust[i].want) != 0)
			fail_msg("%s: want %s, got %s (%s)", trust[i].source, trust[i].want, got,
				 r.text);
		mdl_rendered_fini(&r);
	}
}

/* --- faults ------------------------------------------------------------------------------------ */

static const struct {
	const char *source;
	int code;
	const char *words;
} faults[] = {
	{"a\n{{ x", LT_EFORMAT, "line 2: expected '}}'"},
	{"{% if x %}", LT_EFORMAT, "'elif' is missing (opened in line 1)"},
	{"{% for x %}", LT_EFORMAT, "expected 'in'"},
	{"{% endif %}", LT_EFORMAT, "unknown tag 'endif'"},
	{"{% nothing %}", LT_EFORMAT, "unknown tag 'nothing'"},
	{"{{ 'abc }}", LT_EFORMAT, "string without closing quote"},
	{"{{ a b }}", LT_EFORMAT, "expected '}}', got 'b'"},
	{"{{ (1, 2] }}", LT_EFORMAT, "unexpected ']', expected ')'"},
	{"{{ 1 + }}", LT_EFORMAT, "expected an expression, got '}}'"},
	{"{{ a ! b }}", LT_EFORMAT, "unexpected character '!'"},
	{"{# never", LT_EFORMAT, "comment without end"},
	{"{% raw %}x", LT_EFORMAT, "without 'endraw'"},
	{"{% set 1 = 2 %}", LT_EFORMAT, "can be assigned to"},
	{"{% set true = 2 %}", LT_EFORMAT, "can be assigned to"},
	{"{% break %}", LT_EFORMAT, "'break' outside a loop"},
	{"{% for i in x %}{% set loop = 1 %}{% endfor %}", LT_EFORMAT, "'loop' can't be assigned"},
	{"{{ x|nosuch }}", LT_EFORMAT, "no filter named 'nosuch'"},
	{"{{ x is nosuch }}", LT_EFORMAT, "no test named 'nosuch'"},
	{"{{ f(a=1, 2) }}", LT_EFORMAT, "positional argument follows"},
	{"{{ f(a=1, a=2) }}", LT_EFORMAT, "'a' stands twice"},
	{"{% macro m(a, a) %}{% endmacro %}", LT_EFORMAT, "'a' stands twice"},
	{"{% macro m(a=1, b) %}{% endmacro %}", LT_EFORMAT, "without a default"},
	{"{{ 99999999999999999999 }}", LT_EFORMAT, "integer beyond 64 bits"},
	{"{{ '\\x4' }}", LT_EFORMAT, "malformed escape"},
	{"{% block a %}{% endblock %}", LT_EUNSUPPORTED, "'block' is not supported"},
	{"{% extends 'a' %}", LT_EUNSUPPORTED, "'extends' is not supported"},
	{"{% include 'a' %}", LT_EUNSUPPORTED, "'include' is not supported"},
	{"{% import 'a' as b %}", LT_EUNSUPPORTED, "'import' is not supported"},
	{"{% for i in x recursive %}{% endfor %}", LT_EUNSUPPORTED, "recursive loops"},
	{"{{ x|pprint }}", LT_EUNSUPPORTED, "'pprint' is not supported"},
	{"{{ lipsum() }}", LT_EUNSUPPORTED, "'lipsum' is not supported"},
	{"{{ 'a'.encode() }}", LT_EUNSUPPORTED, "'encode' is not supported"},
	{"\n\n{{ raise_exception('roles must alternate') }}", LT_EINVAL, "roles must alternate"},
	{"a\nb {{ y.z }}", LT_EFORMAT, "line 2: 'y' is undefined"},
	{"{{ x.y.z }}", LT_EFORMAT, "'str object' has no attribute 'y'"},
	{"{{ x + 1 }}", LT_EFORMAT, "can only concatenate str (not \"int\") to str"},
	{"{{ 1 + x }}", LT_EFORMAT, "unsupported operand types for +: 'int' and 'str'"},
	{"{{ 1 < x }}", LT_EFORMAT, "'<' not supported between instances of 'int' and 'str'"},
	{"{{ 1 / 0 }}", LT_EFORMAT, "division by zero"},
	{"{{ 9223372036854775807 + 1 }}", LT_EFORMAT, "integer beyond 64 bits"},
	{"{{ 3 ** 60 }}", LT_EFORMAT, "integer beyond 64 bits"},
	{"{{ l.append(1) }}", LT_EFORMAT, "'append' of a list is not allowed"},
	{"{{ x() }}", LT_EFORMAT, "'str' object is not callable"},
	{"{{ x[1:'a'] }}", LT_EFORMAT, "slice indices must be integers"},
	{"{% for a, b in [1] %}{% endfor %}", LT_EFORMAT, "cannot unpack non-iterable int"},
	{"{% set a, b = [1] %}", LT_EFORMAT, "not enough values to unpack (expected 2, got 1)"},
	{"{% for i in 5 %}{% endfor %}", LT_EFORMAT, "'int' object is not iterable"},
	{"{{ x|replace('a') }}", LT_EFORMAT, "lacks an argument"},
	{"{{ x|upper(1) }}", LT_EFORMAT, "takes at most 0 arguments"},
	{"{{ x|trim(nope=1) }}", LT_EFORMAT, "has no argument 'nope'"},
	{"{% macro m() %}{% endmacro %}{{ m(1) }}", LT_EFORMAT, "takes at most 0 arguments"},
	{"{% macro m() %}{% endmacro %}{{ m(a=1) }}", LT_EFORMAT, "no keyword argument 'a'"},
	{"{% set x.y = 1 %}", LT_EFORMAT, "non-namespace object"},
	{"{{ range(100001)|list }}", LT_EFORMAT, "at most 100000 items"},
	{"{{ nope|tojson }}", LT_EFORMAT, "Object of type Undefined is not JSON serializable"},
	{"{{ {[]: 1} }}", LT_EFORMAT, "unhashable type: 'list'"},
};

static void faults_say_what_is_wrong(void **unused)
{
	struct mdl_rendered r;
	struct lt_err err;
	int rc;

	(void)unused;
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		rc = render(faults[i].source, "{\"x\":\"s\",\"l\":[1]}", NULL, &r, &err);
		if (rc != faults[i].code || !strstr(err.text, faults[i].words))
			fail_msg("%s: want %d '%s', got %d '%s'", faults[i].source, faults[i].code,
				 faults[i].words, rc, err.text);
		assert_null(r.text);
		assert_int_equal(err.code, rc);
	}
}

static const struct {
	const char *json, *words; /* NULL: fine, and "{{ x }}" gives `text` */
	const char *text;
} inputs[] = {
	{"{\"x\":1,\"x\":\"last\"}", NULL, "last"},
	{" { \"x\" : [ 1 , 2.0 , -0 , 1e3 , true , null ] } ", NULL,
	 "[1, 2.0, 0, 1000.0, True, None]"},
	{"{\"x\":12345678901234567890123}", NULL, "12345678901234567890123"},
	{"{\"x\":9223372036854775807}", NULL, "9223372036854775807"},
	{"{\"x\":0.1}", NULL, "0.1"},
	{"{\"x\":1e400}", NULL, "inf"},
	{"{\"x\":\"\\u00e9\\ud83d\\ude42\\n\\/\\\"\"}", NULL, "é🙂\n/\""},
	{"{\"x\":\"\\ud83d!\\ude42\"}", NULL, "\xef\xbf\xbd!\xef\xbf\xbd"},
	{"{\"x\":{\"b\":1,\"a\":2}}", NULL, "{'b': 1, 'a': 2}"},
	{"", "expected a value", NULL},
	{"[1]", "must be an object", NULL},
	{"{\"x\":01}", "expected ',' or '}'", NULL},
	{"{\"x\":1.}", "expected digits", NULL},
	{"{\"x\":.5}", "expected a value", NULL},
	{"{\"x\":+1}", "expected a value", NULL},
	{"{\"x\":nan}", "expected a value", NULL},
	{"{\"x\":tru}", "expected a value", NULL},
	{"{\"x\":\"a\nb\"}", "control character", NULL},
	{"{\"x\":\"\\q\"}", "unknown escape", NULL},
	{"{\"x\":\"\\u12g4\"}", "malformed \\u", NULL},
	{"{\"x\":\"abc", "without closing quote", NULL},
	{"{\"x\":\"\\", "unknown escape", NULL},
	{"{\"x\" 1}", "expected ':'", NULL},
	{"{x:1}", "expected a key", NULL},
	{"{\"x\":1,}", "expected a key", NULL},
	{"{\"x\":[1,]}", "expected a value", NULL},
	{"{\"x\":[1 2]}", "expected ',' or ']'", NULL},
	{"{\"x\":1} x", "text after the end", NULL},
	{"{\"x\":\"\xff\"}", "not valid UTF-8", NULL},
	{"{\"x\":\"\xc0\x80\"}", "not valid UTF-8", NULL},
	{"{\"x\":\"\xed\xa0\x80\"}", "not valid UTF-8", NULL},
};

static void inputs_are_checked(void **unused)
{
	struct mdl_rendered r;
	struct lt_err err;
	char deep[600] = "{\"x\":";
	int rc;

	(void)unused;
	for (size_t i = 0; i < sizeof(inputs) / sizeof(inputs[0]); i++) {
		rc = render("{{ x }}", inputs[i].json, NULL, &r, &err);
		if (inputs[i].words ? rc != LT_EFORMAT || !strstr(err.text, inputs[i].words)
				    : rc < 0 || strcmp(r.text, inputs[i].text) != 0)
			fail_msg("%s: got %d '%s' '%s'", inputs[i].json, rc, err.text,
				 r.text ? r.text : "");
		mdl_rendered_fini(&r);
	}
	memset(deep + 5, '[', 300);
	assert_int_equal(render("{{ x }}", deep, NULL, &r, &err), LT_EFORMAT);
	assert_non_null(strstr(err.text, "nested more than 128"));
}

/* A NUL is a character like any other. */
static void nul_bytes(void **unused)
{
	struct mdl_rendered r;
	struct lt_err err;

	(void)unused;
	assert_int_equal(render("{{ x }}{{ x|length }}{{ x|tojson }}", "{\"x\":\"a\\u0000b\"}",
				NULL, &r, &err),
			 0);
	assert_int_equal(r.n, 14);
	assert_memory_equal(r.text, "a\0b3\"a\\u0000b\"", 14);
	mdl_rendered_fini(&r);
}

/* --- limits ------------------------------------------------------------------------------------ */

static const struct {
	const char *source;
	int code;
} greedy[] = {
	{"{{ range(10**9)|list }}", LT_EFORMAT},
	{"{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
	 LT_ETIMEOUT},
	{"{% set ns = namespace(s='ab') %}{% for i in range(64) %}{% set ns.s = ns.s + ns.s %}"
	 "{% endfor %}",
	 LT_ETOOBIG},
	{"{% set ns = namespace(s=[1]) %}{% for i in range(64) %}{% set ns.s = ns.s + ns.s %}"
	 "{% endfor %}",
	 LT_ETOOBIG},
	{"{{ 'a' * 10**12 }}", LT_ETOOBIG},
	{"{{ [1] * 10**12 }}", LT_ETOOBIG},
	{"{{ 'a'|center(10**12) }}", LT_ETOOBIG},
	{"{{ '%99999999d' % 1 }}", LT_EFORMAT},
	{"{% set s = 'a' * 1000000 %}{% for i in range(100) %}{{ s }}{% endfor %}", LT_ETOOBIG},
	{"{% set s = 'a' * 1000000 %}{{ s.replace('', s) }}", LT_ETOOBIG},
	{"{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", LT_EFORMAT},
	{"{% macro f(x) %}{{ f(x + x) }}{{ f(x) }}{% endmacro %}{{ f('a') }}", LT_ETOOBIG},
	{"{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}"
	 "{{ f(40) }}",
	 LT_ETIMEOUT},
	{"{% set ns = namespace(l=[]) %}{% for i in range(100000) %}{% set ns.l = [ns.l] %}"
	 "{% endfor %}{{ ns.l }}",
	 LT_EFORMAT},
	{"{% set ns = namespace(l=[]) %}{% for i in range(100000) %}{% set ns.l = [ns.l] %}"
	 "{% endfor %}{{ ns.l == [ns.l] }}",
	 LT_EFORMAT},
	{"{% set ns = namespace(l=[]) %}{% for i in range(100000) %}{% set ns.l = [ns.l] %}"
	 "{% endfor %}{{ ns.l|tojson }}",
	 LT_EFORMAT},
	{"{% set ns = namespace(l=[]) %}{% for i in range(100000) %}{% set ns.l = [ns.l] %}"
	 "{% endfor %}{{ ns.l < [ns.l] }}",
	 LT_EFORMAT},
	{"{% set ns = namespace() %}{% set ns.me = ns %}{{ ns }}", LT_EFORMAT},
	{"{% set ns = namespace(m=1) %}{% for i in range(30000) %}"
	 "{% set ns.l = range(i)|list %}{% endfor %}",
	 LT_ETOOBIG},
};

static void greed_is_bounded(void **unused)
{
	struct mdl_rendered r;
	struct lt_err err;
	int rc;

	(void)unused;
	for (size_t i = 0; i < sizeof(greedy) / sizeof(greedy[0]); i++) {
		rc = render(greedy[i].source, "{}", NULL, &r, &err);
		if (rc != greedy[i].code)
			fail_msg("%s: want %d, got %d '%s'", greedy[i].source, greedy[i].code, rc,
				 err.text);
	}
}

static void limits_are_the_callers(void **unused)
{
	static const char loop[] = "{% for i in range(1000) %}0123456789{% endfor %}";
	struct mdl_template_limits limits = {0};
	struct mdl_rendered r;
	struct lt_err err;

	(void)unused;
	assert_int_equal(render(loop, "{}", &limits, &r, &err), 0);
	assert_int_equal(r.n, 10000);
	mdl_rendered_fini(&r);
	limits.output = 10000;
	assert_int_equal(render(loop, "{}", &limits, &r, &err), 0);
	mdl_rendered_fini(&r);
	limits.output = 9999;
	assert_int_equal(render(loop, "{}", &limits, &r, &err), LT_ETOOBIG);
	limits = (struct mdl_template_limits){.steps = 1000};
	assert_int_equal(render(loop, "{}", &limits, &r, &err), LT_ETIMEOUT);
	limits = (struct mdl_template_limits){.memory = 100000};
	assert_int_equal(render("{{ 'a' * 200000 }}", "{}", &limits, &r, &err), LT_ETOOBIG);
	limits = (struct mdl_template_limits){.depth = 10};
	assert_int_equal(render("{{ ((((((((((((1+1)+1)+1)+1)+1)+1)+1)+1)+1)+1)+1)+1) }}", "{}",
				&limits, &r, &err),
			 LT_EFORMAT);
}

/* Whatever runs out wherever: the rendering ends with that fault, or comes out as ever. */
static void shortage(const char *source, const char *json)
{
	struct mdl_rendered whole, r;
	struct lt_err err;
	bool fine = render(source, json, NULL, &whole, &err) == 0;

	for (uint64_t n = 1; n < 3000; n += 1 + n / 4) {
		struct mdl_template_limits few[] = {
			{.steps = n}, {.memory = n * 1024}, {.output = n}, {.depth = (uint32_t)n}};

		for (size_t i = 0; i < 4; i++) {
			int rc = render(source, json, &few[i], &r, &err);

			if (rc < 0)
				assert_true(!fine || rc == LT_ETIMEOUT || rc == LT_ETOOBIG ||
					    (i == 3 && strstr(err.text, "deep")));
			else
				assert_true(fine && r.n == whole.n &&
					    memcmp(r.text, whole.text, r.n) == 0);
			mdl_rendered_fini(&r);
		}
	}
	mdl_rendered_fini(&whole);
}

static void shortage_anywhere(void **unused)
{
	char path[1024], *data, *at, *line;
	size_t n = 0;

	(void)unused;
	snprintf(path, sizeof(path), "%s/test/fixtures/templates/cases.jsonl", getenv("LT_SRCDIR"));
	data = at = read_all(path);
	while ((line = strsep(&at, "\n")) != NULL) {
		cJSON *c = *line && n++ % 3 == 0 ? cJSON_Parse(line) : NULL;

		if (c)
			shortage(cJSON_GetObjectItem(c, "template")->valuestring,
				 cJSON_GetObjectItem(c, "input")->valuestring);
		cJSON_Delete(c);
	}
	free(data);
}

/* What grows by small pieces over a long conversation must not cost the square of its length. */
static void growing_text_and_lists(void **unused)
{
	struct mdl_template_limits limits = {.memory = 24 << 20};
	struct mdl_rendered r;
	struct lt_err err;
	int rc = render("{% set ns = namespace(s='', l=[]) %}{% for i in range(20000) %}"
			"{% set ns.s = ns.s + 'one more sentence of the text.' + '\\n' %}"
			"{% set ns.l = ns.l + [i] %}{% endfor %}{{ ns.s|length }} {{ ns.l|length }}"
			" {{ ns.s[:31] }}{{ ns.l[19999] }}",
			"{}", &limits, &r, &err);

	(void)unused;
	if (rc < 0)
		fail_msg("%s", err.text);
	assert_string_equal(r.text, "620000 20000 one more sentence of the text.\n19999");
	mdl_rendered_fini(&r);
}

/* `open` repeated `n` times, then `inner`, then `close` as often. */
static char *nest(const char *open, const char *inner, const char *close, size_t n)
{
	char *s = calloc(n * (strlen(open) + strlen(close)) + strlen(inner) + 1, 1), *at = s;

	assert_non_null(s);
	for (size_t i = 0; i < n; i++)
		at = stpcpy(at, open);
	at = stpcpy(at, inner);
	for (size_t i = 0; i < n; i++)
		at = stpcpy(at, close);
	return s;
}

static void deep_sources_are_refused(void **unused)
{
	static const struct {
		const char *open, *inner, *close;
	} shapes[] = {
		{"(", "1", ")"},	   {"[", "1", "]"},	{"-", "1", ""},
		{"not ", "1", ""},	   {"1 + ", "1", ""},	{"", "x", ".a"},
		{"", "x", "|upper"},	   {"", "x", "()"},	{"", "x", "[0]"},
		{"1 if x else ", "1", ""}, {"x and ", "1", ""}, {"{'a':", "1", "}"},
		{"f(", "1", ")"},
	};
	struct mdl_rendered r;
	struct lt_err err;
	char *expr, *source;

	(void)unused;
	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		expr = nest(shapes[i].open, shapes[i].inner, shapes[i].close, 20000);
		source = nest("{{ ", expr, " }}", 1);
		assert_int_equal(render(source, "{}", NULL, &r, &err), LT_EFORMAT);
		assert_non_null(strstr(err.text, "deep"));
		free(source);
		free(expr);
	}
	source = nest("{% if 1 %}", "x", "{% endif %}", 20000);
	assert_int_equal(render(source, "{}", NULL, &r, &err), LT_EFORMAT);
	free(source);
	source = nest("{% for i in x %}", "x", "{% endfor %}", 20000);
	assert_int_equal(render(source, "{}", NULL, &r, &err), LT_EFORMAT);
	free(source);
	source = nest("", "{% if 1 %}x", "{% elif 1 %}x", 20000); /* no nesting at all */
	assert_int_equal(render(source, "{}", NULL, &r, &err), LT_EFORMAT);
	assert_non_null(strstr(err.text, "missing"));
	free(source);
}

/* --- threads ----------------------------------------------------------------------------------- */

static void *render_often(void *arg)
{
	const struct mdl_template *t = arg;
	struct mdl_rendered r;
	char json[64];
	uintptr_t bad = 0;

	for (int i = 0; i < 200; i++) {
		snprintf(json, sizeof(json), "{\"x\":\"é%d\",\"n\":%d}", i, i);
		if (mdl_template_render(t, json, strlen(json), NOW, NULL, &r, NULL) < 0) {
			bad++;
			continue;
		}
		snprintf(json, sizeof(json), "é:ß é%d %d", i, i);
		bad += strcmp(r.text, json) != 0;
		mdl_rendered_fini(&r);
	}
	return (void *)bad;
}

static void threads_share_a_template(void **unused)
{
	static const char source[] = "{% macro f(a) %}{{ 'é:ß'[:2] }}{{ 'ß'[-1] }} {{ a }}"
				     "{% endmacro %}{{ f(x) }} {{ n }}";
	struct mdl_template *t;
	struct lt_err err = {0};
	pthread_t threads[4];
	void *bad;

	(void)unused;
	assert_int_equal(mdl_template_open(source, strlen(source), &t, &err), 0);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, render_often, t), 0);
	for (size_t i = 0; i < 4; i++) {
		pthread_join(threads[i], &bad);
		assert_null(bad);
	}
	mdl_template_close(t);
}

static void dates(void **unused)
{
	struct mdl_rendered r;
	struct lt_err err;

	(void)unused;
	setenv("TZ", "UTC", 1);
	assert_int_equal(render("{{ strftime_now('%d %b %Y|%H:%M:%S|%-d|%j|%%|%z%f|%Q|é%A') }}",
				"{}", NULL, &r, &err),
			 0);
	assert_string_equal(r.text, "05 Mar 2024|06:07:08|5|065|%|000000|%Q|éTuesday");
	mdl_rendered_fini(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(own_cases),
		cmocka_unit_test(published_cases),
		cmocka_unit_test(trust_follows_characters),
		cmocka_unit_test(faults_say_what_is_wrong),
		cmocka_unit_test(inputs_are_checked),
		cmocka_unit_test(nul_bytes),
		cmocka_unit_test(greed_is_bounded),
		cmocka_unit_test(limits_are_the_callers),
		cmocka_unit_test(shortage_anywhere),
		cmocka_unit_test(growing_text_and_lists),
		cmocka_unit_test(deep_sources_are_refused),
		cmocka_unit_test(threads_share_a_template),
		cmocka_unit_test(dates),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
