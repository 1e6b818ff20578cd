/*
 * The counting allocator (test/fault/heap-peak.h), on glibc's own entry points.
 */
#include "test/fault/heap-peak.h"

#include <errno.h>
#include <malloc.h>
#include <stdatomic.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#endif

static atomic_size_t used, peak, base;

void heap_peak_reset(void)
{
	base = used;
	peak = used;
}

size_t heap_peak(void)
{
	return peak > base ? peak - base : 0;
}

#ifdef SANITIZED
const bool heap_peak_works = false;
#else
const bool heap_peak_works = true;

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t align, size_t n);
void __libc_free(void *p);

static void *add(void *p)
{
	size_t now, top;

	if (!p)
		return p;
	now = atomic_fetch_add(&used, malloc_usable_size(p)) + malloc_usable_size(p);
	top = peak;
	while (now > top && !atomic_compare_exchange_weak(&peak, &top, now))
		;
	return p;
}

static void drop(void *p)
{
	if (p)
		used -= malloc_usable_size(p);
}

void *malloc(size_t n)
{
	return add(__libc_malloc(n));
}

void *calloc(size_t n, size_t size)
{
	return add(__libc_calloc(n, size));
}

/* While a block moves both copies may exist; glibc grows large ones in place, so the new size
 * alone is counted. */
void *realloc(void *p, size_t n)
{
	size_t before = p ? malloc_usable_size(p) : 0;
	void *q = __libc_realloc(p, n);

	if (q || n == 0) {
		used -= before;
		add(q);
	}
	return q;
}

void free(void *p)
{
	drop(p);
	__libc_free(p);
}

int posix_memalign(void **out, size_t align, size_t n)
{
	*out = add(__libc_memalign(align, n));
	return *out ? 0 : ENOMEM;
}

void *aligned_alloc(size_t align, size_t n)
{
	return add(__libc_memalign(align, n));
}
#endif
