/*
 * Error codes and error texts.
 *
 * One table gives each code its text, the HTTP status and the OpenAI error type that a client
 * sees when a request ends with it. A function that can fail returns 0 or a negative LT_E* and,
 * where it takes a `struct lt_err *`, leaves a sentence there that names what is wrong and what
 * is allowed. The struct is caller memory, needs no release and may be NULL.
 */
#ifndef LT_BASE_ERROR_H
#define LT_BASE_ERROR_H

#include <stdarg.h>
#include <stddef.h>

/* X(name, text, HTTP status, API error type) */
#define LT_ERRORS(X)                                                                               \
	X(INVAL, "invalid value", 400, "invalid_request_error")                                    \
	X(FORMAT, "malformed data", 400, "invalid_request_error")                                  \
	X(TOOLONG, "too long", 400, "invalid_request_error")                                       \
	X(AUTH, "missing or wrong API key", 401, "authentication_error")                           \
	X(PERM, "not permitted", 403, "permission_error")                                          \
	X(NOENT, "not found", 404, "invalid_request_error")                                        \
	X(METHOD, "method not allowed", 405, "invalid_request_error")                              \
	X(TIMEOUT, "deadline passed", 408, "timeout_error")                                        \
	X(TOOBIG, "too large", 413, "invalid_request_error")                                       \
	X(MEDIATYPE, "unsupported media type", 415, "invalid_request_error")                       \
	X(FULL, "queue full", 429, "rate_limit_error")                                             \
	X(HEADERS, "header fields too large", 431, "invalid_request_error")                        \
	X(CANCELLED, "cancelled", 499, "invalid_request_error")                                    \
	X(INTERNAL, "internal error", 500, "server_error")                                         \
	X(NOMEM, "out of memory", 500, "server_error")                                             \
	X(IO, "input/output error", 500, "server_error")                                           \
	X(NUMERIC, "the model produced non-finite numbers", 500, "server_error")                   \
	X(UNSUPPORTED, "not supported", 501, "invalid_request_error")                              \
	X(UNAVAILABLE, "not available now", 503, "server_error")

enum lt_error_ordinal {
	LT_ERROR_ORDINAL_NONE,
#define X(name, text, status, type) LT_ERROR_ORDINAL_##name,
	LT_ERRORS(X)
#undef X
		LT_ERROR_COUNT
};

enum lt_error_code {
	LT_OK = 0,
#define X(name, text, status, type) LT_E##name = -LT_ERROR_ORDINAL_##name,
	LT_ERRORS(X)
#undef X
};

/* What went wrong, in words. `code` is 0 while nothing has. */
struct lt_err {
	int code;
	char text[512];
};

/* The table's text, HTTP status and API error type for `code`; unknown codes read as INTERNAL. */
const char *lt_error_text(int code);
int lt_error_status(int code);
const char *lt_error_type(int code);

/* Fills `err` (which may be NULL; text is cut at its size, never inside a UTF-8 sequence) and
 * returns `code`, so that a function can `return lt_fail(err, LT_EINVAL, "...", ...);`. */
int lt_fail(struct lt_err *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Puts "context: " before the text already in `err`; returns err->code (or `code` if err is NULL).
 * For callers that know which file or request the fault belongs to. */
int lt_fail_in(struct lt_err *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* A broken invariant: logs place and expression, then aborts. Stays on in release builds; never
 * used on input. */
void lt_assert_failed(const char *file, int line, const char *expr) __attribute__((noreturn));
#define LT_ASSERT(expr) ((expr) ? (void)0 : lt_assert_failed(__FILE__, __LINE__, #expr))

#endif
