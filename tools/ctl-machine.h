/*
 * What this machine can do at most: the figures to hold a bench against. Measured, not looked up.
 */
#ifndef LT_TOOLS_CTL_MACHINE_H
#define LT_TOOLS_CTL_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

#define CTL_STREAMS 8u /* places read at once; see ctl_read_all */

/* Measures with one thread and with `threads` (0: one a core), with instructions up to `isa`'s (NULL
 * or "auto": all that there are), prints a table or a JSON object. Takes about a second a repetition.
 * CTL_OK, CTL_USAGE or CTL_FAIL (said). */
int ctl_machine(uint32_t threads, const char *isa, uint32_t repeats, bool json);

/* One inner loop. `run` does n rounds on data [bytes] (NULL for arithmetic) and returns something
 * that depends on the result, so that no compiler can leave the work out. */
struct ctl_peak {
	const char *limit;	 /* "int8" */
	const char *instruction; /* "vpdpbusd, 512 bits" */
	double per_round;	 /* operations of a round */
	int (*run)(uint64_t n);
};

/* Those that this CPU runs (asked by cpuid) and `isa` allows, *n of them; NULL if it does not run
 * `isa`, or there is none of that name. To be called before threads are started. */
const struct ctl_peak *ctl_peaks(const char *isa, uint32_t *n);

/* Reads data [bytes, a multiple of CTL_STREAMS * 256, aligned to 64] once, with the widest loads
 * that ctl_peaks found. */
int ctl_read_all(const void *data, uint64_t bytes);

#endif
