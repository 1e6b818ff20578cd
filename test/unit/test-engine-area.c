/*
 * engine/area.c: areas are zeroed, aligned and given back; policies that can't be had say why; arrays
 * carved from an arena are apart.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "config.h"
#include "engine/area.h"

#define PAGE ((size_t)2 << 20)

static size_t reserved_pages(void)
{
	FILE *f = fopen("/proc/meminfo", "r");
	char line[256];
	size_t n = 0;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		sscanf(line, "HugePages_Free: %zu", &n);
	fclose(f);
	return n;
}

static void maps(void **unused)
{
	static const struct eng_place places[] = {
		{0},
		{.numa = ENG_NUMA_OFF, .hugepages = ENG_HUGEPAGES_OFF},
#if HAVE_NUMA
		{.numa = ENG_NUMA_INTERLEAVE},
#endif
	};
	static const size_t sizes[] = {0, 1, 4096, PAGE - 1, PAGE, PAGE + 1, 5 * PAGE + 123};

	(void)unused;
	for (size_t i = 0; i <= sizeof(places) / sizeof(places[0]); i++) {
		const struct eng_place *place = i > 0 ? &places[i - 1] : NULL;

		for (size_t k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
			struct lt_err err = {0};
			unsigned char *p;
			void *area;

			assert_int_equal(eng_area_map(place, sizes[k], "a test", &area, &err), 0);
			assert_int_equal((uintptr_t)area % PAGE, 0);
			p = area;
			for (size_t at = 0; at < sizes[k]; at += 997)
				assert_int_equal(p[at], 0);
			memset(p, 1, sizes[k]);
			eng_area_unmap(place, area, sizes[k]);
		}
		eng_area_unmap(place, NULL, 1);
	}
}

static void refused(void **unused)
{
	static const struct eng_place explicit = {.hugepages = ENG_HUGEPAGES_EXPLICIT};
	size_t need = (reserved_pages() + 3) * PAGE;
	struct lt_err err = {0};
	void *area;

	(void)unused;
	assert_int_equal(eng_area_map(&explicit, need, "packed weights", &area, &err), LT_ENOMEM);
	assert_null(area);
	assert_non_null(strstr(err.text, "engine.hugepages = explicit"));
	assert_non_null(strstr(err.text, "packed weights"));
	assert_non_null(strstr(err.text, "vm.nr_hugepages"));
	assert_int_equal(eng_area_map(NULL, SIZE_MAX / 2, "a cache", &area, &err), LT_ENOMEM);
	assert_non_null(strstr(err.text, "no memory for a cache"));
	assert_int_equal(eng_area_map(NULL, SIZE_MAX, "a cache", &area, &err), LT_ENOMEM);
	assert_null(area);
}

#if !HAVE_NUMA
static void no_numa(void **unused)
{
	static const struct eng_place place = {.numa = ENG_NUMA_INTERLEAVE};
	struct lt_err err = {0};
	void *area;

	(void)unused;
	assert_int_equal(eng_area_map(&place, 1, "a test", &area, &err), LT_EUNSUPPORTED);
	assert_non_null(strstr(err.text, "libnuma"));
}
#endif

static void carve(struct eng_arena *a, unsigned char *at[4])
{
	at[0] = eng_arena_take(a, 1, 1, 1);
	at[1] = eng_arena_take(a, 3, 7, 4);
	at[2] = eng_arena_take(a, 0, 5, 8);
	at[3] = eng_arena_take(a, 64, 1, 1);
}

static void arena(void **unused)
{
	static const size_t sizes[] = {1, 84, 0, 64};
	struct eng_arena sum = {0}, given = {0};
	unsigned char *at[4];
	void *area;

	(void)unused;
	carve(&sum, at);
	for (int i = 0; i < 4; i++)
		assert_null(at[i]);
	assert_false(sum.overflow);
	assert_int_equal(eng_area_map(NULL, sum.used, "a test", &area, NULL), 0);
	given.base = area;
	carve(&given, at);
	assert_int_equal(given.used, sum.used);
	for (int i = 0; i < 4; i++) {
		assert_int_equal((uintptr_t)at[i] % ENG_ALIGN, 0);
		assert_true(i == 0 || at[i] > at[i - 1] + sizes[i - 1]);
		memset(at[i], 1, sizes[i]); /* what isn't its own AddressSanitizer sees */
	}
	assert_true(at[3] + sizes[3] < (unsigned char *)area + sum.used);
	eng_area_unmap(NULL, area, sum.used);
	eng_arena_take(&sum, SIZE_MAX / 4, 8, 1);
	assert_true(sum.overflow);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(maps),
		cmocka_unit_test(refused),
		cmocka_unit_test(arena),
#if !HAVE_NUMA
		cmocka_unit_test(no_numa),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
