/*
 * Clocks. Deadlines and durations use the monotonic clock, time stamps shown to people the wall clock.
 */
#ifndef LT_BASE_CLOCK_H
#define LT_BASE_CLOCK_H

#include <stdint.h>

#define LT_NS_PER_S  UINT64_C(1000000000)
#define LT_NS_PER_MS UINT64_C(1000000)

/* Nanoseconds of the monotonic clock. */
uint64_t lt_clock_ns(void);

/* Seconds since 1970 (UTC). */
int64_t lt_clock_wall_s(void);

#endif
