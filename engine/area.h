/*
 * Memory that the engine reads all the time: where it lies (NUMA nodes, page sizes), and carving it.
 */
#ifndef LT_ENGINE_AREA_H
#define LT_ENGINE_AREA_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "engine/engine.h"

#define ENG_ALIGN 64u /* of everything carved: a cache line, the widest vector */

/* Zeroed memory, given page by page as it is touched (explicit huge pages: taken from the system's pool
 * at once). place NULL: as the system does it. `what` names it in errors: LT_ENOMEM; LT_EUNSUPPORTED
 * for a policy that this build does not have. */
int eng_area_map(const struct eng_place *place, size_t bytes, const char *what, void **out,
		 struct lt_err *err);
void eng_area_unmap(const struct eng_place *place, void *p, size_t bytes); /* NULL is fine */

/* Many arrays in one area: a first round with base NULL adds up what is needed (and gives NULLs), a
 * second one, after eng_area_map, gives aligned places. With AddressSanitizer the gap after each array
 * may not be touched. */
struct eng_arena {
	unsigned char *base;
	size_t used;
	bool overflow; /* the sum is more than memory can be */
};

/* count * width items of `size` bytes. */
void *eng_arena_take(struct eng_arena *a, size_t count, size_t width, size_t size);

#endif
