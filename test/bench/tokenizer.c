/*
 * MB/s (10^6 bytes) of encoding, one thread, for English, Chinese or files. Prints a table; not a test.
 *
 *   test/bench/tokenizer TOKENIZER [FILE...]
 *
 * TOKENIZER is what mdl_tok_open takes. Without files it makes a megabyte of either language out of
 * the vocabulary: words in the order of their ids, which is about that of their frequency, drawn as
 * Zipf's law has it; one in eight has a second one stuck to it, so that not every word is a token.
 * The best of several rounds counts, each of them in this thread's CPU time. The sum of the ids shows
 * whether two builds agree.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "model/tokenizer.h"

#define BYTES	   1000000u
#define ROUNDS	   9
#define MOST_WORDS 30000u
#define FILE_MAX   (64u << 20)

struct word {
	const char *s;
	size_t n;
};

struct words {
	struct word list[MOST_WORDS];
	size_t n;
};

static uint32_t state = 1;

static uint32_t below(uint32_t n)
{
	state = state * 1664525u + 1013904223u;
	return (uint32_t)((uint64_t)(state >> 8) * n >> 24);
}

/* Rank r with a weight of about 1 / r: the octave first, all alike, then a place in it. */
static const struct word *draw(const struct words *w)
{
	size_t r = 0;

	do {
		uint32_t octave = below(15);

		r = (1u << octave) - 1 + below(1u << octave);
	} while (r >= w->n);
	return &w->list[r];
}

static bool is_english(const char *s, size_t n)
{
	if (n < 2 || s[0] != ' ')
		return false;
	for (size_t i = 1; i < n; i++) {
		if (s[i] < 'a' || s[i] > 'z')
			return false;
	}
	return true;
}

static bool is_chinese(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i += 3) {
		uint32_t cp;

		if (lt_utf8_decode(s + i, n - i, &cp) != 3 || cp < 0x4e00 || cp > 0x9fa5)
			return false;
	}
	return true;
}

static void collect(const struct mdl_tok *t, bool (*wanted)(const char *s, size_t n),
		    struct words *w)
{
	w->n = 0;
	for (uint32_t id = 0; id < mdl_tok_count(t) && w->n < MOST_WORDS; id++) {
		size_t n;
		const char *s = mdl_tok_bytes(t, (int32_t)id, &n);

		if (s && n && wanted(s, n))
			w->list[w->n++] = (struct word){s, n};
	}
}

static void make_english(const struct words *w, struct lt_buf *b)
{
	static const char *const marks[] = {",", ",", ",", ".", ".", ".", ":", ";", "!", "?"};

	while (b->len < BYTES) {
		const struct word *x = draw(w);

		if (below(40) == 0)
			lt_buf_addf(b, " %u", below(3000));
		lt_buf_add(b, x->s, x->n);
		if (below(8) == 0) {
			x = draw(w);
			lt_buf_add(b, x->s + 1, x->n - 1);
		}
		if (below(40) == 0)
			lt_buf_adds(b, "'s");
		if (below(9) == 0)
			lt_buf_adds(b, marks[below(10)]);
		if (below(60) == 0)
			lt_buf_adds(b, "\n\n");
	}
}

static void make_chinese(const struct words *w, struct lt_buf *b)
{
	static const char *const marks[] = {"，", "，", "，", "，", "。",
					    "。", "、", "：", "；", "！"};

	while (b->len < BYTES) {
		for (uint32_t i = 0, n = 2 + below(9); i < n; i++) {
			const struct word *x = draw(w);

			lt_buf_add(b, x->s, x->n);
		}
		if (below(20) == 0)
			lt_buf_addf(b, "%u", below(3000));
		lt_buf_adds(b, marks[below(10)]);
		if (below(20) == 0)
			lt_buf_adds(b, "\n");
	}
}

/* Seconds of this thread: what else runs on the machine doesn't count. */
static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int measure(const struct mdl_tok *t, const char *what, const char *s, size_t n)
{
	struct mdl_ids ids = {0};
	struct lt_err err = {0};
	double best = 1e9;
	uint64_t sum = 0;

	for (int round = 0; round < ROUNDS; round++) {
		double start = now(), took;

		ids.n = 0;
		if (mdl_tok_encode(t, s, n, true, &ids, &err) < 0) {
			fprintf(stderr, "%s: %s\n", what, err.text);
			mdl_ids_fini(&ids);
			return 1;
		}
		took = now() - start;
		best = took < best ? took : best;
	}
	for (size_t i = 0; i < ids.n; i++)
		sum = sum * 31 + (uint64_t)ids.data[i];
	printf("%-12s %8zu bytes %8zu tokens %7.2f MB/s  ids %016llx\n", what, n, ids.n,
	       (double)n / best / 1e6, (unsigned long long)sum);
	mdl_ids_fini(&ids);
	return 0;
}

static int made(const struct mdl_tok *t, const char *what, bool (*wanted)(const char *s, size_t n),
		void (*make)(const struct words *w, struct lt_buf *b))
{
	struct words *w = lt_xalloc(1, sizeof(*w));
	struct lt_buf b = LT_BUF_INIT;
	int rc = 0;

	collect(t, wanted, w);
	if (w->n) {
		make(w, &b);
		rc = b.failed ? 1 : measure(t, what, b.data, b.len);
	} else {
		printf("%-12s the vocabulary has no words\n", what);
	}
	lt_buf_fini(&b);
	free(w);
	return rc;
}

static int from_file(const struct mdl_tok *t, const char *path)
{
	const char *name = strrchr(path, '/');
	struct lt_err err = {0};
	char *data;
	size_t n;
	int rc;

	if (lt_read_file(path, FILE_MAX, &data, &n, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	rc = measure(t, name ? name + 1 : path, data, n);
	free(data);
	return rc;
}

int main(int argc, char **argv)
{
	struct mdl_tok *t = NULL;
	struct lt_err err = {0};
	int rc = 0;

	if (argc < 2) {
		fprintf(stderr, "usage: %s TOKENIZER [FILE...]\n", argv[0]);
		return 2;
	}
	if (mdl_tok_open(argv[1], &t, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	if (argc == 2) {
		rc = made(t, "English", is_english, make_english);
		rc |= made(t, "Chinese", is_chinese, make_chinese);
	}
	for (int i = 2; i < argc; i++)
		rc |= from_file(t, argv[i]);
	mdl_tok_close(t);
	return rc;
}
