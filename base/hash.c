/*
 * Thin, checked wrappers of libsodium. sodium_init is idempotent and thread-safe; calling it each
 * time costs one atomic load.
 */
#include "base/hash.h"

#include <sodium.h>

#include "base/error.h"

void lt_random_init(void)
{
	LT_ASSERT(sodium_init() >= 0);
}

void lt_random(void *dst, size_t n)
{
	lt_random_init();
	randombytes_buf(dst, n);
}

void lt_hash(const void *key, size_t key_n, const void *data, size_t n, void *out, size_t out_n)
{
	lt_hash2(key, key_n, data, n, NULL, 0, out, out_n);
}

void lt_hash2(const void *key, size_t key_n, const void *a, size_t a_n, const void *b, size_t b_n,
	      void *out, size_t out_n)
{
	crypto_generichash_state state;

	LT_ASSERT(out_n >= 16 && out_n <= LT_HASH_MAX);
	LT_ASSERT(key_n == 0 || (key_n >= 16 && key_n <= LT_HASH_KEY_MAX));
	lt_random_init();
	LT_ASSERT(crypto_generichash_init(&state, key_n ? key : NULL, key_n, out_n) == 0);
	if (a_n)
		crypto_generichash_update(&state, a, a_n);
	if (b_n)
		crypto_generichash_update(&state, b, b_n);
	LT_ASSERT(crypto_generichash_final(&state, out, out_n) == 0);
}

bool lt_equal_secret(const void *a, const void *b, size_t n)
{
	return sodium_memcmp(a, b, n) == 0;
}

void lt_wipe(void *p, size_t n)
{
	sodium_memzero(p, n);
}
