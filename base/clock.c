/*
 * Clocks from clock_gettime, which can't fail for these two ids on Linux. Any thread.
 */
#include "base/clock.h"

#include <time.h>

uint64_t lt_clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * LT_NS_PER_S + (uint64_t)t.tv_nsec;
}

int64_t lt_clock_wall_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec;
}
