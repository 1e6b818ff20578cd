/*
 * API keys: a list of hashes. Each lookup walks the whole list and compares every entry, so that the
 * time says nothing about which key was close.
 */
#include "server/keys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"

#define KEYS_LIMIT (1u << 20) /* bytes of the file */
#define KEY_MIN	   8
#define KEY_MAX	   512
#define SECRET	   32

struct key {
	unsigned char hash[LT_HASH_MAX];
	uint32_t tenant;
};

struct srv_keys {
	struct key *list; // [n]
	size_t n, cap;
	uint32_t next_tenant;
};

/* Of this process: hashes and salts mean nothing elsewhere. */
static unsigned char secret[SECRET];
static bool have_secret;

static const unsigned char *process_secret(void)
{
	if (!have_secret)
		lt_random(secret, sizeof(secret));
	have_secret = true;
	return secret;
}

static void hash_key(const char *key, size_t n, unsigned char out[LT_HASH_MAX])
{
	lt_hash(process_secret(), SECRET, key, n, out, LT_HASH_MAX);
}

void srv_keys_salt(uint32_t tenant, unsigned char out[SRV_SALT_BYTES])
{
	lt_hash2(process_secret(), SECRET, "salt", 4, &tenant, sizeof(tenant), out, SRV_SALT_BYTES);
}

/* One key, [at, at + n): printable ASCII without blanks, as it must fit into a header field. */
static int add_key(struct srv_keys *k, const char *at, size_t n, const char *where,
		   struct lt_err *err)
{
	unsigned char hash[LT_HASH_MAX];

	if (n < KEY_MIN || n > KEY_MAX)
		return lt_fail(err, LT_EINVAL, "%s: a key must have %d to %d characters", where,
			       KEY_MIN, KEY_MAX);
	for (size_t i = 0; i < n; i++) {
		if (at[i] <= ' ' || at[i] > '~')
			return lt_fail(err, LT_EINVAL,
				       "%s: a key must be printable ASCII without blanks", where);
	}
	hash_key(at, n, hash);
	for (size_t i = 0; i < k->n; i++) {
		if (lt_equal_secret(k->list[i].hash, hash, sizeof(hash)))
			return lt_fail(err, LT_EINVAL, "%s: this key was there before", where);
	}
	if (lt_reserve(&k->list, &k->cap, k->n + 1, sizeof(*k->list)) < 0)
		return lt_fail(err, LT_ENOMEM, "out of memory");
	memcpy(k->list[k->n].hash, hash, sizeof(hash));
	k->list[k->n++].tenant = k->next_tenant++;
	return 0;
}

static int parse(struct srv_keys *k, const char *path, const char *data, struct lt_err *err)
{
	char where[4400];
	size_t number = 0;

	for (const char *line = data; *line;) {
		size_t n = strcspn(line, "\n");
		const char *at = line, *colon;
		int rc;

		line += n + (line[n] == '\n');
		number++;
		while (n && (*at == ' ' || *at == '\t'))
			at++, n--;
		while (n && strchr(" \t\r", at[n - 1]))
			n--;
		if (!n || *at == '#')
			continue;
		colon = memchr(at, ':', n);
		if (colon) {
			n -= (size_t)(colon + 1 - at);
			at = colon + 1;
		}
		snprintf(where, sizeof(where), "%s:%zu", path, number);
		rc = add_key(k, at, n, where, err);
		if (rc < 0)
			return rc;
	}
	if (!k->n)
		return lt_fail(err, LT_EINVAL,
			       "%s: there is no key in it; to serve without keys, set no file",
			       path);
	return 0;
}

static void warn_if_open(const char *path)
{
	struct stat st;

	if (stat(path, &st) == 0 && (st.st_mode & (S_IROTH | S_IWOTH)))
		lt_log(LT_LOG_WARN,
		       "%s can be read or written by every user of this machine; chmod 600 it",
		       path);
}

int srv_keys_open(const char *file, struct srv_keys **out, struct lt_err *err)
{
	const char *dir = getenv("CREDENTIALS_DIRECTORY");
	char path[4200];
	struct srv_keys *k;
	char *data;
	size_t n;
	int rc;

	*out = NULL;
	if (!*file) {
		if (!dir || !*dir)
			return 0;
		snprintf(path, sizeof(path), "%s/api-keys", dir);
		if (!lt_is_file(path))
			return 0;
		file = path;
	} else {
		warn_if_open(file);
	}
	rc = lt_read_file(file, KEYS_LIMIT, &data, &n, err);
	if (rc < 0)
		return lt_fail_in(err, rc, "API keys");
	k = lt_alloc(1, sizeof(*k));
	if (!k) {
		rc = lt_fail(err, LT_ENOMEM, "out of memory");
	} else {
		k->next_tenant = 1;
		rc = parse(k, file, data, err);
	}
	lt_wipe(data, n);
	free(data);
	if (rc < 0) {
		srv_keys_close(k);
		return lt_fail_in(err, rc, "API keys");
	}
	*out = k;
	return 0;
}

void srv_keys_close(struct srv_keys *k)
{
	if (!k)
		return;
	free(k->list);
	free(k);
}

uint32_t srv_keys_count(const struct srv_keys *k)
{
	return k ? (uint32_t)k->n : 0;
}

bool srv_keys_find(const struct srv_keys *k, const char *key, uint32_t *tenant)
{
	unsigned char hash[LT_HASH_MAX];
	size_t n = strlen(key);
	bool found = false;

	if (n > KEY_MAX)
		return false;
	hash_key(key, n, hash);
	for (size_t i = 0; i < k->n; i++) {
		if (lt_equal_secret(k->list[i].hash, hash, sizeof(hash))) {
			*tenant = k->list[i].tenant;
			found = true;
		}
	}
	return found;
}

void srv_keys_inherit(struct srv_keys *k, const struct srv_keys *old)
{
	if (!old)
		return;
	k->next_tenant = old->next_tenant;
	for (size_t i = 0; i < k->n; i++) {
		k->list[i].tenant = 0;
		for (size_t j = 0; j < old->n; j++) {
			if (lt_equal_secret(k->list[i].hash, old->list[j].hash, LT_HASH_MAX))
				k->list[i].tenant = old->list[j].tenant;
		}
		if (!k->list[i].tenant)
			k->list[i].tenant = k->next_tenant++;
	}
}
