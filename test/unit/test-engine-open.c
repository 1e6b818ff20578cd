/*
 * engine/engine.c: what options and batches are refused, by which words, and that a refused batch
 * leaves no trace.
 */
#include "test/unit/engine-help.h"

#include <math.h>
#include <string.h>

#include "model/config.h"

#define BLOCKS 20u
#define COMMA  ,

static struct eng_opts good_opts(void)
{
	return (struct eng_opts){.backend = "null",
				 .cache_type = ENG_CACHE_F32,
				 .cache_blocks = BLOCKS,
				 .max_rows = 256,
				 .max_outputs = 40,
				 .threads = 1};
}

static void refuses(const struct mdl *m, const struct eng_opts *o, const char *a, const char *b)
{
	struct lt_err err = {0};
	struct eng *e = NULL;

	assert_int_equal(eng_open(m, o, &e, &err), LT_EINVAL);
	assert_null(e);
	if (!strstr(err.text, a) || !strstr(err.text, b))
		fail_msg("'%s' doesn't say '%s' and '%s'", err.text, a, b);
}

/* Changes one option; the error must name the value and what is allowed. */
#define REFUSES(change, a, b)                                                                      \
	do {                                                                                       \
		struct eng_opts opts = good_opts();                                                \
		opts.change;                                                                       \
		refuses(m, &opts, a, b);                                                           \
	} while (0)
#define TAKES(change)                                                                              \
	do {                                                                                       \
		struct eng_opts opts = good_opts();                                                \
		opts.change;                                                                       \
		eng_close(open_engine(m, &opts));                                                  \
	} while (0)

static void options(void **unused)
{
	struct mdl *m = open_fixture("checkpoints/v3");

	(void)unused;
	REFUSES(cache_type = (enum eng_cache_type)7, "cache type", "allowed are bf16, f32 and q8");
	REFUSES(attention = (enum eng_attention)7, "attention", "allowed are auto and absorbed");
	REFUSES(place.numa = (enum eng_numa)3, "numa", "auto, off and interleave");
	REFUSES(place.hugepages = (enum eng_hugepages)3, "huge pages", "auto, off and explicit");
	REFUSES(cache_blocks = 0, "0 cache blocks", "allowed are 1 to 134217727");
	REFUSES(cache_blocks = 134217728, "134217728 cache blocks", "allowed are 1 to 134217727");
	REFUSES(max_rows = 0, "0 rows", "allowed are 256 to 1048576");
	REFUSES(max_rows = 255, "255 rows", "allowed are 256 to 1048576");
	REFUSES(max_rows = 1048577, "1048577 rows", "allowed are 256 to 1048576");
	REFUSES(max_outputs = 0, "0 outputs", "allowed are 1 to 256");
	REFUSES(max_outputs = 257, "257 outputs", "allowed are 1 to 256");
	REFUSES(threads = 1025, "1025 threads", "allowed are 0 (one a core) and 1 to 1024");
	REFUSES(null_rate = -1, "null rate -1", "allowed are 0 to 1e12");
	REFUSES(null_rate = 2e12, "null rate 2e+12", "allowed are 0 to 1e12");
	REFUSES(null_rate = NAN, "nan", "allowed are 0 to 1e12");
	TAKES(cache_blocks = 1);
	TAKES(max_rows = 1048576);
	TAKES(max_outputs = 256);
	TAKES(max_outputs = 1);
	TAKES(threads = 0);
	TAKES(threads = 1024);
	TAKES(null_rate = 1e12);
	mdl_close(m);
}

/* An unknown backend is told every name of this build; the first is what NULL gives. */
static void backends(void **unused)
{
	const char *const *names = eng_backends();
	struct mdl *m = open_fixture("checkpoints/v3");
	struct eng_opts o = good_opts();

	(void)unused;
	assert_non_null(names[0]);
	for (; *names; names++) {
		REFUSES(backend = "fast", "'fast'", *names);
		REFUSES(backend = "", "''", *names);
		assert_int_equal(eng_needs_weights(*names), strcmp(*names, "null") != 0);
		o.backend = *names;
		{
			struct eng *e = open_engine(m, &o);

			assert_string_equal(eng_info(e)->backend, *names);
			assert_int_equal(eng_info(e)->has_logits, eng_needs_weights(*names));
			eng_close(e);
		}
	}
	assert_false(eng_needs_weights("fast"));
	o.backend = NULL;
	{
		struct eng *e = open_engine(m, &o);

		assert_string_equal(eng_info(e)->backend, eng_backends()[0]);
		eng_close(e);
	}
	eng_close(NULL);
	mdl_close(m);
}

/* Each backend that needs weights says so of a model without. */
static void no_weights(void **unused)
{
	char path[1024];
	struct mdl *m;

	(void)unused;
	snprintf(path, sizeof(path), "%s/test/fixtures/checkpoints/v3", getenv("LT_SRCDIR"));
	assert_int_equal(mdl_open_meta(path, &m, NULL), 0);
	for (const char *const *name = eng_backends(); *name; name++) {
		struct eng_opts o = good_opts();
		struct lt_err err = {0};
		struct eng *e = NULL;
		int rc;

		o.backend = *name;
		rc = eng_open(m, &o, &e, &err);
		assert_int_equal(rc, eng_needs_weights(*name) ? LT_EINVAL : 0);
		if (rc != 0)
			assert_non_null(strstr(err.text, "weights"));
		eng_close(e);
	}
	mdl_close(m);
}

static void sizes(void **unused)
{
	struct mdl *m = open_fixture("checkpoints/v3");
	struct eng_opts o = good_opts();

	(void)unused;
	/* 4 layers of a latent of 32 and a key of 16. */
	assert_int_equal(eng_token_bytes(m, ENG_CACHE_F32), 4 * 48 * 4);
	assert_int_equal(eng_token_bytes(m, ENG_CACHE_BF16), 4 * 48 * 2);
	assert_int_equal(eng_token_bytes(m, ENG_CACHE_Q8), 4 * (32 + 2 + 16 * 2));
	for (const char *const *name = eng_backends(); *name; name++) {
		struct eng *e;

		o.backend = *name;
		e = open_engine(m, &o);
		assert_int_equal(eng_info(e)->vocab, 320);
		assert_int_equal(eng_info(e)->layers, 4);
		assert_int_equal(eng_info(e)->moe_layers, 3);
		assert_int_equal(eng_info(e)->experts, 16);
		assert_int_equal(eng_info(e)->experts_used, 4);
		assert_int_equal(eng_info(e)->max_positions, 512);
		assert_int_equal(eng_info(e)->cache_blocks, BLOCKS);
		assert_int_equal(eng_info(e)->max_rows, 256);
		assert_int_equal(eng_info(e)->max_outputs, 40);
		if (eng_info(e)->has_logits)
			assert_int_equal(eng_info(e)->token_bytes,
					 eng_token_bytes(m, ENG_CACHE_F32));
		assert_int_equal(eng_info(e)->cache_bytes, BLOCKS * 32 * eng_info(e)->token_bytes);
		eng_close(e);
	}
	mdl_close(m);
}

/* Expanded: in a span of 256 that the prompt fills. */
static void forms(void **unused)
{
	static const struct {
		uint32_t pos, n_prompt;
		enum eng_form form;
	} cases[] = {
		{0, 1, ENG_FORM_ABSORBED},     {0, 255, ENG_FORM_ABSORBED},
		{0, 256, ENG_FORM_EXPANDED},   {255, 256, ENG_FORM_EXPANDED},
		{256, 256, ENG_FORM_ABSORBED}, {256, 511, ENG_FORM_ABSORBED},
		{255, 511, ENG_FORM_EXPANDED}, {256, 512, ENG_FORM_EXPANDED},
		{511, 513, ENG_FORM_EXPANDED}, {512, 513, ENG_FORM_ABSORBED},
		{9999, 10, ENG_FORM_ABSORBED}, {UINT32_MAX, UINT32_MAX, ENG_FORM_ABSORBED},
	};
	struct mdl *m = open_fixture("checkpoints/v3");
	struct eng_opts o = good_opts();
	struct eng *by_length = open_engine(m, &o), *absorbed;

	(void)unused;
	o.attention = ENG_ATTENTION_ABSORBED;
	absorbed = open_engine(m, &o);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(eng_form_of(by_length, cases[i].pos, cases[i].n_prompt),
				 cases[i].form);
		assert_int_equal(eng_form_of(absorbed, cases[i].pos, cases[i].n_prompt),
				 ENG_FORM_ABSORBED);
	}
	eng_close(by_length);
	eng_close(absorbed);
	mdl_close(m);
}

/* --- batches --- */

static int32_t tokens[300];
static uint32_t table[BLOCKS];

static struct eng_span good_span(void)
{
	for (uint32_t i = 0; i < 300; i++)
		tokens[i] = (int32_t)(i % 320);
	for (uint32_t i = 0; i < BLOCKS; i++)
		table[i] = i;
	return (struct eng_span){.tokens = tokens, .n = 40, .blocks = table, .outputs = 1};
}

/* The span comes second, after one that would write. */
static void bad_span(struct eng *e, const struct eng_span *bad, const char *a, const char *b)
{
	static const uint32_t other[] = {10};
	static const int32_t poison[] = {7, 7, 7};
	struct eng_span spans[] = {{.tokens = poison, .n = 3, .blocks = other, .outputs = 1}, *bad};
	struct eng_batch batch = {.spans = spans, .n_spans = 2};
	struct eng_out out = {.n = 77};
	struct lt_err err = {0};

	assert_int_equal(eng_step(e, &batch, &out, &err), LT_EINVAL);
	assert_int_equal(out.n, 77);
	if (!strstr(err.text, a) || !strstr(err.text, b))
		fail_msg("'%s' doesn't say '%s' and '%s'", err.text, a, b);
}

#define BAD(change, a, b)                                                                          \
	do {                                                                                       \
		struct eng_span s = good_span();                                                   \
		s.change;                                                                          \
		bad_span(e, &s, a, b);                                                             \
	} while (0)

static void refuse_batches(struct eng *e)
{
	BAD(n = 0, "span 1", "no tokens");
	BAD(pos = 473, "span 1 goes from position 473 over 40 tokens", "0 to 511 are allowed");
	BAD(pos = UINT32_MAX, "span 1 goes from position 4294967295", "0 to 511 are allowed");
	BAD(outputs = 41, "span 1 wants 41 outputs", "of 40 tokens");
	BAD(form = (enum eng_form)2, "span 1", "attention form");
	BAD(tokens = (const int32_t[40]){[39] = 320}, "token id 320", "allowed are 0 to 319");
	BAD(tokens = (const int32_t[40]){[0] = -1}, "token id -1", "allowed are 0 to 319");
	BAD(tokens = (const int32_t[40]){[20] = INT32_MIN}, "token id -2147483648", "0 to 319");
	BAD(blocks = (const uint32_t[2]){1 COMMA BLOCKS}, "block 20", "allowed are 0 to 19");
	BAD(blocks = (const uint32_t[2]){UINT32_MAX}, "block 4294967295", "allowed are 0 to 19");
	BAD(n = 254, "257 rows in a step", "allowed are 256");
	BAD(outputs = 40, "41 outputs in a step", "allowed are 40");
}

/* One token after three of which a refused batch would have overwritten the cache. */
static void probe(struct eng *e, struct eng_out *out)
{
	static const uint32_t blocks[] = {10};
	static const int32_t more[] = {9};
	struct eng_span s = {.tokens = more, .n = 1, .pos = 3, .blocks = blocks, .outputs = 1};
	struct eng_batch batch = {.spans = &s, .n_spans = 1};

	step_ok(e, &batch, out);
	assert_int_equal(out->n, 1);
}

static void batches(void **unused)
{
	static const uint32_t blocks[] = {10};
	static const int32_t first[] = {1, 2, 3};
	struct mdl *m = open_fixture("checkpoints/v3");

	(void)unused;
	for (const char *const *name = eng_backends(); *name; name++) {
		struct eng_opts o = good_opts();
		struct eng_span s = {.tokens = first, .n = 3, .blocks = blocks};
		struct eng_batch batch = {.spans = &s, .n_spans = 1};
		uint64_t counts[3 * 16], after[3 * 16];
		float logits[320];
		struct eng_out out;
		struct eng *e;
		int32_t token = 0;

		o.backend = *name;
		e = open_engine(m, &o);
		step_ok(e, &batch, &out);
		assert_int_equal(out.n, 0);
		probe(e, &out);
		if (out.logits)
			memcpy(logits, out.logits, sizeof(logits));
		else
			token = out.tokens[0];
		eng_expert_counts(e, counts);
		refuse_batches(e);
		eng_expert_counts(e, after);
		assert_memory_equal(counts, after, sizeof(counts));
		probe(e, &out);
		if (out.logits)
			assert_memory_equal(logits, out.logits, sizeof(logits));
		else
			assert_int_equal(token, out.tokens[0]);
		eng_close(e);
	}
	mdl_close(m);
}

/* Nothing to do is no error, and the very last position and the fullest step are taken. */
static void edges(void **unused)
{
	struct mdl *m = open_fixture("checkpoints/v3");

	(void)unused;
	for (const char *const *name = eng_backends(); *name; name++) {
		struct eng_opts o = good_opts();
		struct eng_span s = good_span();
		struct eng_batch batch = {.spans = &s, .n_spans = 0};
		struct eng_out out;
		struct eng *e;

		o.backend = *name;
		e = open_engine(m, &o);
		step_ok(e, &batch, &out);
		assert_int_equal(out.n, 0);
		batch.n_spans = 1;
		s.n = 256;
		s.outputs = 40;
		step_ok(e, &batch, &out);
		assert_int_equal(out.n, 40);
		s.pos = 256;
		step_ok(e, &batch, &out);
		assert_int_equal(out.n, 40);
		for (size_t i = 0; i < out.n; i++)
			assert_false(out.bad[i]);
		eng_close(e);
	}
	mdl_close(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options), cmocka_unit_test(backends), cmocka_unit_test(no_weights),
		cmocka_unit_test(sizes),   cmocka_unit_test(forms),    cmocka_unit_test(batches),
		cmocka_unit_test(edges),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
