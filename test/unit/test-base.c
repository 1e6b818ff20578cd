/*
 * base/: errors, memory, buffers, UTF-8, map, files.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/utf8.h"

static void error_table(void **state)
{
	(void)state;
	assert_string_equal(lt_error_text(LT_EFULL), "queue full");
	assert_int_equal(lt_error_status(LT_EFULL), 429);
	assert_string_equal(lt_error_type(LT_EFULL), "rate_limit_error");
	assert_int_equal(lt_error_status(-9999), 500);
	assert_int_equal(lt_error_status(7), 500);
}

static void error_context(void **state)
{
	struct lt_err err = {0};
	char longer[700];

	(void)state;
	assert_int_equal(lt_fail(&err, LT_EFORMAT, "tensor %d", 7), LT_EFORMAT);
	assert_int_equal(lt_fail_in(&err, LT_EIO, "file %s", "x"), LT_EFORMAT);
	assert_string_equal(err.text, "file x: tensor 7");
	assert_int_equal(lt_fail(NULL, LT_EIO, "nowhere"), LT_EIO);
	/* A cut never leaves half a character. */
	memset(longer, 'a', sizeof(longer));
	for (size_t i = 1; i + 2 < sizeof(longer); i += 2)
		memcpy(longer + i, "\xc3\xa9", 2);
	longer[sizeof(longer) - 1] = '\0';
	lt_fail(&err, LT_EFORMAT, "%s", longer);
	assert_true(lt_utf8_valid(err.text, strlen(err.text), NULL));
	lt_fail_in(&err, LT_EFORMAT, "%s", "context");
	assert_true(lt_utf8_valid(err.text, strlen(err.text), NULL));
}

static void memory_overflow(void **state)
{
	int *p = NULL;
	size_t cap = 0;

	(void)state;
	assert_null(lt_alloc(SIZE_MAX / 2, 3));
	assert_null(lt_alloc_aligned(64, SIZE_MAX / 2, 3));
	assert_int_equal(lt_resize(&p, SIZE_MAX / 2, 8), LT_ENOMEM);
	assert_null(p);
	assert_int_equal(lt_reserve(&p, &cap, SIZE_MAX, sizeof(int)), LT_ENOMEM);
	assert_int_equal(lt_reserve(&p, &cap, 100, sizeof(int)), 0);
	assert_true(cap >= 100);
	free(p);
}

static void buffer_limit(void **state)
{
	struct lt_buf b;
	char *s;
	size_t n;

	(void)state;
	lt_buf_init(&b, 8);
	assert_int_equal(lt_buf_adds(&b, "12345"), 0);
	assert_int_equal(lt_buf_addf(&b, "%d", 678), 0);
	assert_int_equal(lt_buf_addc(&b, '9'), LT_ETOOBIG);
	assert_int_equal(lt_buf_adds(&b, ""), LT_ETOOBIG); /* sticky */
	assert_null(lt_buf_take(&b, &n));
	lt_buf_adds(&b, "abcdef");
	lt_buf_consume(&b, 2);
	s = lt_buf_take(&b, &n);
	assert_string_equal(s, "cdef");
	assert_int_equal(n, 4);
	free(s);
}

static void buffer_json(void **state)
{
	struct lt_buf b = LT_BUF_INIT;

	(void)state;
	lt_buf_add_json(&b, "a\"\\\n\x01\xc3\xa9\xff\0z\x7f", 11);
	assert_string_equal(b.data, "a\\\"\\\\\\n\\u0001\xc3\xa9\xef\xbf\xbd\\u0000z\\u007f");
	lt_buf_fini(&b);
}

static void utf8_faults(void **state)
{
	static const char *const bad[] = {"\x80",	  "\xc0\xaf",	  "\xc1\x81",
					  "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80",
					  "\xf5",	  "a\xe2\x82",	  "\xe2\x28\xa1"};
	size_t at;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(lt_utf8_valid(bad[i], strlen(bad[i]), &at));
	assert_true(lt_utf8_valid("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x99\x82", 10, NULL));
	lt_utf8_valid("ok\xff", 3, &at);
	assert_int_equal(at, 2);
}

static void utf8_round_trip(void **state)
{
	(void)state;
	for (uint32_t cp = 0; cp <= 0x110000; cp++) {
		char s[4];
		uint32_t back = 0;
		size_t n = lt_utf8_encode(cp, s);
		if ((cp >= 0xd800 && cp <= 0xdfff) || cp > 0x10ffff) {
			assert_int_equal(n, 0);
			continue;
		}
		assert_int_equal(lt_utf8_decode(s, n, &back), n);
		assert_int_equal(back, cp);
		for (size_t cut = 0; cut < n; cut++)
			assert_int_equal(lt_utf8_complete(s, cut), 0);
		assert_int_equal(lt_utf8_complete(s, n), n);
	}
	/* Malformed bytes are not held back for ever. */
	assert_int_equal(lt_utf8_complete("a\xff", 2), 2);
	assert_int_equal(lt_utf8_complete("\xe2\x28", 2), 2);
	assert_int_equal(lt_utf8_complete("\x80\x80\x80\x80", 4), 4);
}

/* Puts and removes at random beside a plain array as the model. */
static void map_against_array(void **state)
{
	struct lt_map *m = lt_map_open(0);
	uint64_t model[512] = {0}, v;
	size_t live = 0, seen = 0, at = 0, n;
	const void *k;

	(void)state;
	srand(7);
	for (int step = 0; step < 20000; step++) {
		unsigned int key = (unsigned int)rand() % 512;
		char name[16];
		size_t len = (size_t)snprintf(name, sizeof(name), "%u", key);
		if (rand() % 3) {
			assert_int_equal(lt_map_put(m, name, len, (uint64_t)step + 1), 0);
			model[key] = (uint64_t)step + 1;
		} else {
			assert_int_equal(lt_map_del(m, name, len), model[key] != 0);
			model[key] = 0;
		}
		key = (unsigned int)rand() % 512;
		len = (size_t)snprintf(name, sizeof(name), "%u", key);
		v = 0;
		assert_int_equal(lt_map_get(m, name, len, &v), model[key] != 0);
		assert_int_equal(v, model[key]);
	}
	for (int i = 0; i < 512; i++)
		live += model[i] != 0;
	assert_int_equal(lt_map_count(m), live);
	while (lt_map_next(m, &at, &k, &n, &v))
		seen++;
	assert_int_equal(seen, live);
	lt_map_close(m);
}

static void files(void **state)
{
	char path[] = "/tmp/lt-test-XXXXXX";
	int fd = mkstemp(path);
	struct lt_mapping map;
	struct lt_err err = {0};
	char *data;
	size_t n;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "hello", 5), 5);
	close(fd);
	assert_int_equal(lt_map_file(path, &map, &err), 0);
	assert_int_equal(map.size, 5);
	assert_memory_equal(map.data, "hello", 5);
	lt_unmap_file(&map);
	assert_int_equal(lt_read_file(path, 5, &data, &n, &err), 0);
	assert_string_equal(data, "hello");
	free(data);
	assert_int_equal(lt_read_file(path, 4, &data, &n, &err), LT_ETOOBIG);
	assert_non_null(strstr(err.text, path));
	assert_int_equal(truncate(path, 0), 0);
	assert_int_equal(lt_read_file(path, 4, &data, &n, &err), 0);
	assert_int_equal(n, 0);
	assert_string_equal(data, "");
	free(data);
	unlink(path);
	assert_int_equal(lt_read_file(path, 4, &data, &n, &err), LT_ENOENT);
	assert_int_equal(lt_map_file("/", &map, &err), LT_EINVAL);
}

static void hashes(void **state)
{
	/* BLAKE2b-256 of "abc", from RFC 7693's algorithm with a 32-byte digest. */
	static const unsigned char abc[] = {0xbd, 0xdd, 0x81, 0x3c, 0x63, 0x42, 0x39, 0x72,
					    0x31, 0x71, 0xef, 0x3f, 0xee, 0x98, 0x57, 0x9b,
					    0x94, 0x96, 0x4e, 0x3b, 0xb1, 0xcb, 0x3e, 0x42,
					    0x72, 0x62, 0xc8, 0xc0, 0x68, 0xd5, 0x23, 0x19};
	unsigned char key[32], other[32], a[32], b[32], c[32];

	(void)state;
	lt_hash(NULL, 0, "abc", 3, a, sizeof(a));
	assert_memory_equal(a, abc, sizeof(abc));
	lt_random(key, sizeof(key));
	lt_random(other, sizeof(other));
	assert_false(lt_equal_secret(key, other, sizeof(key)));
	lt_hash(key, sizeof(key), "hello", 5, a, sizeof(a));
	lt_hash2(key, sizeof(key), "he", 2, "llo", 3, b, sizeof(b));
	lt_hash(other, sizeof(other), "hello", 5, c, sizeof(c));
	assert_true(lt_equal_secret(a, b, sizeof(a)));
	assert_false(lt_equal_secret(a, c, sizeof(a)));
	lt_wipe(key, sizeof(key));
	assert_int_equal(key[0] | key[31], 0);
}

static void log_levels(void **state)
{
	enum lt_log_level level;

	(void)state;
	assert_true(lt_log_parse("debug", &level));
	assert_int_equal(level, LT_LOG_DEBUG);
	assert_false(lt_log_parse("loud", &level));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(error_table),	   cmocka_unit_test(error_context),
		cmocka_unit_test(memory_overflow), cmocka_unit_test(buffer_limit),
		cmocka_unit_test(buffer_json),	   cmocka_unit_test(utf8_faults),
		cmocka_unit_test(utf8_round_trip), cmocka_unit_test(map_against_array),
		cmocka_unit_test(files),	   cmocka_unit_test(log_levels),
		cmocka_unit_test(hashes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
