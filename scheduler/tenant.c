/*
 * A plain array: searched once a request, not once a token.
 */
#include "scheduler/tenant.h"

#include <stdlib.h>

#include "base/error.h"
#include "base/mem.h"

void sched_tenants_fini(struct sched_tenants *t)
{
	for (size_t i = 0; i < t->n; i++)
		free(t->all[i]);
	free(t->all);
	*t = (struct sched_tenants){0};
}

/* The lowest count among tenants at work; UINT64_MAX if nobody is. */
static uint64_t lowest(const struct sched_tenants *t)
{
	uint64_t low = UINT64_MAX;

	for (size_t i = 0; i < t->n; i++) {
		if (t->all[i]->open > 0 && t->all[i]->served < low)
			low = t->all[i]->served;
	}
	return low;
}

/* Drops idle entries that would be lifted to `low` anyway: nothing is lost with them. */
static void sweep(struct sched_tenants *t, uint64_t low)
{
	size_t kept = 0;

	for (size_t i = 0; i < t->n; i++) {
		if (t->all[i]->open == 0 && t->all[i]->served <= low)
			free(t->all[i]);
		else
			t->all[kept++] = t->all[i];
	}
	t->n = kept;
}

struct sched_tenant *sched_tenant_enter(struct sched_tenants *t, uint32_t id)
{
	uint64_t low = lowest(t);
	struct sched_tenant *at;

	for (size_t i = 0; i < t->n; i++) {
		if (t->all[i]->id == id && t->all[i]->open > 0) {
			t->all[i]->open++;
			return t->all[i];
		}
	}
	sweep(t, low);
	for (size_t i = 0; i < t->n; i++) {
		if (t->all[i]->id == id) {
			t->all[i]->open = 1;
			return t->all[i];
		}
	}
	at = lt_alloc(1, sizeof(*at));
	if (!at)
		return NULL;
	if (lt_reserve(&t->all, &t->cap, t->n + 1, sizeof(struct sched_tenant *)) < 0) {
		free(at);
		return NULL;
	}
	at->id = id;
	at->open = 1;
	at->served = low == UINT64_MAX ? 0 : low;
	t->all[t->n++] = at;
	return at;
}

void sched_tenant_leave(struct sched_tenant *tenant)
{
	LT_ASSERT(tenant->open > 0);
	tenant->open--;
}
