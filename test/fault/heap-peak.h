/*
 * Counts the heap of a test program: malloc and its kin are replaced for the whole process (shared
 * libraries too), every block's usable size is added up and the highest sum is kept. Not under a
 * sanitizer, which has an allocator of its own: then heap_peak_works is false.
 */
#ifndef LT_TEST_FAULT_HEAP_PEAK_H
#define LT_TEST_FAULT_HEAP_PEAK_H

#include <stdbool.h>
#include <stddef.h>

extern const bool heap_peak_works;
void heap_peak_reset(void);
size_t heap_peak(void); /* above what was in use at the reset */

#endif
