/*
 * Keyed hashes, random bytes and comparison in constant time: the one place where libsodium is
 * used. Any thread, once lt_random_init was called.
 */
#ifndef LT_BASE_HASH_H
#define LT_BASE_HASH_H

#include <stdbool.h>
#include <stddef.h>

#define LT_HASH_MAX	32 /* bytes of a hash; any length from 16 to this may be asked for */
#define LT_HASH_KEY_MAX 64

/* Prepares the random generator; aborts if the system has none. Called for you by every function
 * here, so a call at the start only makes the first use quick. */
void lt_random_init(void);

/* n bytes from the system's generator, good for keys. */
void lt_random(void *dst, size_t n);

/* Keyed BLAKE2b: out [out_n] (16..LT_HASH_MAX) of data[0..n) under key[0..key_n) (16..LT_HASH_KEY_MAX,
 * or 0 for no key). */
void lt_hash(const void *key, size_t key_n, const void *data, size_t n, void *out, size_t out_n);

/* The same over two pieces, one after the other: hash(parent || data) without a copy. */
void lt_hash2(const void *key, size_t key_n, const void *a, size_t a_n, const void *b, size_t b_n,
	      void *out, size_t out_n);

/* True if a[0..n) and b[0..n) are the same; the time depends on n alone. */
bool lt_equal_secret(const void *a, const void *b, size_t n);

/* Overwrites memory that held a secret; not optimised away. */
void lt_wipe(void *p, size_t n);

#endif
