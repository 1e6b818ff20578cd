/*
 * The arena: small blocks share chunks, large ones have a chunk to themselves (which realloc can
 * then grow in place). Freed all at once. Owned by one template or one rendering; no locking.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/jinja-value.h"

enum { CHUNK = 32 << 10, LARGE = CHUNK / 4, ALIGN = 16 };

struct mdl_jchunk {
	struct mdl_jchunk *next, *prev;
	size_t cap, used;
	_Alignas(ALIGN) char data[];
};

/* A chunk for `cap` bytes, put first if it is to be filled further, else second. */
static struct mdl_jchunk *chunk_new(struct mdl_jarena *a, size_t cap, bool first)
{
	struct mdl_jchunk *c, *head = a->chunks;
	size_t total;

	if (!lt_add(a->total, cap, &total) || (a->limit && total > a->limit)) {
		a->failed = LT_ETOOBIG;
		return NULL;
	}
	c = malloc(sizeof(*c) + cap);
	if (!c) {
		a->failed = LT_ENOMEM;
		return NULL;
	}
	*c = (struct mdl_jchunk){.cap = cap};
	a->total = total;
	if (first || !head) {
		c->next = head;
		if (head)
			head->prev = c;
		a->chunks = c;
	} else {
		c->next = head->next;
		c->prev = head;
		if (c->next)
			c->next->prev = c;
		head->next = c;
	}
	return c;
}

static bool round_up(size_t n, size_t *out)
{
	if (!lt_add(n, ALIGN - 1, out))
		return false;
	*out &= ~(size_t)(ALIGN - 1);
	return true;
}

void *mdl_jarena_alloc(struct mdl_jarena *a, size_t count, size_t size)
{
	struct mdl_jchunk *c = a->chunks;
	size_t n;
	char *p;

	if (!lt_mul(count, size, &n) || !round_up(n ? n : 1, &n)) {
		a->failed = LT_ETOOBIG;
		return NULL;
	}
	if (n > LARGE)
		c = chunk_new(a, n, false);
	else if (!c || c->cap - c->used < n)
		c = chunk_new(a, CHUNK, true);
	if (!c)
		return NULL;
	p = c->data + c->used;
	c->used += n;
	return p;
}

/* Grows the chunk of a large block. */
static void *grow_large(struct mdl_jarena *a, struct mdl_jchunk *c, size_t n)
{
	struct mdl_jchunk *moved;
	size_t total;

	if (!lt_add(a->total, n - c->cap, &total) || (a->limit && total > a->limit)) {
		a->failed = LT_ETOOBIG;
		return NULL;
	}
	moved = realloc(c, sizeof(*c) + n);
	if (!moved) {
		a->failed = LT_ENOMEM;
		return NULL;
	}
	a->total = total;
	moved->cap = moved->used = n;
	if (moved->prev)
		moved->prev->next = moved;
	else
		a->chunks = moved;
	if (moved->next)
		moved->next->prev = moved;
	return moved->data;
}

void *mdl_jarena_grow(struct mdl_jarena *a, void *p, size_t old, size_t size)
{
	struct mdl_jchunk *c = a->chunks;
	size_t old_n, n;
	void *moved;

	if (!p)
		return mdl_jarena_alloc(a, 1, size);
	if (!round_up(old ? old : 1, &old_n) || !round_up(size, &n)) {
		a->failed = LT_ETOOBIG;
		return NULL;
	}
	if (n <= old_n)
		return p;
	if (old_n > LARGE)
		return grow_large(
			a, (struct mdl_jchunk *)((char *)p - offsetof(struct mdl_jchunk, data)), n);
	if (n <= LARGE && (char *)p + old_n == c->data + c->used && c->cap - c->used >= n - old_n) {
		c->used += n - old_n;
		return p;
	}
	moved = mdl_jarena_alloc(a, 1, size);
	if (moved)
		memcpy(moved, p, old);
	return moved;
}

void mdl_jarena_fini(struct mdl_jarena *a)
{
	struct mdl_jchunk *next;

	for (struct mdl_jchunk *c = a->chunks; c; c = next) {
		next = c->next;
		free(c);
	}
	*a = (struct mdl_jarena){.limit = a->limit};
}
