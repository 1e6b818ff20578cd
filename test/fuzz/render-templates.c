/*
 * Renders many templates in one process, for test/fuzz/templates: a line {"template", "input"} in
 * (both strings; input holds JSON), a JSON string or {"error"} out. Aborts when a character of the
 * input comes out as trusted or one of the template as untrusted: U+E000 stands in inputs only,
 * U+E001 in templates only.
 */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "model/template.h"

static void check_trust(const struct mdl_rendered *r)
{
	size_t at = 0;

	for (size_t i = 0; i < r->n_parts; i++) {
		const struct mdl_part *p = &r->parts[i];
		const char *wrong = p->trusted ? "\xee\x80\x80" : "\xee\x80\x81";

		if (p->start != at || p->len == 0)
			abort();
		for (size_t k = p->start; k + 3 <= p->start + p->len; k++) {
			if (memcmp(r->text + k, wrong, 3) == 0)
				abort();
		}
		at += p->len;
	}
	if (at != r->n)
		abort();
}

static int render(const char *source, const char *json, struct mdl_rendered *out,
		  struct lt_err *err)
{
	struct mdl_template_limits limits = {.steps = 3000000, .memory = 64 << 20};
	struct mdl_template *t;
	int rc = mdl_template_open(source, strlen(source), &t, err);

	if (rc < 0)
		return rc;
	rc = mdl_template_render(t, json, strlen(json), 1709618828, &limits, out, err);
	mdl_template_close(t);
	return rc;
}

static void run_line(const char *line, struct lt_buf *out)
{
	cJSON *c = cJSON_Parse(line);
	const char *source = cJSON_GetStringValue(cJSON_GetObjectItem(c, "template"));
	const char *json = cJSON_GetStringValue(cJSON_GetObjectItem(c, "input"));
	struct mdl_rendered r = {0};
	struct lt_err err = {0};

	lt_buf_clear(out);
	if (!source || !json) {
		lt_buf_adds(out, "{\"error\":\"the line has no template or no input\"}\n");
	} else if (render(source, json, &r, &err) < 0) {
		if (err.text[0] == '\0')
			abort();
		lt_buf_adds(out, "{\"error\":\"");
		lt_buf_add_json(out, err.text, strlen(err.text));
		lt_buf_adds(out, "\"}\n");
	} else {
		check_trust(&r);
		lt_buf_adds(out, "\"");
		lt_buf_add_json(out, r.text, r.n);
		lt_buf_adds(out, "\"\n");
		mdl_rendered_fini(&r);
	}
	cJSON_Delete(c);
}

int main(void)
{
	struct lt_buf out = LT_BUF_INIT;
	char *line = NULL;
	size_t cap = 0;

	setenv("TZ", "UTC", 1);
	while (getline(&line, &cap, stdin) >= 0) {
		run_line(line, &out);
		if (fwrite(out.data, 1, out.len, stdout) != out.len || fflush(stdout) != 0)
			return 1;
	}
	free(line);
	lt_buf_fini(&out);
	return 0;
}
