/*
 * latentctl tokenize: text to token ids and back, a line at a time or all of standard input.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/mem.h"
#include "model/tokenizer.h"
#include "tools/ctl-json.h"
#include "tools/ctl-run.h"
#include "tools/ctl.h"

#define READ_CHUNK (1u << 16)

/* What the options say, and buffers that all lines share. */
struct tokenize {
	struct mdl_tok *tok;
	bool jsonl, decode, special;
	struct lt_buf text;
	struct lt_buf json;
	struct mdl_ids ids;
};

static void usage(FILE *f)
{
	fputs("usage: latentctl tokenize --model M [OPTION...] < INPUT\n"
	      "\n"
	      "Turns text on standard input into token ids: all of it is one text, and one JSON\n"
	      "array of ids comes out.\n"
	      "\n"
	      "  --model M   a folder with tokenizer.json, such a file itself, or a GGUF file\n"
	      "  --jsonl     one JSON string a line in, one array a line out\n"
	      "  --decode    the way back: one array of ids a line in, their text out as it is;\n"
	      "              with --jsonl one JSON string a line\n"
	      "  --special   control tokens are recognised in the text (added tokens of either\n"
	      "              kind; without this option they are plain text), and shown by --decode\n"
	      "  --help      this text\n",
	      f);
}

static int print_ids(struct tokenize *t, struct lt_err *err)
{
	lt_buf_clear(&t->json);
	for (size_t i = 0; i < t->ids.n; i++) {
		char digits[16], *at = digits + sizeof(digits);
		uint32_t v = (uint32_t)t->ids.data[i];

		/* By hand: this is most of the time that printing takes. */
		do
			*--at = (char)('0' + v % 10);
		while (v /= 10);
		*--at = i ? ',' : '[';
		lt_buf_add(&t->json, at, (size_t)(digits + sizeof(digits) - at));
	}
	lt_buf_adds(&t->json, t->ids.n ? "]\n" : "[]\n");
	if (t->json.failed)
		return lt_fail(err, t->json.failed, "out of memory");
	fwrite(t->json.data, 1, t->json.len, stdout);
	return 0;
}

static int encode(struct tokenize *t, const char *text, size_t n, struct lt_err *err)
{
	int rc;

	t->ids.n = 0;
	rc = mdl_tok_encode(t->tok, text, n, t->special, &t->ids, err);
	return rc < 0 ? rc : print_ids(t, err);
}

/* The text of ids, malformed bytes replaced, as a JSON string. */
static int print_text_json(struct tokenize *t, struct lt_err *err)
{
	struct mdl_detok d;

	mdl_detok_init(&d, t->tok, t->special);
	for (size_t i = 0; i < t->ids.n; i++) {
		if (mdl_detok_push(&d, t->ids.data[i], &t->text) == LT_EINVAL)
			return lt_fail(err, LT_EINVAL, "no token has id %" PRId32, t->ids.data[i]);
	}
	mdl_detok_flush(&d, &t->text);
	lt_buf_clear(&t->json);
	lt_buf_addc(&t->json, '"');
	lt_buf_add_json(&t->json, t->text.data ? t->text.data : "", t->text.len);
	lt_buf_adds(&t->json, "\"\n");
	if (t->text.failed || t->json.failed)
		return lt_fail(err, LT_ENOMEM, "out of memory");
	fwrite(t->json.data, 1, t->json.len, stdout);
	return 0;
}

static int decode(struct tokenize *t, const char *line, size_t n, struct lt_err *err)
{
	int rc;

	t->ids.n = 0;
	rc = ctl_json_ids(line, n, &t->ids, err);
	if (rc < 0)
		return rc;
	lt_buf_clear(&t->text);
	if (t->jsonl)
		return print_text_json(t, err);
	rc = mdl_tok_decode(t->tok, t->ids.data, t->ids.n, t->special, &t->text, err);
	if (rc == 0)
		fwrite(t->text.data, 1, t->text.len, stdout);
	return rc;
}

static int encode_line(struct tokenize *t, const char *line, size_t n, struct lt_err *err)
{
	int rc;

	lt_buf_clear(&t->text);
	rc = ctl_json_string(line, n, &t->text, err);
	return rc < 0 ? rc : encode(t, t->text.data, t->text.len, err);
}

static int each_line(struct tokenize *t, struct lt_err *err)
{
	char *line = NULL;
	size_t cap = 0, number = 0;
	ssize_t n;
	int rc = 0;

	while (rc == 0 && (n = getline(&line, &cap, stdin)) >= 0) {
		number++;
		rc = t->decode ? decode(t, line, (size_t)n, err)
			       : encode_line(t, line, (size_t)n, err);
	}
	free(line);
	return rc < 0 ? lt_fail_in(err, rc, "line %zu", number) : 0;
}

static int whole_input(struct tokenize *t, struct lt_err *err)
{
	size_t n;

	do {
		char *room = lt_buf_room(&t->text, READ_CHUNK);

		if (!room)
			return lt_fail(err, t->text.failed, "out of memory");
		n = fread(room, 1, READ_CHUNK, stdin);
		lt_buf_commit(&t->text, n);
	} while (n);
	return encode(t, t->text.data, t->text.len, err);
}

static int run(struct tokenize *t, const char *command, const char *model)
{
	struct lt_err err = {0};
	int rc = mdl_tok_open(model, &t->tok, &err);

	if (rc == 0)
		rc = t->jsonl || t->decode ? each_line(t, &err) : whole_input(t, &err);
	if (rc == 0 && ferror(stdin))
		rc = lt_fail(&err, LT_EIO, "standard input: %s", lt_error_text(LT_EIO));
	if (fflush(stdout) != 0 && rc == 0)
		rc = lt_fail(&err, LT_EIO, "standard output: %s", lt_error_text(LT_EIO));
	mdl_tok_close(t->tok);
	mdl_ids_fini(&t->ids);
	lt_buf_fini(&t->text);
	lt_buf_fini(&t->json);
	return rc < 0 ? ctl_fail(command, &err) : CTL_OK;
}

int ctl_tokenize(int argc, char **argv)
{
	static const struct option options[] = {
		{"model", required_argument, NULL, 'm'}, {"jsonl", no_argument, NULL, 'j'},
		{"decode", no_argument, NULL, 'd'},	 {"special", no_argument, NULL, 's'},
		{"help", no_argument, NULL, 'h'},	 {NULL, 0, NULL, 0}};
	struct tokenize t = {0};
	const char *model = NULL;
	int opt;

	while ((opt = getopt_long(argc, argv, "hm:", options, NULL)) != -1) {
		switch (opt) {
		case 'm': model = optarg; break;
		case 'j': t.jsonl = true; break;
		case 'd': t.decode = true; break;
		case 's': t.special = true; break;
		case 'h': usage(stdout); return CTL_OK;
		default: usage(stderr); return CTL_USAGE;
		}
	}
	if (!model || optind != argc) {
		fprintf(stderr, "latentctl tokenize: %s\n",
			model ? "unexpected argument" : "--model is missing");
		usage(stderr);
		return CTL_USAGE;
	}
	return run(&t, argv[0], model);
}
