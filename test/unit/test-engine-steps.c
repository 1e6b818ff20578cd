/*
 * Steps of every backend that runs weights, on the tiny checkpoints: the two forms of attention
 * against each other, ragged batches against runs alone, block tables in any order, copied blocks,
 * experts, threads, and rows that go bad.
 *
 * Backend blas cuts products to one shape, so its rows come out the same in any batch; but OpenBLAS
 * promises nothing of the kind on other processors, so what isn't the same data at the same place is
 * compared by the median over a sequence's rows, which a near tie in a router doesn't move and a
 * wrong block does. Other backends promise the same bits.
 */
#include "config.h"

#include "test/unit/engine-help.h"

#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "model/config.h"

#define VOCAB  320u
#define BLOCKS 64u
#define LONG   300u

/* `batch`: between a batch and a run alone; `forms`: between absorbed and expanded. */
static const struct promise {
	const char *backend;
	double batch, forms;
} promises[] = {{"blas", 1e-5, 1e-5}, {"cpu", 0, 0.03}, {NULL, 0, 0.03}};

static const char *const models[] = {
	"checkpoints/v3",
	"checkpoints/v3-norope-scaling",
	"checkpoints/v3-mtp",
	"checkpoints/v3-fp8",
	"checkpoints/kimi-k2",
	"checkpoints/moonlight",
	"checkpoints/v2-lite",
	"checkpoints/v2",
	"checkpoints/glm4-moe-lite",
	"gguf/IQ4_XS.gguf",
	"gguf/Q4_K_M.gguf",
};
#define N_MODELS (sizeof(models) / sizeof(models[0]))

static const char *backend; /* under test */
static struct promise promise;

static struct eng_opts base_opts(void)
{
	return (struct eng_opts){.backend = backend,
				 .cache_type = ENG_CACHE_F32,
				 .cache_blocks = BLOCKS,
				 .max_rows = 512,
				 .max_outputs = 512,
				 .threads = 1};
}

/* Text number `text`: tokens [LONG]. */
static const int32_t *text_of(uint32_t text)
{
	static int32_t texts[16][LONG];

	for (uint32_t i = 0; i < LONG; i++)
		texts[text][i] = (int32_t)((i * i * 7 + i * 31 + text * 101 + 3) % VOCAB);
	return texts[text];
}

/* Blocks first, first + 1, ... */
static const uint32_t *in_order(uint32_t first)
{
	static uint32_t all[BLOCKS];

	for (uint32_t i = 0; i < BLOCKS; i++)
		all[i] = i;
	return all + first;
}

/* Runs tokens pos..pos + n; logits of all of them to out [n, vocab]. */
static void run_span(struct eng *e, const int32_t *text, uint32_t pos, uint32_t n,
		     enum eng_form form, const uint32_t *blocks, float *out)
{
	struct eng_span s = {text + pos, n, pos, form, blocks, n};
	struct eng_batch batch = {.spans = &s, .n_spans = 1};
	struct eng_out got;

	step_ok(e, &batch, &got);
	assert_int_equal(got.n, n);
	memcpy(out, got.logits, (size_t)n * VOCAB * sizeof(*out));
}

/* The same, in the form that each position has. */
static void run(struct eng *e, const int32_t *text, uint32_t n, const uint32_t *blocks, float *out)
{
	for (uint32_t pos = 0, take; pos < n; pos += take) {
		take = n - pos < ENG_SPAN_TOKENS ? n - pos : ENG_SPAN_TOKENS;
		run_span(e, text, pos, take, eng_form_of(e, pos, n), blocks,
			 out + (size_t)pos * VOCAB);
	}
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* The median over rows of the relative error; got, want [n, vocab]. */
static double median_error(const float *got, const float *want, uint32_t n)
{
	double rows[512];

	for (uint32_t r = 0; r < n; r++) {
		double off = 0, size = 0;

		for (uint32_t i = 0; i < VOCAB; i++) {
			double a = got[r * VOCAB + i], b = want[r * VOCAB + i];

			off += (a - b) * (a - b);
			size += b * b;
		}
		rows[r] = sqrt(off / size);
		assert_true(isfinite(rows[r]));
	}
	qsort(rows, n, sizeof(*rows), by_value);
	return rows[n / 2];
}

static void alike(const float *got, const float *want, uint32_t n, double bound)
{
	double off;

	if (memcmp(got, want, (size_t)n * VOCAB * sizeof(*got)) == 0)
		return;
	off = median_error(got, want, n);
	if (!(off <= bound))
		fail_msg("backend %s: median error %.3g over %u rows; at most %.3g is allowed",
			 backend, off, n, bound);
}

static float *rows(uint32_t n)
{
	float *p = calloc((size_t)n * VOCAB, sizeof(*p));

	assert_non_null(p);
	return p;
}

/* --- tests; each runs once for a backend --- */

static void forms(void **unused)
{
	(void)unused;
	for (size_t i = 0; i < N_MODELS; i++) {
		struct mdl *m = open_fixture(models[i]);
		struct eng_opts o = base_opts();
		struct eng *e = open_engine(m, &o);
		float *absorbed = rows(LONG), *expanded = rows(LONG);

		assert_int_equal(eng_info(e)->vocab, VOCAB);
		run_span(e, text_of(0), 0, LONG, ENG_FORM_ABSORBED, in_order(0), absorbed);
		run_span(e, text_of(0), 0, LONG, ENG_FORM_EXPANDED, in_order(10), expanded);
		/* They round differently: the same bits would mean that there is one form. */
		assert_memory_not_equal(absorbed, expanded, LONG * VOCAB * sizeof(float));
		alike(expanded, absorbed, LONG, promise.forms);
		/* Each reads what the other wrote. */
		run_span(e, text_of(0), 100, 100, ENG_FORM_EXPANDED, in_order(0), expanded);
		alike(expanded, absorbed + 100 * VOCAB, 100, promise.forms);
		run_span(e, text_of(0), 100, 100, ENG_FORM_ABSORBED, in_order(10), expanded);
		alike(expanded, absorbed + 100 * VOCAB, 100, promise.forms);
		free(absorbed);
		free(expanded);
		eng_close(e);
		mdl_close(m);
	}
}

/* A batch of sequences in all states: a first token, prompts up to and over a block's end, a decode,
 * a prompt's tail, a complete span in the expanded form. */
static const struct part {
	uint32_t pos, n, outputs, n_prompt, first_block;
} parts[] = {
	{0, 1, 1, 1, 0},    {0, 31, 31, 31, 1},	    {0, 32, 3, 32, 2},	  {0, 33, 33, 33, 3},
	{70, 1, 1, 60, 5},  {40, 25, 25, 65, 8},    {31, 1, 1, 20, 11},	  {32, 1, 1, 20, 12},
	{0, 64, 0, 90, 14}, {0, 256, 256, 300, 17}, {256, 1, 1, 256, 26}, {299, 1, 1, 260, 36},
};
#define N_PARTS (sizeof(parts) / sizeof(parts[0]))

static void ragged_on(const struct mdl *m, enum eng_cache_type type, uint32_t threads)
{
	struct eng_opts o = base_opts(), alone_opts = base_opts();
	struct eng_span spans[N_PARTS];
	struct eng_batch batch = {.spans = spans, .n_spans = N_PARTS, .want_experts = true};
	struct eng_out out;
	struct eng *e, *alone;
	float *want = rows(LONG);
	const float *got;

	o.cache_type = alone_opts.cache_type = type;
	o.threads = threads;
	e = open_engine(m, &o);
	alone = open_engine(m, &alone_opts);
	for (uint32_t i = 0; i < N_PARTS; i++) {
		const struct part *p = &parts[i];

		for (uint32_t pos = 0, n; pos < p->pos; pos += n) {
			n = p->pos - pos < ENG_SPAN_TOKENS ? p->pos - pos : ENG_SPAN_TOKENS;
			run_span(e, text_of(i), pos, n, eng_form_of(e, pos, p->n_prompt),
				 in_order(p->first_block), want);
		}
		spans[i] = (struct eng_span){text_of(i) + p->pos,
					     p->n,
					     p->pos,
					     eng_form_of(e, p->pos, p->n_prompt),
					     in_order(p->first_block),
					     p->outputs};
	}
	assert_int_equal(spans[9].form, ENG_FORM_EXPANDED);
	assert_int_equal(spans[10].form, ENG_FORM_ABSORBED);
	step_ok(e, &batch, &out);
	got = out.logits;
	for (uint32_t i = 0; i < N_PARTS; i++) {
		const struct part *p = &parts[i];
		uint32_t first = p->pos + p->n - p->outputs;

		/* Alone: as the form goes, in its own engine, from block 0. */
		for (uint32_t pos = 0, n; pos < p->pos + p->n; pos += n) {
			uint32_t end = pos < p->pos ? p->pos : p->pos + p->n;

			n = end - pos < ENG_SPAN_TOKENS ? end - pos : ENG_SPAN_TOKENS;
			run_span(alone, text_of(i), pos, n, eng_form_of(e, pos, p->n_prompt),
				 in_order(0), want + (size_t)pos * VOCAB);
		}
		if (p->outputs > 0)
			alike(got, want + (size_t)first * VOCAB, p->outputs, promise.batch);
		got += (size_t)p->outputs * VOCAB;
	}
	assert_int_equal(out.n, (got - out.logits) / VOCAB);
	for (size_t r = 0; r < out.n; r++)
		assert_false(out.bad[r]);
	free(want);
	eng_close(alone);
	eng_close(e);
}

static void ragged(void **unused)
{
	(void)unused;
	for (size_t i = 0; i < N_MODELS; i++) {
		struct mdl *m = open_fixture(models[i]);

		ragged_on(m, ENG_CACHE_F32, 1);
		if (i == 0) {
			ragged_on(m, ENG_CACHE_F32, 3);
			ragged_on(m, ENG_CACHE_BF16, 2);
			ragged_on(m, ENG_CACHE_Q8, 2);
		}
		mdl_close(m);
	}
}

/* Blocks in any order hold the same numbers: the same bits. */
static void any_order(void **unused)
{
	struct mdl *m = open_fixture("checkpoints/v3");
	struct eng_opts o = base_opts();
	struct eng *e = open_engine(m, &o);
	float *want = rows(LONG), *got = rows(LONG);
	uint32_t blocks[BLOCKS], seed = 5;

	(void)unused;
	run(e, text_of(1), LONG, in_order(0), want);
	for (uint32_t i = 0; i < BLOCKS; i++)
		blocks[i] = i;
	for (unsigned round = 0; round < 5; round++) {
		for (uint32_t i = BLOCKS - 1; i > 0; i--) {
			uint32_t j, b = blocks[i];

			seed = seed * 1664525u + 1013904223u;
			j = (seed >> 8) % (i + 1);
			blocks[i] = blocks[j];
			blocks[j] = b;
		}
		memset(got, 0, LONG * VOCAB * sizeof(*got));
		run(e, text_of(1), LONG, blocks, got);
		assert_memory_equal(got, want, LONG * VOCAB * sizeof(*got));
	}
	free(want);
	free(got);
	eng_close(e);
	mdl_close(m);
}

/* Copy on write: two texts that part after 40 tokens share a full block and copy 8 entries. */
static void copied_block(void **unused)
{
	static const uint32_t a[] = {7, 3, 20}, b[] = {7, 11, 21}, apart[] = {30, 31, 32};
	struct mdl *m = open_fixture("checkpoints/v3");
	struct eng_opts o = base_opts();
	float *want = rows(80), *got = rows(80);
	struct eng *e = open_engine(m, &o);
	int32_t other[80];

	(void)unused;
	memcpy(other, text_of(2), sizeof(other));
	for (uint32_t i = 40; i < 80; i++)
		other[i] = (other[i] + 13) % (int32_t)VOCAB;
	/* Old entries in the target, so that only the copy can make it right. */
	run_span(e, text_of(3), 0, 64, ENG_FORM_ABSORBED, (const uint32_t[]){12, 11}, got);
	run_span(e, text_of(2), 0, 40, ENG_FORM_ABSORBED, a, got);
	eng_block_copy(e, 11, 3, 8);
	run_span(e, text_of(2), 40, 40, ENG_FORM_ABSORBED, a, got);
	run_span(e, other, 40, 40, ENG_FORM_ABSORBED, b, got + 40 * VOCAB);
	run_span(e, text_of(2), 0, 40, ENG_FORM_ABSORBED, apart, want);
	run_span(e, text_of(2), 40, 40, ENG_FORM_ABSORBED, apart, want);
	assert_memory_equal(got, want, 40 * VOCAB * sizeof(*got));
	run_span(e, other, 0, 40, ENG_FORM_ABSORBED, apart, want);
	run_span(e, other, 40, 40, ENG_FORM_ABSORBED, apart, want);
	assert_memory_equal(got + 40 * VOCAB, want, 40 * VOCAB * sizeof(*got));
	assert_memory_not_equal(got, want, 40 * VOCAB * sizeof(*got));
	free(want);
	free(got);
	eng_close(e);
	mdl_close(m);
}

/* Several spans of a sequence in one step: the later see what the earlier write. */
static void spans_of_one(void **unused)
{
	struct mdl *m = open_fixture("checkpoints/v3");
	struct eng_opts o = base_opts();
	struct eng *e = open_engine(m, &o);
	const int32_t *text = text_of(4);
	struct eng_span spans[] = {
		{text, 256, 0, ENG_FORM_EXPANDED, in_order(0), 256},
		{text + 256, 40, 256, ENG_FORM_ABSORBED, in_order(0), 40},
		{text + 296, 4, 296, ENG_FORM_ABSORBED, in_order(0), 4},
	};
	struct eng_batch batch = {.spans = spans, .n_spans = 3};
	float *want = rows(LONG);
	struct eng_out out;

	(void)unused;
	run(e, text, LONG, in_order(20), want);
	step_ok(e, &batch, &out);
	assert_int_equal(out.n, LONG);
	alike(out.logits, want, 256, promise.batch);
	alike(out.logits + 256 * VOCAB, want + 256 * VOCAB, 44, promise.batch);
	free(want);
	eng_close(e);
	mdl_close(m);
}

/* Expert ids ascend and differ, and the counters count them. */
static void experts(void **unused)
{
	struct mdl *m = open_fixture("checkpoints/v3");
	struct eng_opts o = base_opts();
	struct eng *e = open_engine(m, &o);
	struct eng_span s = {text_of(5), LONG, 0, ENG_FORM_ABSORBED, in_order(0), 0};
	struct eng_batch batch = {.spans = &s, .n_spans = 1};
	uint64_t counts[3][16], want[3][16] = {{0}};
	struct eng_out out;

	(void)unused;
	eng_expert_counts(e, counts[0]);
	assert_memory_equal(counts, want, sizeof(counts));
	step_ok(e, &batch, &out);
	assert_null(out.experts);
	batch.want_experts = true;
	step_ok(e, &batch, &out);
	assert_int_equal(out.n, 0);
	assert_non_null(out.experts);
	for (uint32_t r = 0; r < LONG; r++) {
		for (uint32_t layer = 0; layer < 3; layer++) {
			const int32_t *ids = out.experts + (r * 3 + layer) * 4;

			for (uint32_t k = 0; k < 4; k++) {
				assert_in_range(ids[k], 0, 15);
				assert_true(k == 0 || ids[k] > ids[k - 1]);
				want[layer][ids[k]] += 2; /* two equal steps */
			}
		}
	}
	eng_expert_counts(e, counts[0]);
	assert_memory_equal(counts, want, sizeof(counts));
	eng_close(e);
	mdl_close(m);
}

/* --- a checkpoint with an embedding that isn't a number --- */

#define POISON 5 /* token */

static void copy_file(const char *from, const char *to, const void *find, size_t size)
{
	FILE *f = fopen(from, "rb");
	unsigned char *data = malloc(8u << 20), *at = NULL;
	size_t n;

	assert_true(f && data);
	n = fread(data, 1, 8u << 20, f);
	assert_true(n > 0 && n < 8u << 20);
	fclose(f);
	if (size > 0) {
		at = memmem(data, n, find, size);
		assert_non_null(at);
		for (size_t i = 0; i < size; i += 2)
			memcpy(at + i, "\xc0\x7f", 2); /* a NaN in BF16 */
	}
	f = fopen(to, "wb");
	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, n, f), n);
	assert_int_equal(fclose(f), 0);
	free(data);
}

static struct mdl *open_poisoned(void)
{
	static const char *const names[] = {"config.json", "model.safetensors"};
	struct mdl *m = open_fixture("checkpoints/v3"), *poisoned;
	char dir[] = "/tmp/test-engine-steps-XXXXXX", from[1024], to[1024];
	struct mdl_weight w;

	assert_true(mdl_weight_get(m, MDL_W_EMBED, 0, 0, &w));
	assert_int_equal(w.type, MDL_TYPE_BF16);
	assert_non_null(mkdtemp(dir));
	for (size_t i = 0; i < 2; i++) {
		snprintf(from, sizeof(from), "%s/test/fixtures/checkpoints/v3/%s",
			 getenv("LT_SRCDIR"), names[i]);
		snprintf(to, sizeof(to), "%s/%s", dir, names[i]);
		copy_file(from, to, (const unsigned char *)w.data + POISON * w.row_bytes,
			  i == 1 ? w.row_bytes : 0);
	}
	poisoned = open_model(dir);
	for (size_t i = 0; i < 2; i++) {
		snprintf(to, sizeof(to), "%s/%s", dir, names[i]);
		unlink(to);
	}
	rmdir(dir);
	mdl_close(m);
	return poisoned;
}

/* A row that goes bad is marked, with all after it in its sequence (and perhaps some before it in
 * the same block: 0 times NaN); its neighbours in the batch, shorter so that they end where it has
 * its worst, get the same as ever, and blocks that held such rows are as good as new. */
static void bad_rows(void **unused)
{
	struct mdl *m = open_poisoned();
	struct eng_opts o = base_opts();
	struct eng *e = open_engine(m, &o);
	int32_t good[40], bad[60];
	struct eng_span spans[] = {
		{good, 40, 0, ENG_FORM_ABSORBED, in_order(0), 40},
		{bad, 60, 0, ENG_FORM_ABSORBED, in_order(2), 60},
		{good, 40, 0, ENG_FORM_EXPANDED, in_order(4), 40},
		{bad, 60, 0, ENG_FORM_EXPANDED, in_order(6), 60},
	};
	struct eng_batch batch = {.spans = spans, .n_spans = 4, .want_experts = true};
	float *absorbed = rows(40), *expanded = rows(40), *again = rows(40);
	struct eng_out out;

	(void)unused;
	for (int32_t i = 0; i < 60; i++)
		bad[i] = 100 + i;
	memcpy(good, bad, sizeof(good));
	bad[36] = POISON;
	run_span(e, good, 0, 40, ENG_FORM_ABSORBED, in_order(10), absorbed);
	run_span(e, good, 0, 40, ENG_FORM_EXPANDED, in_order(12), expanded);
	step_ok(e, &batch, &out);
	for (uint32_t r = 0; r < 200; r++) {
		bool mine = r % 100 >= 40;
		uint32_t pos = mine ? r % 100 - 40 : r % 100;

		if (!mine || pos < 32 || pos >= 36)
			assert_int_equal(out.bad[r], mine && pos >= 36);
	}
	alike(out.logits, absorbed, 40, promise.batch);
	alike(out.logits + 40 * VOCAB, absorbed, 32, promise.batch);
	alike(out.logits + 100 * VOCAB, expanded, 40, promise.batch);
	alike(out.logits + 140 * VOCAB, expanded, 32, promise.batch);
	for (uint32_t i = 0; i < 200 * 3 * 4; i++)
		assert_in_range(out.experts[i], 0, 15);
	/* The blocks of the bad one, for the good one. */
	run_span(e, good, 0, 40, ENG_FORM_ABSORBED, in_order(2), again);
	alike(again, absorbed, 40, promise.batch);
	run_span(e, good, 0, 20, ENG_FORM_EXPANDED, in_order(6), again);
	alike(again, expanded, 20, promise.batch);
	free(absorbed);
	free(expanded);
	free(again);
	eng_close(e);
	mdl_close(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(forms),	cmocka_unit_test(ragged),
		cmocka_unit_test(any_order),	cmocka_unit_test(copied_block),
		cmocka_unit_test(spans_of_one), cmocka_unit_test(experts),
		cmocka_unit_test(bad_rows),
	};
	int failed = 0;

	for (const char *const *name = eng_backends(); *name; name++) {
		size_t i = 0;

		if (!eng_needs_weights(*name))
			continue;
		while (promises[i].backend && strcmp(promises[i].backend, *name) != 0)
			i++;
		backend = *name;
		promise = promises[i];
		printf("backend %s\n", backend);
		failed += cmocka_run_group_tests(tests, NULL, NULL);
	}
	return failed;
}
