/*
 * What the tests of the engine have in common.
 */
#ifndef LT_TEST_ENGINE_HELP_H
#define LT_TEST_ENGINE_HELP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/engine.h"
#include "model/checkpoint.h"

static inline struct mdl *open_model(const char *path)
{
	struct lt_err err = {0};
	struct mdl *m = NULL;

	if (mdl_open(path, &m, &err) < 0)
		fail_msg("%s", err.text);
	return m;
}

static inline struct mdl *open_fixture(const char *name)
{
	char path[1024];

	snprintf(path, sizeof(path), "%s/test/fixtures/%s", getenv("LT_SRCDIR"), name);
	return open_model(path);
}

static inline struct eng *open_engine(const struct mdl *m, const struct eng_opts *opts)
{
	struct lt_err err = {0};
	struct eng *e = NULL;

	if (eng_open(m, opts, &e, &err) < 0)
		fail_msg("%s", err.text);
	return e;
}

static inline void step_ok(struct eng *e, const struct eng_batch *batch, struct eng_out *out)
{
	struct lt_err err = {0};

	if (eng_step(e, batch, out, &err) < 0)
		fail_msg("%s", err.text);
}

#endif
