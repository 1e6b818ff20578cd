/*
 * Faults of a request and OpenAI's error objects:
 *   {"error":{"message":"...","type":"...","param":"..." or null,"code":"..." or null}}
 * Status and type come from the table in base/error.h. Pure functions on caller memory; any thread.
 */
#ifndef LT_API_ERROR_H
#define LT_API_ERROR_H

#include "base/buf.h"
#include "base/error.h"

/* What is wrong with a request, ready to be shown to its sender. All strings are UTF-8 and
 * NUL-terminated; empty param or api_code read as null in the error object. */
struct api_fault {
	int code;	   /* LT_E*; 0: no fault yet */
	char message[512]; /* which field, what was found, what is allowed */
	char param[64];	   /* the field's path, such as messages[2].content */
	char api_code[64]; /* OpenAI's: invalid_type, invalid_value, context_length_exceeded, ... */
};

/* Fills *f (which may be NULL) and returns `code`. `api_code` NULL: api_error_code(code); "": none.
 * `param` NULL or "": none. Texts are cut at their sizes, never inside a UTF-8 sequence. */
int api_fault_set(struct api_fault *f, int code, const char *api_code, const char *param,
		  const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* The same from an error of another folder: its text becomes the message, its code chooses the
 * api_code. An err without text gives the table's text for `code`. */
int api_fault_from(struct api_fault *f, int code, const struct lt_err *err, const char *param);

/* HTTP status of a fault (lt_error_status of its code). */
int api_fault_status(const struct api_fault *f);

/* The api_code usual for an LT_E* ("rate_limit_exceeded" for LT_EFULL ...), "" where OpenAI has none. */
const char *api_error_code(int code);

/* Appends an error object for LT_E* `code`. message NULL: the table's text. param and api_code NULL
 * or "": null. Returns 0 or the buffer's code. */
int api_error_body(struct lt_buf *out, int code, const char *message, const char *param,
		   const char *api_code);
/* Appends the error object of a fault. */
int api_fault_body(struct lt_buf *out, const struct api_fault *f);
/* The same as a server-sent event ("data: {...}\n\n"): for faults after a stream has begun; the
 * caller ends the stream after it, without [DONE]. */
int api_fault_event(struct lt_buf *out, const struct api_fault *f);

#endif
