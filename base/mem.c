/*
 * Checked memory on top of the C library's allocator. Any thread.
 */
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

void *lt_alloc(size_t count, size_t size)
{
	size_t bytes;

	/* calloc checks too, but a sanitizer's calloc takes an overflow for a bug and aborts. */
	if (!lt_mul(count, size, &bytes))
		return NULL;
	return calloc(1, bytes ? bytes : 1);
}

int lt_resize(void *ptr, size_t count, size_t size)
{
	void **slot = ptr;
	size_t bytes;
	void *p;

	if (!lt_mul(count, size, &bytes))
		return LT_ENOMEM;
	p = realloc(*slot, bytes ? bytes : 1);
	if (!p)
		return LT_ENOMEM;
	*slot = p;
	return 0;
}

int lt_reserve(void *ptr, size_t *cap, size_t need, size_t size)
{
	size_t next = *cap;

	if (need <= *cap)
		return 0;
	if (next < 8)
		next = 8;
	while (next < need) {
		if (!lt_add(next, next / 2, &next))
			return LT_ENOMEM;
	}
	if (lt_resize(ptr, next, size) < 0)
		return LT_ENOMEM;
	*cap = next;
	return 0;
}

void *lt_alloc_aligned(size_t align, size_t count, size_t size)
{
	size_t bytes;
	void *p;

	if (!lt_mul(count, size, &bytes) || !lt_add(bytes, align, &bytes))
		return NULL;
	if (posix_memalign(&p, align, bytes) != 0)
		return NULL;
	memset(p, 0, bytes);
	return p;
}

char *lt_strndup(const char *s, size_t n)
{
	size_t bytes;
	char *p;

	if (!lt_add(n, 1, &bytes))
		return NULL;
	p = malloc(bytes);
	if (!p)
		return NULL;
	memcpy(p, s, n);
	p[n] = '\0';
	return p;
}

static void *or_abort(void *p)
{
	if (!p) {
		fputs("<2>out of memory at start-up\n", stderr);
		abort();
	}
	return p;
}

void *lt_xalloc(size_t count, size_t size)
{
	return or_abort(lt_alloc(count, size));
}

char *lt_xstrdup(const char *s)
{
	return or_abort(lt_strndup(s, strlen(s)));
}
