/*
 * What the tests of the tokenizer have in common.
 */
#ifndef LT_TEST_TOKENIZER_HELP_H
#define LT_TEST_TOKENIZER_HELP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "model/tokenizer.h"

static inline struct mdl_tok *open_ok(const char *path)
{
	struct lt_err err = {0};
	struct mdl_tok *t = NULL;
	int rc = mdl_tok_open(path, &t, &err);

	if (rc < 0)
		fail_msg("%s", err.text);
	return t;
}

static inline void encode_ok(const struct mdl_tok *t, const char *s, size_t n, bool trusted,
			     struct mdl_ids *ids)
{
	struct lt_err err = {0};

	ids->n = 0;
	if (mdl_tok_encode(t, s, n, trusted, ids, &err) < 0)
		fail_msg("%s", err.text);
}

static inline void assert_ids(const struct mdl_ids *got, const int32_t *want, size_t n)
{
	assert_int_equal(got->n, n);
	if (n)
		assert_memory_equal(got->data, want, n * sizeof(*want));
}

#endif
