/*
 * The error table and the filling of `struct lt_err`. Pure functions on caller memory; any thread.
 */
#include "base/error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

struct row {
	const char *text;
	int status;
	const char *type;
};

static const struct row rows[LT_ERROR_COUNT] = {[LT_ERROR_ORDINAL_NONE] = {"no error", 200, "none"},
#define X(name, text, status, type) [LT_ERROR_ORDINAL_##name] = {text, status, type},
						LT_ERRORS(X)
#undef X
};

static const struct row *row_of(int code)
{
	if (code > 0 || code <= -LT_ERROR_COUNT)
		code = LT_EINTERNAL;
	return &rows[-code];
}

const char *lt_error_text(int code)
{
	return row_of(code)->text;
}

int lt_error_status(int code)
{
	return row_of(code)->status;
}

const char *lt_error_type(int code)
{
	return row_of(code)->type;
}

/* vsnprintf that never ends inside a UTF-8 sequence. */
static void format_cut(char *dst, size_t size, const char *fmt, va_list ap)
{
	int n = vsnprintf(dst, size, fmt, ap);

	if (n >= 0 && (size_t)n >= size)
		dst[lt_utf8_complete(dst, size - 1)] = '\0';
}

int lt_fail(struct lt_err *err, int code, const char *fmt, ...)
{
	va_list ap;

	if (!err)
		return code;
	va_start(ap, fmt);
	err->code = code;
	format_cut(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	return code;
}

int lt_fail_in(struct lt_err *err, int code, const char *fmt, ...)
{
	char inner[sizeof(err->text)];
	size_t used;
	va_list ap;

	if (!err)
		return code;
	memcpy(inner, err->text, sizeof(inner));
	va_start(ap, fmt);
	format_cut(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	used = strlen(err->text);
	if (used + 3 < sizeof(err->text)) {
		size_t room = sizeof(err->text) - used;
		int n = snprintf(err->text + used, room, ": %s", inner);
		if (n >= 0 && (size_t)n >= room)
			err->text[lt_utf8_complete(err->text, sizeof(err->text) - 1)] = '\0';
	}
	if (!err->code)
		err->code = code;
	return err->code;
}

void lt_assert_failed(const char *file, int line, const char *expr)
{
	fprintf(stderr, "<2>%s:%d: broken invariant: %s\n", file, line, expr);
	abort();
}
