/*
 * Fairness between tenants (API keys): each has a count of tokens served, and of those who want a
 * turn the one with the lowest count gets it. Prompt tokens computed and answer tokens drawn count
 * alike. Who comes back after having had nothing to do is lifted to the lowest count among those
 * who have: idle time earns no credit, and a burst is not forgiven by a moment's pause. (The
 * "virtual token counter"; with equal loads tenants differ by at most about one turn's tokens.)
 *
 * An entry lives while its tenant has open requests or owes (its count is above the others'), so the
 * table stays about as small as the number of tenants at work. The scheduler's thread alone.
 */
#ifndef LT_SCHEDULER_TENANT_H
#define LT_SCHEDULER_TENANT_H

#include <stddef.h>
#include <stdint.h>

struct sched_tenant {
	uint32_t id;
	uint32_t open;	 /* requests */
	uint64_t served; /* tokens */
	int64_t lead;	 /* tokens: how far the oldest prompt's lane is ahead (plan.c) */
};

struct sched_tenants {
	struct sched_tenant **all; // [n]
	size_t n, cap;
};

void sched_tenants_fini(struct sched_tenants *t);

/* A request of tenant `id` arrives: its entry, to be left again. NULL without memory. */
struct sched_tenant *sched_tenant_enter(struct sched_tenants *t, uint32_t id);

/* The request has ended. The entry may be gone after the next _enter. */
void sched_tenant_leave(struct sched_tenant *tenant);

#endif
