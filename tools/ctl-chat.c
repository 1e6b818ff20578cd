/*
 * latentctl chat: a conversation in the terminal, streamed. The whole conversation is rendered at
 * each turn; what the cache holds of it already is not computed again.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "model/template.h"
#include "tools/ctl-run.h"
#include "tools/ctl.h"

#define MAX_TEMPLATE	(1u << 20)
#define DEFAULT_CONTEXT 4096u
#define STEP_ROWS	512u

struct chat {
	struct ctl_run run;
	const char *model, *template_file, *system;
	struct eng_sampling how;
	uint32_t context, max_tokens;
	bool think, stats, terminal;
	struct mdl_tok *tok;
	struct mdl_template *tmpl;
	struct eng_sampler *sampler;
	int32_t stops[MDL_MAX_EOS + 1];
	struct lt_buf messages; /* JSON objects, separated by commas */
	struct lt_buf bos, eos; /* texts of the two tokens */
	struct mdl_ids ids; /* tokens of the conversation; the first n_cached are in the cache */
	uint32_t n_cached;
	uint32_t *blocks;
	uint64_t first_ns; /* when the answer's first token was drawn */
};

/* Ctrl-C: a flag for the answer's loop, an eventfd for the wait at the prompt. Any thread may get the
 * signal, the engine's too, so that no system call can be relied on to end with EINTR. */
static volatile sig_atomic_t interrupted;
static int interrupt_fd = -1;

static void on_interrupt(int number)
{
	uint64_t one = 1;
	int saved = errno;

	(void)number;
	interrupted = 1;
	if (write(interrupt_fd, &one, sizeof(one)) < 0)
		interrupted = 1; /* its counter is full: it is readable anyway */
	errno = saved;
}

static int catch_interrupts(void)
{
	struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = SA_RESTART};
	struct lt_err err = {0};

	interrupt_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (interrupt_fd < 0 || sigaction(SIGINT, &action, NULL) < 0) {
		lt_fail(&err, LT_EIO, "can't catch Ctrl-C: %s", strerror(errno));
		return ctl_fail("chat", &err);
	}
	return CTL_OK;
}

static void usage(FILE *out)
{
	fputs("usage: latentctl chat MODEL [OPTION...]\n\n"
	      "A conversation: one line a turn. Ctrl-C stops an answer; Ctrl-D, or Ctrl-C at the\n"
	      "prompt, ends it.\n\n"
	      "  --system TEXT       the system message\n"
	      "  --temperature, --temp T\n"
	      "                      0: greedy; default 0.6\n"
	      "  --top-p P           default 0.95\n"
	      "  --seed N            default: another one each time\n"
	      "  -n, --max-tokens N  longest answer; default: what the context has room for\n"
	      "  --context N         tokens of the conversation; default 4096, or the model's limit\n"
	      "  --think             asks the template for thinking\n"
	      "  --chat-template-file FILE\n"
	      "                      default: the model's own template\n"
	      "  --stats             tells after an answer what it took, on standard error\n"
	      "  --backend B         cpu (default) or blas\n"
	      "  --cache-type T      bf16 (default), f32 or q8\n"
	      "  --attention A       auto (default) or absorbed\n"
	      "  --chunk N           most tokens of a step; default 512\n"
	      "  --threads N         default: one a core\n"
	      "  -h, --help\n",
	      out);
}

static bool number(const char *name, const char *text, double max, float *out)
{
	char *end;
	double v = strtod(text, &end);

	if (*text && !*end && v >= 0 && v <= max) {
		*out = (float)v;
		return true;
	}
	fprintf(stderr, "latentctl chat: %s '%s': a number from 0 to %g is allowed\n", name, text,
		max);
	return false;
}

enum {
	OPT_SYSTEM = 1,
	OPT_TEMPERATURE,
	OPT_TOP_P,
	OPT_SEED,
	OPT_CONTEXT,
	OPT_THINK,
	OPT_STATS,
	OPT_TEMPLATE
};

static int take_option(struct chat *c, int opt)
{
	uint32_t seed;
	bool ok = true;

	switch (opt) {
	case OPT_SYSTEM: c->system = optarg; break;
	case OPT_TEMPLATE: c->template_file = optarg; break;
	case OPT_THINK: c->think = true; break;
	case OPT_STATS: c->stats = true; break;
	case OPT_TEMPERATURE: ok = number("--temperature", optarg, 2, &c->how.temperature); break;
	case OPT_TOP_P: ok = number("--top-p", optarg, 1, &c->how.top_p); break;
	case OPT_SEED:
		ok = ctl_number("chat", "--seed", optarg, 0, UINT32_MAX, &seed);
		c->how.seed = ok ? seed : 0;
		break;
	case 'n':
		ok = ctl_number("chat", "--max-tokens", optarg, 1, CTL_MAX_IDS, &c->max_tokens);
		break;
	case OPT_CONTEXT:
		ok = ctl_number("chat", "--context", optarg, 2, CTL_MAX_IDS, &c->context);
		break;
	default: return ctl_run_option(&c->run, opt, optarg);
	}
	return ok ? 0 : CTL_USAGE;
}

/* -1: go on; else the exit status. */
static int parse(struct chat *c, int argc, char **argv)
{
	static const struct option options[] = {
		{"system", required_argument, NULL, OPT_SYSTEM},
		{"temperature", required_argument, NULL, OPT_TEMPERATURE},
		{"temp", required_argument, NULL, OPT_TEMPERATURE},
		{"top-p", required_argument, NULL, OPT_TOP_P},
		{"seed", required_argument, NULL, OPT_SEED},
		{"max-tokens", required_argument, NULL, 'n'},
		{"context", required_argument, NULL, OPT_CONTEXT},
		{"think", no_argument, NULL, OPT_THINK},
		{"stats", no_argument, NULL, OPT_STATS},
		{"chat-template-file", required_argument, NULL, OPT_TEMPLATE},
		{"help", no_argument, NULL, 'h'},
		CTL_RUN_OPTIONS,
		{NULL, 0, NULL, 0}};
	int opt, rc;

	ctl_run_init(&c->run, argv[0]);
	c->run.chunk = STEP_ROWS;
	c->how =
		(struct eng_sampling){.temperature = 0.6f, .top_p = 0.95f, .repetition_penalty = 1};
	c->how.seed = lt_clock_ns();
	while ((opt = getopt_long(argc, argv, "hn:", options, NULL)) != -1) {
		if (opt == 'h') {
			usage(stdout);
			return CTL_OK;
		}
		if (opt == '?') {
			usage(stderr);
			return CTL_USAGE;
		}
		rc = take_option(c, opt);
		if (rc != 0)
			return rc;
	}
	if (optind + 1 != argc) {
		usage(stderr);
		return CTL_USAGE;
	}
	c->model = argv[optind];
	return -1;
}

static int open_template(struct chat *c, struct lt_err *err)
{
	const char *source = mdl_chat_template(c->run.model);
	char *file = NULL;
	size_t n;
	int rc = 0;

	if (c->template_file) {
		rc = lt_read_file(c->template_file, MAX_TEMPLATE, &file, &n, err);
		source = file;
	}
	if (rc == 0 && !source)
		rc = lt_fail(err, LT_ENOENT,
			     "%s has no chat template; name one with --chat-template-file",
			     c->model);
	if (rc == 0)
		rc = mdl_template_open(source, strlen(source), &c->tmpl, err);
	free(file);
	return rc;
}

/* Ids that end an answer: the model's and the tokenizer's. */
static void collect_stops(struct chat *c)
{
	const struct mdl_config *cfg = mdl_config(c->run.model);
	size_t n = 0;

	for (; n < cfg->n_eos; n++)
		c->stops[n] = cfg->eos[n];
	if (mdl_tok_eos(c->tok) >= 0)
		c->stops[n++] = mdl_tok_eos(c->tok);
	c->how.stop_ids = c->stops;
	c->how.n_stop_ids = n;
}

static void token_text(const struct chat *c, int32_t id, struct lt_buf *out)
{
	size_t n = 0;
	const char *s = id >= 0 ? mdl_tok_bytes(c->tok, id, &n) : NULL;

	if (s)
		lt_buf_add_json(out, s, n);
}

static int start(struct chat *c)
{
	struct lt_err err = {0};
	uint32_t most, rows;

	if (ctl_run_open_model(&c->run, c->model) != CTL_OK)
		return CTL_FAIL;
	most = mdl_config(c->run.model)->max_positions;
	if (c->context == 0)
		c->context = most < DEFAULT_CONTEXT ? most : DEFAULT_CONTEXT;
	rows = c->run.chunk < c->context ? c->run.chunk : c->context;
	if (mdl_tok_open(c->model, &c->tok, &err) != 0 || open_template(c, &err) != 0)
		return ctl_fail("chat", &err);
	if (ctl_run_open(&c->run, c->model, 1, c->context, rows, 1) != CTL_OK)
		return CTL_FAIL;
	if (!eng_info(c->run.engine)->has_logits) {
		lt_fail(&err, LT_EINVAL, "backend %s has no logits to draw from",
			eng_info(c->run.engine)->backend);
		return ctl_fail("chat", &err);
	}
	c->blocks = ctl_block_table(0, c->context);
	c->sampler = eng_sampler_open(eng_info(c->run.engine)->vocab);
	if (!c->blocks || !c->sampler) {
		lt_fail(&err, LT_ENOMEM, "out of memory");
		return ctl_fail("chat", &err);
	}
	collect_stops(c);
	token_text(c, mdl_tok_bos(c->tok), &c->bos);
	token_text(c, mdl_tok_eos(c->tok), &c->eos);
	return CTL_OK;
}

static int add_message(struct chat *c, const char *role, const char *text, size_t n,
		       struct lt_err *err)
{
	struct lt_buf *m = &c->messages;

	if (!lt_utf8_valid(text, n, NULL))
		return lt_fail(err, LT_EINVAL, "that is not valid UTF-8");
	lt_buf_addf(m, "%s{\"role\":\"%s\",\"content\":\"", m->len ? "," : "", role);
	lt_buf_add_json(m, text, n);
	if (lt_buf_adds(m, "\"}") < 0)
		return lt_fail(err, LT_ENOMEM, "out of memory");
	return 0;
}

/* The conversation as tokens, in ids. */
static int render(struct chat *c, struct mdl_ids *ids, struct lt_err *err)
{
	struct mdl_rendered text = {0};
	struct lt_buf json = LT_BUF_INIT;
	int rc;

	lt_buf_adds(&json, "{\"messages\":[");
	lt_buf_add(&json, c->messages.data, c->messages.len);
	lt_buf_addf(&json, "],\"tools\":null,\"add_generation_prompt\":true,\"thinking\":%s,",
		    c->think ? "true" : "false");
	lt_buf_addf(&json, "\"enable_thinking\":%s,\"bos_token\":\"", c->think ? "true" : "false");
	lt_buf_add(&json, c->bos.data, c->bos.len);
	lt_buf_adds(&json, "\",\"eos_token\":\"");
	lt_buf_add(&json, c->eos.data, c->eos.len);
	rc = lt_buf_adds(&json, "\"}") < 0 ? lt_fail(err, LT_ENOMEM, "out of memory") : 0;
	if (rc == 0)
		rc = mdl_template_render(c->tmpl, json.data, json.len, lt_clock_wall_s(), NULL,
					 &text, err);
	lt_buf_fini(&json);
	if (rc == 0)
		rc = mdl_tok_encode_parts(c->tok, text.text, text.n, text.parts, text.n_parts, ids,
					  err);
	mdl_rendered_fini(&text);
	return rc;
}

/* Takes the rendered tokens over; keeps of the cache what they begin with. */
static void take_prompt(struct chat *c, struct mdl_ids *ids)
{
	uint32_t same = 0, most = (uint32_t)ids->n - 1; /* the last one's logits are wanted */

	while (same < c->n_cached && same < most && c->ids.data[same] == ids->data[same])
		same++;
	mdl_ids_fini(&c->ids);
	c->ids = *ids;
	c->n_cached = same;
}

/* Steps over what is not cached yet; *logits of the last token. Ctrl-C ends it between two steps. */
static int compute(struct chat *c, uint32_t n_prompt, const float **logits, struct lt_err *err)
{
	while (c->n_cached < c->ids.n && !interrupted) {
		uint32_t pos = c->n_cached, end = (uint32_t)c->ids.n, n = 1;
		enum eng_form form = eng_form_of(c->run.engine, pos, n_prompt);
		struct eng_out out;
		int rc;

		while (n < c->run.chunk && pos + n < end &&
		       eng_form_of(c->run.engine, pos + n, n_prompt) == form)
			n++;
		struct eng_span span = {c->ids.data + pos, n, pos, form, c->blocks, pos + n == end};
		struct eng_batch batch = {&span, 1, false};

		rc = eng_step(c->run.engine, &batch, &out, err);
		if (rc < 0)
			return rc;
		c->n_cached += n;
		*logits = out.logits;
	}
	return 0;
}

static bool is_stop(const struct chat *c, int32_t id)
{
	for (size_t i = 0; i < c->how.n_stop_ids; i++) {
		if (c->stops[i] == id)
			return true;
	}
	return false;
}

static void show(struct lt_buf *text, size_t *shown)
{
	fwrite(text->data + *shown, 1, text->len - *shown, stdout);
	fflush(stdout);
	*shown = text->len;
}

/* One answer, streamed and kept in `text`. */
static int answer(struct chat *c, struct lt_buf *text, struct lt_err *err)
{
	uint32_t n_prompt = (uint32_t)c->ids.n;
	struct mdl_detok detok;
	const float *logits = NULL;
	struct eng_draw d;
	size_t shown = 0;
	int rc = 0;

	mdl_detok_init(&detok, c->tok, false);
	for (uint32_t i = 0; rc == 0 && !interrupted && c->ids.n < c->context; i++) {
		if (c->max_tokens > 0 && i == c->max_tokens)
			break;
		rc = compute(c, n_prompt, &logits, err);
		if (interrupted)
			break;
		if (rc == 0 && eng_sample(c->sampler, logits, &c->how, NULL, i, &d) < 0)
			rc = lt_fail(err, LT_ENUMERIC, "the model's logits are not finite");
		if (i == 0)
			c->first_ns = lt_clock_ns();
		if (rc < 0 || is_stop(c, d.token))
			break;
		/* An id without text (a vocabulary's padding) shows as nothing. */
		if (mdl_ids_add(&c->ids, d.token) < 0 ||
		    mdl_detok_push(&detok, d.token, text) == LT_ENOMEM)
			rc = lt_fail(err, LT_ENOMEM, "out of memory");
		show(text, &shown);
	}
	if (rc == 0 && mdl_detok_flush(&detok, text) == 0)
		show(text, &shown);
	puts("");
	if (c->ids.n == c->context)
		fprintf(stderr, "latentctl chat: the context of %u tokens is full\n", c->context);
	return rc;
}

static void show_stats(const struct chat *c, uint32_t n_prompt, uint32_t n_reused, uint64_t began)
{
	uint32_t n = (uint32_t)c->ids.n - n_prompt;
	double prompt = (double)(c->first_ns - began) / 1e9;
	double rest = (double)(lt_clock_ns() - c->first_ns) / 1e9;

	fprintf(stderr,
		"prompt: %u tokens, %u of them cached, %.2f s; answer: %u tokens, %.1f tokens/s\n",
		n_prompt, n_reused, prompt, n, rest > 0 ? n / rest : 0);
}

/* One turn. LT_ETOOLONG when there is no room left for an answer. */
static int turn(struct chat *c, const char *line, size_t n, struct lt_err *err)
{
	struct lt_buf text = LT_BUF_INIT;
	struct mdl_ids ids = {0};
	size_t before = c->messages.len;
	uint64_t began = lt_clock_ns();
	uint32_t n_prompt, n_reused;
	int rc = add_message(c, "user", line, n, err);

	if (rc == 0)
		rc = render(c, &ids, err);
	if (rc == 0 && ids.n >= c->context)
		rc = lt_fail(err, LT_ETOOLONG,
			     "the conversation has %zu tokens, the context has room for %u "
			     "(--context)",
			     ids.n, c->context);
	if (rc == 0 && ids.n == 0)
		rc = lt_fail(err, LT_EINVAL, "the template renders nothing");
	if (rc < 0) {
		mdl_ids_fini(&ids);
		c->messages.len = before; /* as if it had not been said */
		return rc;
	}
	take_prompt(c, &ids);
	n_prompt = (uint32_t)c->ids.n;
	n_reused = c->n_cached;
	c->first_ns = 0;
	rc = answer(c, &text, err);
	if (c->stats && c->first_ns > 0)
		show_stats(c, n_prompt, n_reused, began);
	if (rc == 0)
		rc = add_message(c, "assistant", text.len ? text.data : "", text.len, err);
	lt_buf_fini(&text);
	return rc;
}

/* Shows the prompt and waits for a line at the terminal. False: Ctrl-C. */
static bool prompt(void)
{
	struct pollfd in[2] = {{.fd = STDIN_FILENO, .events = POLLIN},
			       {.fd = interrupt_fd, .events = POLLIN}};
	uint64_t count;

	/* What came until now was for the answer. */
	while (read(interrupt_fd, &count, sizeof(count)) > 0)
		;
	interrupted = 0;
	fputs("> ", stdout);
	fflush(stdout);
	while (poll(in, 2, -1) < 0 && errno == EINTR)
		;
	return !interrupted;
}

static int converse(struct chat *c)
{
	struct lt_err err = {0};
	char *line = NULL;
	size_t cap = 0;
	ssize_t n;
	int rc = 0;

	if (c->system && add_message(c, "system", c->system, strlen(c->system), &err) < 0)
		return ctl_fail("chat", &err);
	while (rc == 0) {
		if (c->terminal && !prompt())
			break;
		n = getline(&line, &cap, stdin);
		if (n < 0)
			break;
		if (n > 0 && line[n - 1] == '\n')
			n--;
		if (n > 0)
			rc = turn(c, line, (size_t)n, &err);
		/* At a terminal a turn that can't be is said, and the talk goes on. */
		if (c->terminal && (rc == LT_EINVAL || rc == LT_ETOOLONG))
			rc = ctl_fail("chat", &err) == CTL_FAIL ? 0 : rc;
	}
	if (c->terminal)
		puts("");
	free(line);
	return rc < 0 ? ctl_fail("chat", &err) : CTL_OK;
}

int ctl_chat(int argc, char **argv)
{
	struct chat c = {0};
	int rc = parse(&c, argc, argv);

	if (rc >= 0)
		return rc;
	rc = start(&c);
	/* Without a terminal Ctrl-C ends the program, as usual. */
	c.terminal = isatty(STDIN_FILENO) == 1;
	if (rc == CTL_OK && c.terminal)
		rc = catch_interrupts();
	if (rc == CTL_OK)
		rc = converse(&c);
	eng_sampler_close(c.sampler);
	mdl_template_close(c.tmpl);
	mdl_tok_close(c.tok);
	mdl_ids_fini(&c.ids);
	lt_buf_fini(&c.messages);
	lt_buf_fini(&c.bos);
	lt_buf_fini(&c.eos);
	free(c.blocks);
	ctl_run_close(&c.run);
	return rc;
}
