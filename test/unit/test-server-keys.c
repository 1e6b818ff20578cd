/*
 * server/keys: the file's grammar, lookups, tenants over a reload, salts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/keys.h"

static char dir[] = "/tmp/lt-keys-XXXXXX";
static char path[64];

static int make_dir(void **state)
{
	(void)state;
	if (!mkdtemp(dir))
		return 1;
	snprintf(path, sizeof(path), "%s/api-keys", dir);
	return 0;
}

static int drop_dir(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(dir);
}

static void write_keys(const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	chmod(path, 0600);
}

static void lookups(void **state)
{
	struct lt_err err = {0};
	struct srv_keys *k;
	uint32_t a, b;

	(void)state;
	write_keys("# team keys\n\nalice:sk-alice-0001\n  sk-nameless-2 \r\n");
	assert_int_equal(srv_keys_open(path, &k, &err), 0);
	assert_int_equal(srv_keys_count(k), 2);
	assert_true(srv_keys_find(k, "sk-alice-0001", &a));
	assert_true(srv_keys_find(k, "sk-nameless-2", &b));
	assert_true(a != b && a && b);
	assert_false(srv_keys_find(k, "sk-alice-000", &a));
	assert_false(srv_keys_find(k, "sk-alice-00011", &a));
	assert_false(srv_keys_find(k, "alice:sk-alice-0001", &a));
	assert_false(srv_keys_find(k, "", &a));
	srv_keys_close(k);
}

static void grammar(void **state)
{
	static const struct {
		const char *text, *message;
	} rows[] = {
		{"", "no key"},
		{"# only a comment\n", "no key"},
		{"good-key-1\nshort\n", ":2: a key must have"},
		{"good-key-1\n\nwith blank key\n", ":3: a key must be printable"},
		{"good-key-1\nname:\n", ":2: a key must have"},
		{"good-key-1\nsame:good-key-1\n", ":2: this key was there before"},
		{"caf\xc3\xa9-key-with-accent\n", ":1: a key must be printable"},
	};
	struct lt_err err;
	struct srv_keys *k;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		write_keys(rows[i].text);
		err = (struct lt_err){0};
		assert_int_equal(srv_keys_open(path, &k, &err), LT_EINVAL);
		assert_null(k);
		if (!strstr(err.text, rows[i].message))
			fail_msg("row %zu: %s", i, err.text);
		/* A message must never show a key. */
		assert_null(strstr(err.text, "good-key"));
	}
	assert_int_equal(srv_keys_open("/nonexistent/keys", &k, &err), LT_ENOENT);
}

static void credential(void **state)
{
	struct lt_err err = {0};
	struct srv_keys *k;
	uint32_t tenant;

	(void)state;
	unsetenv("CREDENTIALS_DIRECTORY");
	assert_int_equal(srv_keys_open("", &k, &err), 0);
	assert_null(k);
	write_keys("sk-from-credential\n");
	setenv("CREDENTIALS_DIRECTORY", dir, 1);
	assert_int_equal(srv_keys_open("", &k, &err), 0);
	assert_true(srv_keys_find(k, "sk-from-credential", &tenant));
	srv_keys_close(k);
	unlink(path);
	assert_int_equal(srv_keys_open("", &k, &err), 0);
	assert_null(k);
	unsetenv("CREDENTIALS_DIRECTORY");
}

static void reload_keeps_tenants(void **state)
{
	struct srv_keys *old, *new;
	struct lt_err err = {0};
	uint32_t a, b, c, again;

	(void)state;
	write_keys("key-aaaa\nkey-bbbb\n");
	assert_int_equal(srv_keys_open(path, &old, &err), 0);
	assert_true(srv_keys_find(old, "key-aaaa", &a));
	assert_true(srv_keys_find(old, "key-bbbb", &b));
	write_keys("key-cccc\nkey-bbbb\n");
	assert_int_equal(srv_keys_open(path, &new, &err), 0);
	srv_keys_inherit(new, old);
	assert_true(srv_keys_find(new, "key-bbbb", &again));
	assert_int_equal(again, b);
	assert_true(srv_keys_find(new, "key-cccc", &c));
	/* Never the number of a key that is gone: its prompts stay its own. */
	assert_true(c != a && c != b && c);
	srv_keys_close(old);
	srv_keys_close(new);
}

static void salts(void **state)
{
	unsigned char a[SRV_SALT_BYTES], b[SRV_SALT_BYTES], again[SRV_SALT_BYTES];

	(void)state;
	srv_keys_salt(1, a);
	srv_keys_salt(2, b);
	srv_keys_salt(1, again);
	assert_memory_equal(a, again, sizeof(a));
	assert_memory_not_equal(a, b, sizeof(a));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lookups),    cmocka_unit_test(grammar),
		cmocka_unit_test(credential), cmocka_unit_test(reload_keeps_tenants),
		cmocka_unit_test(salts),
	};

	return cmocka_run_group_tests(tests, make_dir, drop_dir);
}
