/*
 * api/stop.h: stop strings against a brute-force reference, whatever the cuts between pieces.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "api/stop.h"

/* Length of the text before the first stop: the first prefix that ends with one, less the longest
 * that it ends with; n when there is none. */
static size_t reference(const char *text, size_t n, const struct api_str *stops, size_t n_stops)
{
	for (size_t end = 1; end <= n; end++) {
		size_t longest = 0;
		for (size_t i = 0; i < n_stops; i++) {
			if (stops[i].n <= end && stops[i].n > longest &&
			    memcmp(text + end - stops[i].n, stops[i].s, stops[i].n) == 0)
				longest = stops[i].n;
		}
		if (longest)
			return end - longest;
	}
	return n;
}

static void random_text(char *s, size_t n, int letters)
{
	for (size_t i = 0; i < n; i++)
		s[i] = (char)('a' + rand() % letters);
	s[n] = '\0';
}

/* One random case: what is shown never passes the reference's cut at any time, and ends there. */
static void one_case(void)
{
	char text[65], patterns[API_MAX_STOPS][9];
	struct api_str stops[API_MAX_STOPS];
	size_t n = (size_t)rand() % 64, n_stops = (size_t)rand() % 5, want, at = 0;
	int letters = 1 + rand() % 3;
	struct lt_buf shown = LT_BUF_INIT;
	struct api_stops *set;
	struct api_stopper s;

	random_text(text, n, letters);
	for (size_t i = 0; i < n_stops; i++) {
		stops[i].n = 1 + (size_t)rand() % 8;
		stops[i].s = patterns[i];
		random_text(patterns[i], stops[i].n, letters);
	}
	want = reference(text, n, stops, n_stops);
	assert_int_equal(api_stops_open(stops, n_stops, &set), 0);
	api_stopper_init(&s, set);
	while (at < n) {
		size_t piece = (size_t)rand() % 6;
		if (piece > n - at)
			piece = n - at;
		assert_int_equal(api_stopper_push(&s, text + at, piece, &shown), 0);
		at += piece;
		assert_true(shown.len <= want);
		/* nothing is held back without a reason: it must be the beginning of a stop string */
		if (!s.hit)
			assert_int_equal(shown.len + s.held, at);
		if (!s.hit && s.held)
			assert_memory_equal(text + shown.len, stops[s.holder].s, s.held);
	}
	assert_int_equal(s.hit, want < n);
	api_stopper_flush(&s, &shown);
	assert_int_equal(shown.len, want);
	if (want)
		assert_memory_equal(shown.data, text, want);
	lt_buf_fini(&shown);
	api_stops_close(set);
}

static void against_reference(void **state)
{
	(void)state;
	srand(11);
	for (int i = 0; i < 40000; i++)
		one_case();
}

static void stops_at_the_first_complete(void **state)
{
	struct api_str stops[] = {{(char *)"abcd", 4}, {(char *)"bc", 2}, {(char *)"\n\n", 2}};
	struct lt_buf out = LT_BUF_INIT;
	struct api_stops *set;
	struct api_stopper s;

	(void)state;
	assert_int_equal(api_stops_open(stops, 3, &set), 0);
	api_stopper_init(&s, set);
	api_stopper_push(&s, "xa", 2, &out);
	assert_string_equal(out.data, "x");
	assert_int_equal(s.held, 1);
	api_stopper_push(&s, "b", 1, &out);
	assert_string_equal(out.data, "x");
	api_stopper_push(&s, "cd", 2, &out);
	assert_true(s.hit);
	assert_string_equal(out.data, "xa");
	api_stopper_push(&s, "more", 4, &out);
	assert_string_equal(out.data, "xa");
	lt_buf_fini(&out);
	api_stops_close(set);
}

static void long_overlaps_stay_linear(void **state)
{
	struct lt_buf out = LT_BUF_INIT;
	struct api_stops *set;
	struct api_stopper s;
	struct api_str stop;
	static char pattern[257];

	(void)state;
	memset(pattern, 'a', 255);
	pattern[255] = 'b';
	stop = (struct api_str){pattern, 256};
	assert_int_equal(api_stops_open(&stop, 1, &set), 0);
	api_stopper_init(&s, set);
	for (int i = 0; i < 1000000; i++)
		assert_int_equal(api_stopper_push(&s, "a", 1, &out), 0);
	assert_int_equal(s.held, 255);
	assert_int_equal(out.len, 1000000 - 255);
	api_stopper_push(&s, "b", 1, &out);
	assert_true(s.hit);
	assert_int_equal(out.len, 1000000 - 255);
	lt_buf_fini(&out);
	api_stops_close(set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(against_reference),
		cmocka_unit_test(stops_at_the_first_complete),
		cmocka_unit_test(long_overlaps_stay_linear),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
