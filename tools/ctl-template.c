/*
 * latentctl template: renders a chat template with one JSON object of input, or one a line.
 *
 * The input has the members messages, tools, documents, add_generation_prompt, bos_token, eos_token
 * as the template sees them (tools and documents are none and add_generation_prompt is true when
 * absent), and kwargs, an object whose members become variables of their own.
 */
#include <errno.h>
#include <getopt.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/file.h"
#include "model/template.h"
#include "tools/ctl.h"

enum { MAX_TEMPLATE = 1 << 20, MAX_INPUT = 64 << 20 };

static void usage(FILE *out)
{
	fputs("usage: latentctl template --file FILE [--jsonl] [--now SECONDS] < INPUT\n\n"
	      "Renders a chat template. The input is one JSON object with messages, tools,\n"
	      "add_generation_prompt, bos_token, eos_token and kwargs (more variables).\n\n"
	      "  --file FILE         the template (Jinja)\n"
	      "  --jsonl             one object a line in; one JSON string or {\"error\"} a line out\n"
	      "  --now SECONDS       the time that strftime_now tells, since 1970 (default: now)\n"
	      "  -h, --help\n",
	      out);
}

/* --- input ------------------------------------------------------------------------------------- */

/* Just enough of JSON to find where an object's members are; what they hold, the template's own
 * reader checks. */
struct scan {
	const char *s; // [n]
	size_t n, at;
};

static void skip_space(struct scan *x)
{
	while (x->at < x->n && strchr(" \t\r\n", x->s[x->at]) && x->s[x->at])
		x->at++;
}

static void skip_string(struct scan *x)
{
	for (x->at++; x->at < x->n && x->s[x->at] != '"'; x->at++)
		x->at += x->s[x->at] == '\\';
	x->at++;
}

/* Steps over one value: up to the comma or bracket after it. */
static void skip_value(struct scan *x)
{
	size_t depth = 0;

	for (; x->at < x->n; x->at++) {
		char c = x->s[x->at];

		if (c == '"') {
			skip_string(x);
			x->at--;
		} else if (c == '{' || c == '[') {
			depth++;
		} else if ((c == '}' || c == ']' || c == ',') && depth == 0) {
			return;
		} else if (c == '}' || c == ']') {
			depth--;
		}
	}
}

/* Appends the members of the object json[0..n) to out, each with a comma before it. With `kwargs`,
 * the members of the object of that name in its stead. False if this is no object. */
static bool add_members(struct lt_buf *out, const char *json, size_t n, bool kwargs)
{
	struct scan x = {.s = json, .n = n};
	size_t key, key_end, value;

	skip_space(&x);
	if (x.at >= n || json[x.at] != '{')
		return false;
	for (x.at++;; x.at++) {
		skip_space(&x);
		if (x.at >= n || json[x.at] != '"')
			return x.at < n && json[x.at] == '}';
		key = x.at;
		skip_string(&x);
		key_end = x.at;
		skip_space(&x);
		if (x.at >= n || json[x.at] != ':')
			return false;
		value = ++x.at;
		skip_value(&x);
		if (x.at >= n)
			return false;
		if (kwargs && key_end - key == 8 && memcmp(json + key, "\"kwargs\"", 8) == 0) {
			if (!add_members(out, json + value, x.at - value, false))
				return false;
		} else {
			lt_buf_addc(out, ',');
			lt_buf_add(out, json + key, x.at - key);
		}
		if (json[x.at] != ',')
			return json[x.at] == '}';
	}
}

/* The variables of one rendering from one input; malformed input goes on as it is, for the
 * template's reader to complain about. */
static int add_variables(struct lt_buf *out, const char *json, size_t n)
{
	lt_buf_clear(out);
	lt_buf_adds(out, "{\"tools\":null,\"documents\":null,\"add_generation_prompt\":true");
	if (!add_members(out, json, n, true)) {
		lt_buf_clear(out);
		return lt_buf_add(out, json, n);
	}
	return lt_buf_adds(out, "}");
}

/* --- rendering --------------------------------------------------------------------------------- */

static int render(const struct mdl_template *t, const char *json, size_t n, int64_t now,
		  struct mdl_rendered *out, struct lt_err *err)
{
	struct lt_buf variables = LT_BUF_INIT;
	int rc = add_variables(&variables, json, n);

	if (rc < 0)
		lt_fail(err, rc, "%s", lt_error_text(rc));
	else
		rc = mdl_template_render(t, variables.data, variables.len, now, NULL, out, err);
	lt_buf_fini(&variables);
	return rc;
}

static int render_lines(const struct mdl_template *t, int64_t now)
{
	struct lt_buf out = LT_BUF_INIT;
	struct mdl_rendered r;
	struct lt_err err;
	char *line = NULL;
	size_t cap = 0;
	ssize_t n;
	int status = 0;

	while (status == 0 && (n = getline(&line, &cap, stdin)) >= 0) {
		lt_buf_clear(&out);
		err = (struct lt_err){0};
		if (render(t, line, (size_t)n, now, &r, &err) == 0) {
			lt_buf_adds(&out, "\"");
			lt_buf_add_json(&out, r.text, r.n);
			lt_buf_adds(&out, "\"\n");
			mdl_rendered_fini(&r);
		} else {
			lt_buf_adds(&out, "{\"error\":\"");
			lt_buf_add_json(&out, err.text, strlen(err.text));
			lt_buf_adds(&out, "\"}\n");
		}
		if (out.failed || fwrite(out.data, 1, out.len, stdout) != out.len ||
		    fflush(stdout) != 0) {
			fprintf(stderr, "latentctl template: can't write the result\n");
			status = 1;
		}
	}
	free(line);
	lt_buf_fini(&out);
	return status;
}

static int render_whole(const struct mdl_template *t, int64_t now)
{
	struct lt_buf in = LT_BUF_INIT;
	struct mdl_rendered r;
	struct lt_err err = {0};
	char chunk[16384];
	size_t n;
	int status = 1;

	in.limit = MAX_INPUT;
	while ((n = fread(chunk, 1, sizeof(chunk), stdin)) > 0)
		lt_buf_add(&in, chunk, n);
	if (in.failed) {
		fprintf(stderr, "latentctl template: input: %s\n", lt_error_text(in.failed));
	} else if (render(t, in.data ? in.data : "", in.len, now, &r, &err) < 0) {
		fprintf(stderr, "latentctl template: %s\n", err.text);
	} else {
		status = fwrite(r.text, 1, r.n, stdout) != r.n || fflush(stdout) != 0;
		mdl_rendered_fini(&r);
	}
	lt_buf_fini(&in);
	return status;
}

static int run(const char *file, bool lines, int64_t now)
{
	struct mdl_template *t;
	struct lt_err err = {0};
	char *source;
	size_t n;
	int status;

	if (lt_read_file(file, MAX_TEMPLATE, &source, &n, &err) < 0) {
		fprintf(stderr, "latentctl template: %s\n", err.text);
		return 1;
	}
	if (mdl_template_open(source, n, &t, &err) < 0) {
		fprintf(stderr, "latentctl template: %s: %s\n", file, err.text);
		free(source);
		return 1;
	}
	free(source);
	status = lines ? render_lines(t, now) : render_whole(t, now);
	mdl_template_close(t);
	return status;
}

int ctl_template(int argc, char **argv)
{
	static const struct option options[] = {{"file", required_argument, NULL, 'f'},
						{"jsonl", no_argument, NULL, 'j'},
						{"now", required_argument, NULL, 'n'},
						{"help", no_argument, NULL, 'h'},
						{NULL, 0, NULL, 0}};
	const char *file = NULL;
	int64_t now = (int64_t)time(NULL);
	bool lines = false;
	char *end;
	int c;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (c) {
		case 'f': file = optarg; break;
		case 'j': lines = true; break;
		case 'n':
			errno = 0;
			now = strtoll(optarg, &end, 10);
			if (errno == 0 && *optarg && !*end)
				break;
			fprintf(stderr, "latentctl template: --now needs a number of seconds\n");
			return 2;
		case 'h': usage(stdout); return 0;
		default: usage(stderr); return 2;
		}
	}
	if (!file || optind != argc) {
		usage(stderr);
		return 2;
	}
	return run(file, lines, now);
}
