/*
 * Open addressing with linear probing and tombstone-free deletion (backward shift). Entries hold
 * the full hash, so growing needs no rehash of the keys. Keys live in blocks of their own.
 */
#include "base/map.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"

struct slot {
	uint64_t hash;
	uint64_t value;
	void *key; /* NULL: free slot */
	size_t n;
};

struct lt_map {
	struct slot *slots;
	size_t mask; /* slots - 1, a power of two minus one */
	size_t count;
	unsigned char seed[crypto_shorthash_KEYBYTES];
};

static uint64_t hash_of(const struct lt_map *m, const void *key, size_t n)
{
	unsigned char out[crypto_shorthash_BYTES];
	uint64_t h;

	crypto_shorthash(out, key, n, m->seed);
	memcpy(&h, out, sizeof(h));
	return h;
}

struct lt_map *lt_map_open(size_t expect)
{
	struct lt_map *m;
	size_t size = 16;

	if (sodium_init() < 0)
		return NULL;
	while (size / 4 * 3 < expect) {
		if (!lt_mul(size, 2, &size))
			return NULL;
	}
	m = lt_alloc(1, sizeof(*m));
	if (!m)
		return NULL;
	m->slots = lt_alloc(size, sizeof(*m->slots));
	if (!m->slots) {
		free(m);
		return NULL;
	}
	m->mask = size - 1;
	crypto_shorthash_keygen(m->seed);
	return m;
}

void lt_map_close(struct lt_map *m)
{
	if (!m)
		return;
	for (size_t i = 0; i <= m->mask; i++)
		free(m->slots[i].key);
	free(m->slots);
	free(m);
}

size_t lt_map_count(const struct lt_map *m)
{
	return m->count;
}

/* The slot that holds the key, or the free one where it would go. */
static struct slot *find(const struct lt_map *m, uint64_t h, const void *key, size_t n)
{
	for (size_t i = h & m->mask;; i = (i + 1) & m->mask) {
		struct slot *s = &m->slots[i];
		if (!s->key || (s->hash == h && s->n == n && memcmp(s->key, key, n) == 0))
			return s;
	}
}

bool lt_map_get(const struct lt_map *m, const void *key, size_t n, uint64_t *value)
{
	const struct slot *s = find(m, hash_of(m, key, n), key, n);

	if (!s->key)
		return false;
	if (value)
		*value = s->value;
	return true;
}

static int grow(struct lt_map *m)
{
	size_t old = m->mask + 1, size;
	struct slot *slots;

	if (!lt_mul(old, 2, &size))
		return LT_ENOMEM;
	slots = lt_alloc(size, sizeof(*slots));
	if (!slots)
		return LT_ENOMEM;
	for (size_t i = 0; i < old; i++) {
		size_t j = m->slots[i].hash & (size - 1);
		if (!m->slots[i].key)
			continue;
		while (slots[j].key)
			j = (j + 1) & (size - 1);
		slots[j] = m->slots[i];
	}
	free(m->slots);
	m->slots = slots;
	m->mask = size - 1;
	return 0;
}

int lt_map_put(struct lt_map *m, const void *key, size_t n, uint64_t value)
{
	uint64_t h = hash_of(m, key, n);
	struct slot *s = find(m, h, key, n);

	if (s->key) {
		s->value = value;
		return 0;
	}
	if (m->count + 1 > (m->mask + 1) / 4 * 3) {
		if (grow(m) < 0)
			return LT_ENOMEM;
		s = find(m, h, key, n);
	}
	s->key = lt_strndup(key, n);
	if (!s->key)
		return LT_ENOMEM;
	s->hash = h;
	s->n = n;
	s->value = value;
	m->count++;
	return 0;
}

bool lt_map_del(struct lt_map *m, const void *key, size_t n)
{
	struct slot *s = find(m, hash_of(m, key, n), key, n);
	size_t hole, i;

	if (!s->key)
		return false;
	free(s->key);
	hole = (size_t)(s - m->slots);
	/* Move back every later entry of the run whose home lies at or before the hole, so that no
	 * probe meets a gap. */
	for (i = (hole + 1) & m->mask; m->slots[i].key; i = (i + 1) & m->mask) {
		size_t home = m->slots[i].hash & m->mask;
		if (((i - home) & m->mask) >= ((i - hole) & m->mask)) {
			m->slots[hole] = m->slots[i];
			hole = i;
		}
	}
	memset(&m->slots[hole], 0, sizeof(m->slots[hole]));
	m->count--;
	return true;
}

bool lt_map_next(const struct lt_map *m, size_t *at, const void **key, size_t *n, uint64_t *value)
{
	for (; *at <= m->mask; (*at)++) {
		const struct slot *s = &m->slots[*at];
		if (!s->key)
			continue;
		*key = s->key;
		*n = s->n;
		*value = s->value;
		(*at)++;
		return true;
	}
	return false;
}
