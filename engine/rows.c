/*
 * Which versions of the row loops this processor runs.
 */
#include "engine/rows.h"

#include <pthread.h>

static const struct eng_rows *found[4];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void find(void)
{
	size_t n = 0;

#if defined(__x86_64__)
	__builtin_cpu_init();
	if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq"))
		found[n++] = &eng_rows_avx512;
	if (__builtin_cpu_supports("avx2"))
		found[n++] = &eng_rows_avx2;
#endif
	found[n] = &eng_rows_plain;
}

const struct eng_rows *const *eng_rows_all(void)
{
	pthread_once(&once, find);
	return found;
}
