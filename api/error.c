/*
 * Faults and error objects. Pure functions on caller memory; any thread.
 */
#include "api/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

/* Copies src, cut to `size` bytes at a character's border. */
static void copy_cut(char *dst, size_t size, const char *src)
{
	size_t n = strlen(src);

	if (n >= size)
		n = lt_utf8_complete(src, size - 1);
	memcpy(dst, src, n);
	dst[n] = '\0';
}

const char *api_error_code(int code)
{
	switch (code) {
	case LT_EINVAL: return "invalid_value";
	case LT_ETOOLONG: return "context_length_exceeded";
	case LT_EAUTH: return "invalid_api_key";
	case LT_EPERM: return "permission_denied";
	case LT_ENOENT: return "not_found";
	case LT_EMETHOD: return "method_not_allowed";
	case LT_ETIMEOUT: return "timeout";
	case LT_ETOOBIG: return "request_too_large";
	case LT_EMEDIATYPE: return "unsupported_media_type";
	case LT_EFULL: return "rate_limit_exceeded";
	case LT_EHEADERS: return "headers_too_large";
	case LT_EUNSUPPORTED: return "unsupported_value";
	case LT_EUNAVAILABLE: return "service_unavailable";
	default: return "";
	}
}

int api_fault_set(struct api_fault *f, int code, const char *api_code, const char *param,
		  const char *fmt, ...)
{
	va_list ap;
	int n;

	if (!f)
		return code;
	f->code = code;
	copy_cut(f->api_code, sizeof(f->api_code), api_code ? api_code : api_error_code(code));
	copy_cut(f->param, sizeof(f->param), param ? param : "");
	va_start(ap, fmt);
	n = vsnprintf(f->message, sizeof(f->message), fmt, ap);
	va_end(ap);
	if (n >= 0 && (size_t)n >= sizeof(f->message))
		f->message[lt_utf8_complete(f->message, sizeof(f->message) - 1)] = '\0';
	return code;
}

int api_fault_from(struct api_fault *f, int code, const struct lt_err *err, const char *param)
{
	const char *text = err && err->text[0] ? err->text : lt_error_text(code);

	return api_fault_set(f, code, NULL, param, "%s", text);
}

int api_fault_status(const struct api_fault *f)
{
	return lt_error_status(f->code);
}

static void add_string_or_null(struct lt_buf *out, const char *s)
{
	if (!s || !*s) {
		lt_buf_adds(out, "null");
		return;
	}
	lt_buf_addc(out, '"');
	lt_buf_add_json(out, s, strlen(s));
	lt_buf_addc(out, '"');
}

int api_error_body(struct lt_buf *out, int code, const char *message, const char *param,
		   const char *api_code)
{
	if (!message)
		message = lt_error_text(code);
	lt_buf_adds(out, "{\"error\":{\"message\":\"");
	lt_buf_add_json(out, message, strlen(message));
	lt_buf_addf(out, "\",\"type\":\"%s\",\"param\":", lt_error_type(code));
	add_string_or_null(out, param);
	lt_buf_adds(out, ",\"code\":");
	add_string_or_null(out, api_code);
	return lt_buf_adds(out, "}}");
}

int api_fault_body(struct lt_buf *out, const struct api_fault *f)
{
	return api_error_body(out, f->code, f->message, f->param, f->api_code);
}

int api_fault_event(struct lt_buf *out, const struct api_fault *f)
{
	lt_buf_adds(out, "data: ");
	api_fault_body(out, f);
	return lt_buf_adds(out, "\n\n");
}
