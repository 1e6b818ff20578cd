/*
 * What this machine can do at most: the figures to hold a bench against. Measured, not looked up.
 */
#ifndef LT_TOOLS_CTL_MACHINE_H
#define LT_TOOLS_CTL_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

/* Measures with one thread and with `threads` (0: one a core), prints a table or a JSON object.
 * Takes some seconds. CTL_OK or CTL_FAIL (said). */
int ctl_machine(uint32_t threads, bool json);

/* One inner loop. `run` does n rounds on data [bytes] (NULL for arithmetic) and returns something
 * that depends on the result, so that no compiler can leave the work out. */
struct ctl_peak {
	const char *limit;	 /* "int8" */
	const char *instruction; /* "vpdpbusd, 512 bits" */
	double per_round;	 /* operations of a round */
	int (*run)(uint64_t n);
};

/* Those that this CPU runs (asked by cpuid), *n of them. */
const struct ctl_peak *ctl_peaks(uint32_t *n);

/* Reads data [bytes, a multiple of 4096, aligned to 64] once; the widest loads that the CPU has. */
int ctl_read_all(const void *data, uint64_t bytes);

#endif
