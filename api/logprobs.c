/*
 * Log probabilities: entries are JSON fragments in one buffer, so that releasing them is copying.
 * Chat's entries are one object each; those of completions are three fragments, for three arrays.
 */
#include "api/logprobs.h"

#include <stdlib.h>
#include <string.h>

#include "api/write.h"
#include "base/mem.h"
#include "base/utf8.h"

#define PARTS 3 /* completions: token, logprob, alternatives */

struct api_logprob_entry {
	uint64_t start, end; /* bytes of its text in the answer */
	uint64_t chars;	     /* characters before it */
	uint32_t len[PARTS]; /* of its fragments; chat: the first alone */
};

void api_logprobs_init(struct api_logprobs *p, enum api_endpoint form, size_t limit, uint64_t chars)
{
	*p = (struct api_logprobs){.form = form, .chars = chars};
	lt_buf_init(&p->json, limit);
}

void api_logprobs_fini(struct api_logprobs *p)
{
	free(p->list);
	lt_buf_fini(&p->json);
	*p = (struct api_logprobs){0};
}

/* "token":"...","logprob":...,"bytes":[...] */
static void add_chat_token(struct lt_buf *b, const struct api_token_bytes *t)
{
	lt_buf_adds(b, "\"token\":\"");
	lt_buf_add_json(b, t->s, t->n);
	lt_buf_adds(b, "\",\"logprob\":");
	api_write_logprob(b, t->logprob);
	lt_buf_adds(b, ",\"bytes\":[");
	for (size_t i = 0; i < t->n; i++) {
		if (i)
			lt_buf_addc(b, ',');
		api_write_uint(b, (unsigned char)t->s[i]);
	}
	lt_buf_addc(b, ']');
}

static void add_chat(struct lt_buf *b, const struct api_token *t)
{
	lt_buf_addc(b, '{');
	add_chat_token(b, &t->self);
	lt_buf_adds(b, ",\"top_logprobs\":[");
	for (uint32_t i = 0; i < t->n_top; i++) {
		lt_buf_adds(b, i ? ",{" : "{");
		add_chat_token(b, &t->top[i]);
		lt_buf_addc(b, '}');
	}
	lt_buf_adds(b, "]}");
}

/* A token as completions show it: its text, or bytes:\xe4\xbd for a part of a character, so that
 * alternatives don't fall together. */
static void add_text_token(struct lt_buf *b, const struct api_token_bytes *t)
{
	lt_buf_addc(b, '"');
	if (lt_utf8_valid(t->s, t->n, NULL)) {
		lt_buf_add_json(b, t->s, t->n);
	} else {
		lt_buf_adds(b, "bytes:");
		for (size_t i = 0; i < t->n; i++)
			lt_buf_addf(b, "\\\\x%02x", (unsigned char)t->s[i]);
	}
	lt_buf_addc(b, '"');
}

static void add_top_text(struct lt_buf *b, const struct api_token *t)
{
	if (t->n_top == 0) {
		lt_buf_adds(b, "null");
		return;
	}
	lt_buf_addc(b, '{');
	for (uint32_t i = 0; i < t->n_top; i++) {
		if (i)
			lt_buf_addc(b, ',');
		add_text_token(b, &t->top[i]);
		lt_buf_addc(b, ':');
		api_write_logprob(b, t->top[i].logprob);
	}
	lt_buf_addc(b, '}');
}

int api_logprobs_add(struct api_logprobs *p, const struct api_token *t)
{
	struct api_logprob_entry *e;
	size_t from = p->json.len;

	if (lt_reserve(&p->list, &p->cap, p->n + 1, sizeof(*p->list)) < 0)
		return LT_ENOMEM;
	e = &p->list[p->n];
	*e = (struct api_logprob_entry){
		.start = p->bytes, .end = p->bytes + t->n, .chars = p->chars};
	if (p->form == API_CHAT) {
		add_chat(&p->json, t);
		e->len[0] = (uint32_t)(p->json.len - from);
	} else {
		add_text_token(&p->json, &t->self);
		e->len[0] = (uint32_t)(p->json.len - from);
		api_write_logprob(&p->json, t->self.logprob);
		e->len[1] = (uint32_t)(p->json.len - from) - e->len[0];
		add_top_text(&p->json, t);
		e->len[2] = (uint32_t)(p->json.len - from) - e->len[0] - e->len[1];
	}
	if (p->json.failed)
		return p->json.failed;
	p->n++;
	p->bytes += t->n;
	p->chars += api_count_chars(t->text, t->n);
	return 0;
}

size_t api_logprobs_waiting(const struct api_logprobs *p)
{
	return p->n - p->head;
}

size_t api_logprobs_due(const struct api_logprobs *p, size_t due, uint64_t shown)
{
	size_t i = p->head + due;

	while (i < p->n && p->list[i].end <= shown &&
	       (p->list[i].end > p->list[i].start || p->list[i].end < shown))
		i++;
	return i - p->head;
}

void api_logprobs_cut(struct api_logprobs *p, uint64_t cut)
{
	while (p->n > p->head && p->list[p->n - 1].start >= cut)
		p->n--;
}

/* Appends fragment `part` of the first `count` entries, with commas between. */
static void write_part(const struct api_logprobs *p, size_t count, size_t part, struct lt_buf *out)
{
	const char *s = p->json.data;

	for (size_t i = 0; i < count; i++) {
		const struct api_logprob_entry *e = &p->list[p->head + i];
		size_t before = 0;
		for (size_t k = 0; k < part; k++)
			before += e->len[k];
		if (i)
			lt_buf_addc(out, ',');
		lt_buf_add(out, s + before, e->len[part]);
		for (size_t k = 0; k < PARTS; k++)
			s += e->len[k];
	}
}

static void forget(struct api_logprobs *p, size_t count)
{
	size_t bytes = 0;

	for (size_t i = 0; i < count; i++) {
		for (size_t k = 0; k < PARTS; k++)
			bytes += p->list[p->head + i].len[k];
	}
	lt_buf_consume(&p->json, bytes);
	p->head += count;
	if (p->head == p->n)
		p->head = p->n = 0;
}

int api_logprobs_write(struct api_logprobs *p, size_t count, struct lt_buf *out)
{
	if (p->form == API_CHAT) {
		lt_buf_adds(out, "{\"content\":[");
		write_part(p, count, 0, out);
		lt_buf_adds(out, "],\"refusal\":null}");
	} else {
		lt_buf_adds(out, "{\"tokens\":[");
		write_part(p, count, 0, out);
		lt_buf_adds(out, "],\"token_logprobs\":[");
		write_part(p, count, 1, out);
		lt_buf_adds(out, "],\"top_logprobs\":[");
		write_part(p, count, 2, out);
		lt_buf_adds(out, "],\"text_offset\":[");
		for (size_t i = 0; i < count; i++) {
			if (i)
				lt_buf_addc(out, ',');
			api_write_uint(out, p->list[p->head + i].chars);
		}
		lt_buf_adds(out, "]}");
	}
	forget(p, count);
	return out->failed;
}
