/*
 * Huge pages: with 4 KiB pages a walk through gigabytes of weights misses the TLB at every page. On
 * machines with several nodes pages are dealt out in turn, since every worker reads every matrix: each
 * then finds all memory controllers busy alike, where first touch would leave a matrix to the node of
 * the thread that packed it.
 */
#include "config.h"

#include "engine/area.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/mem.h"

#if HAVE_NUMA
#include <numa.h>
#endif
#if defined(__SANITIZE_ADDRESS__)
#define ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ASAN 1
#endif
#endif
#if ASAN
#include <sanitizer/asan_interface.h>
#endif

#define HUGE_PAGE (size_t)(2u << 20)

/* A number of kB or pages from /proc/meminfo; 0 if it isn't there. */
static size_t meminfo(const char *key)
{
	FILE *f = fopen("/proc/meminfo", "r");
	char line[256];
	size_t n = strlen(key), value = 0;
	unsigned long long found;

	while (f && fgets(line, sizeof(line), f)) {
		if (strncmp(line, key, n) == 0 && sscanf(line + n, ": %llu", &found) == 1)
			value = (size_t)found;
	}
	if (f)
		fclose(f);
	return value;
}

static size_t page_of(const struct eng_place *place)
{
	size_t page = HUGE_PAGE;

	if (place && place->hugepages == ENG_HUGEPAGES_EXPLICIT) {
		page = meminfo("Hugepagesize") * 1024;
		if (page == 0)
			page = HUGE_PAGE;
	}
	return page;
}

static bool whole_pages(size_t bytes, size_t page, size_t *out)
{
	if (!lt_add(bytes, page - 1, out))
		return false;
	*out -= *out % page;
	if (*out == 0)
		*out = page;
	return true;
}

static void *map(size_t bytes, int flags)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1,
		       0);

	return p == MAP_FAILED ? NULL : p;
}

/* Huge pages need addresses to match: a page more is asked for, and what is too much given back. */
static void *map_aligned(size_t bytes, size_t page)
{
	unsigned char *p;
	size_t before, room;

	if (!lt_add(bytes, page, &room) || !(p = map(room, 0)))
		return NULL;
	before = (page - (uintptr_t)p % page) % page;
	if (before > 0)
		munmap(p, before);
	if (page > before)
		munmap(p + before + bytes, page - before);
	return p + before;
}

static int map_explicit(size_t bytes, size_t page, const char *what, void **out, struct lt_err *err)
{
	*out = map(bytes, MAP_HUGETLB);
	if (*out)
		return 0;
	return lt_fail(
		err, LT_ENOMEM,
		"engine.hugepages = explicit: %zu pages of %zu kB are needed for %s, and %zu "
		"of %zu are free; raise vm.nr_hugepages (sysctl), or take auto",
		bytes / page, page / 1024, what, meminfo("HugePages_Free"),
		meminfo("HugePages_Total"));
}

#if HAVE_NUMA
static void interleave(void *p, size_t bytes)
{
	/* Untouched pages: the policy decides where they will come from. */
	struct bitmask *nodes = numa_available() >= 0 ? numa_get_mems_allowed() : NULL;

	if (nodes) {
		numa_interleave_memory(p, bytes, nodes);
		numa_bitmask_free(nodes);
	}
}

static unsigned count_nodes(void)
{
	struct bitmask *nodes = numa_available() >= 0 ? numa_get_mems_allowed() : NULL;
	unsigned n = nodes ? numa_bitmask_weight(nodes) : 1;

	if (nodes)
		numa_bitmask_free(nodes);
	return n;
}
#endif

int eng_area_map(const struct eng_place *place, size_t bytes, const char *what, void **out,
		 struct lt_err *err)
{
	size_t page = page_of(place), size;
	int rc = 0;

	*out = NULL;
#if !HAVE_NUMA
	if (place && place->numa == ENG_NUMA_INTERLEAVE)
		return lt_fail(
			err, LT_EUNSUPPORTED,
			"engine.numa = interleave: this build has no libnuma; take auto or off");
#endif
	if (!whole_pages(bytes, page, &size))
		return lt_fail(err, LT_ENOMEM, "%s: larger than memory can be", what);
	if (place && place->hugepages == ENG_HUGEPAGES_EXPLICIT)
		rc = map_explicit(size, page, what, out, err);
	else if (!(*out = map_aligned(size, page)))
		rc = lt_fail(err, LT_ENOMEM, "no memory for %s (%.3g GB)", what,
			     (double)bytes / 1e9);
	if (rc != 0 || !place)
		return rc;
	if (place->hugepages != ENG_HUGEPAGES_EXPLICIT) /* no matter if refused */
		madvise(*out, size,
			place->hugepages == ENG_HUGEPAGES_OFF ? MADV_NOHUGEPAGE : MADV_HUGEPAGE);
#if HAVE_NUMA
	if (place->numa == ENG_NUMA_INTERLEAVE ||
	    (place->numa == ENG_NUMA_AUTO && count_nodes() > 1))
		interleave(*out, size);
#endif
	return 0;
}

void eng_area_unmap(const struct eng_place *place, void *p, size_t bytes)
{
	size_t size;

	if (!p || !whole_pages(bytes, page_of(place), &size))
		return;
#if ASAN
	__asan_unpoison_memory_region(p, size);
#endif
	munmap(p, size);
}

void *eng_arena_take(struct eng_arena *a, size_t count, size_t width, size_t size)
{
	size_t bytes, room;
	unsigned char *p = a->base ? a->base + a->used : NULL;

	/* At least one byte of gap, so that what runs over an array's end is seen. */
	if (!lt_mul(count, width, &bytes) || !lt_mul(bytes, size, &bytes) ||
	    !lt_add(bytes, ENG_ALIGN, &room) ||
	    !lt_add(a->used, room - room % ENG_ALIGN, &a->used)) {
		a->overflow = true;
		return NULL;
	}
#if ASAN
	if (p)
		__asan_poison_memory_region(p + bytes, (size_t)(a->base + a->used - p) - bytes);
#endif
	return p;
}
