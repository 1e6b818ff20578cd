/*
 * Small writers: ids, the list of models, keep-alive comments. Pure functions; any thread.
 */
#include <stdio.h>
#include <string.h>

#include "api/response.h"

void api_id(enum api_endpoint endpoint, const unsigned char random[API_ID_BYTES],
	    char out[API_ID_LENGTH])
{
	const char *prefix = endpoint == API_CHAT ? "chatcmpl-" : "cmpl-";
	size_t at = strlen(prefix);

	memcpy(out, prefix, at);
	for (size_t i = 0; i < API_ID_BYTES; i++, at += 2)
		snprintf(out + at, API_ID_LENGTH - at, "%02x", random[i]);
}

int api_stream_ping(struct lt_buf *out)
{
	return lt_buf_adds(out, ":\n\n");
}

int api_model_body(const struct api_model *model, struct lt_buf *out)
{
	lt_buf_adds(out, "{\"id\":\"");
	lt_buf_add_json(out, model->name, strlen(model->name));
	return lt_buf_addf(out,
			   "\",\"object\":\"model\",\"created\":%lld,\"owned_by\":\"latentd\","
			   "\"max_model_len\":%u}",
			   (long long)model->created, model->max_context);
}

int api_models_body(const struct api_model *models, size_t n, struct lt_buf *out)
{
	lt_buf_adds(out, "{\"object\":\"list\",\"data\":[");
	for (size_t i = 0; i < n; i++) {
		if (i)
			lt_buf_addc(out, ',');
		api_model_body(&models[i], out);
	}
	return lt_buf_adds(out, "]}");
}
