/*
 * Log probabilities of a choice's tokens, waiting for their text to be shown (private to api/).
 *
 * A token's entry is written as JSON when the token comes, and released with the chunk in which the
 * last of its text is: text that is held back holds back its tokens' entries too. Caller memory; one
 * owner at a time.
 */
#ifndef LT_API_LOGPROBS_H
#define LT_API_LOGPROBS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/response.h"
#include "base/buf.h"

struct api_logprob_entry;

struct api_logprobs {
	enum api_endpoint form;
	struct api_logprob_entry *list;
	size_t head, n, cap;   /* entries [head, n) wait */
	struct lt_buf json;    /* of the entries that wait */
	uint64_t bytes, chars; /* of text so far */
};

/* `limit`: most bytes of JSON that may wait; 0: any. `chars`: characters shown before the answer. */
void api_logprobs_init(struct api_logprobs *p, enum api_endpoint form, size_t limit,
		       uint64_t chars);
void api_logprobs_fini(struct api_logprobs *p);

int api_logprobs_add(struct api_logprobs *p, const struct api_token *t);
/* How many of the waiting entries are due when `shown` bytes of the text have been disposed of; `due`
 * of them were before. A token without text (the beginning of a character) goes with the text that
 * follows it. */
size_t api_logprobs_due(const struct api_logprobs *p, size_t due, uint64_t shown);
/* At the end: forgets tokens that lie wholly at or after byte `cut` of the text. */
void api_logprobs_cut(struct api_logprobs *p, uint64_t cut);
size_t api_logprobs_waiting(const struct api_logprobs *p);
/* Appends the "logprobs" object of the first `count` entries and forgets them. */
int api_logprobs_write(struct api_logprobs *p, size_t count, struct lt_buf *out);

#endif
