/*
 * API keys. Only keyed hashes are kept in memory; a key is looked up by its hash and compared in
 * constant time, so that neither memory nor timing gives one away. Loop thread only.
 */
#ifndef LT_SERVER_KEYS_H
#define LT_SERVER_KEYS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct srv_keys;

/* Reads keys from `file`, or, if that is empty, from the systemd credential api-keys. *out is NULL
 * where there is neither: then no key is needed. A line is KEY or NAME:KEY; # begins a comment line.
 * LT_ENOENT, LT_EIO, LT_EINVAL (with file and line; a file without any key too), LT_ENOMEM. Warns
 * when others may read the file. */
int srv_keys_open(const char *file, struct srv_keys **out, struct lt_err *err);
void srv_keys_close(struct srv_keys *k); /* NULL is fine */
uint32_t srv_keys_count(const struct srv_keys *k);

/* True if `key` is one of them; *tenant is its number, which stays the same over a reload as long
 * as the key is in the file (1 and up; 0 is the tenant of a server without keys). */
bool srv_keys_find(const struct srv_keys *k, const char *key, uint32_t *tenant);

/* Gives the keys of `k` that `old` had too the numbers they had there; others get new ones. */
void srv_keys_inherit(struct srv_keys *k, const struct srv_keys *old);

/* The salt of a tenant's prefix cache: random, new at each start of the daemon. */
#define SRV_SALT_BYTES 16
void srv_keys_salt(uint32_t tenant, unsigned char out[SRV_SALT_BYTES]);

#endif
