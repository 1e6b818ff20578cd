/*
 * A hash map from byte strings to 64-bit values. Keys are copied. SipHash with a random key per
 * map, so that keys chosen by a client can't pile up in one chain. No iteration order is promised.
 * One owner at a time; concurrent lookups are fine while nobody writes.
 */
#ifndef LT_BASE_MAP_H
#define LT_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lt_map;

/* NULL without memory. `expect` is a hint: how many keys will be put. */
struct lt_map *lt_map_open(size_t expect);
void lt_map_close(struct lt_map *m); /* NULL is fine */
size_t lt_map_count(const struct lt_map *m);

/* Looks key[0..n) up; true and *value (may be NULL) if it is there. */
bool lt_map_get(const struct lt_map *m, const void *key, size_t n, uint64_t *value);

/* Puts or replaces. 0 or LT_ENOMEM. */
int lt_map_put(struct lt_map *m, const void *key, size_t n, uint64_t value);

/* Removes; true if it was there. */
bool lt_map_del(struct lt_map *m, const void *key, size_t n);

/* Iteration: start with *at = 0; false at the end. Not while writing. */
bool lt_map_next(const struct lt_map *m, size_t *at, const void **key, size_t *n, uint64_t *value);

#endif
