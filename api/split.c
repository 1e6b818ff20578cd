/*
 * The state machine that splits an answer. Each state consumes from the front of `in` and says
 * whether it got anywhere; the loop ends when a state needs more text.
 */
#include "api/split.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define HEADER_MAX 512 /* bytes before a call's arguments; more is not a call */

static const char think_open[] = "<think>";
static const char think_close[] = "</think>";

struct markers {
	const char *section_begin, *section_end, *call_begin, *call_end, *separator;
};

static const struct markers dialects[] = {
	[API_TOOLS_DEEPSEEK] = {"<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>",
				"<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>", "<｜tool▁sep｜>"},
	[API_TOOLS_KIMI] = {"<|tool_calls_section_begin|>", "<|tool_calls_section_end|>",
			    "<|tool_call_begin|>", "<|tool_call_end|>",
			    "<|tool_call_argument_begin|>"},
};

void api_deltas_clear(struct api_deltas *d)
{
	d->n = 0;
	lt_buf_clear(&d->text);
}

void api_deltas_fini(struct api_deltas *d)
{
	free(d->list);
	lt_buf_fini(&d->text);
	*d = (struct api_deltas){0};
}

static int add_delta(struct api_deltas *d, enum api_delta_kind kind, uint32_t call)
{
	if (lt_reserve(&d->list, &d->cap, d->n + 1, sizeof(*d->list)) < 0)
		return LT_ENOMEM;
	d->list[d->n++] = (struct api_delta){.kind = kind, .call = call, .at = d->text.len};
	return 0;
}

/* Text of a kind; joined to the last delta when that is of the same kind and call. */
static int emit(struct api_deltas *d, enum api_delta_kind kind, uint32_t call, const char *s,
		size_t n)
{
	struct api_delta *last = d->n ? &d->list[d->n - 1] : NULL;

	if (n == 0)
		return 0;
	if (!last || last->kind != kind || last->call != call) {
		if (add_delta(d, kind, call) < 0)
			return LT_ENOMEM;
		last = &d->list[d->n - 1];
	}
	last->n += n;
	return lt_buf_add(&d->text, s, n);
}

void api_split_init(struct api_split *s, bool reasoning, bool open, enum api_tool_dialect dialect,
		    bool single_call, const char *call_prefix)
{
	*s = (struct api_split){
		.dialect = dialect, .single_call = single_call, .call_prefix = call_prefix};
	s->state = !reasoning ? API_SPLIT_CONTENT : open ? API_SPLIT_REASON_LEAD : API_SPLIT_START;
}

void api_split_fini(struct api_split *s)
{
	lt_buf_fini(&s->in);
	lt_buf_fini(&s->space);
	lt_buf_fini(&s->raw);
	lt_buf_fini(&s->header);
	lt_buf_fini(&s->lead);
}

bool api_split_is_plain(const struct api_split *s)
{
	return s->state == API_SPLIT_CONTENT && s->dialect == API_TOOLS_NONE && s->in.len == 0;
}

size_t api_split_held(const struct api_split *s)
{
	return s->in.len + s->space.len + s->raw.len;
}

bool api_split_in_reasoning(const struct api_split *s)
{
	return s->state == API_SPLIT_REASON_LEAD || s->state == API_SPLIT_REASONING;
}

static bool is_space(char c)
{
	return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static size_t span_space(const struct lt_buf *b)
{
	size_t i = 0;

	while (i < b->len && is_space(b->data[i]))
		i++;
	return i;
}

enum match { NO, PARTIAL, FULL };

/* Does `in` begin with the marker? At the end of the text nothing is partial. */
static enum match match(const struct api_split *s, const char *marker, bool final)
{
	size_t n = strlen(marker), have = s->in.len < n ? s->in.len : n;

	if (have == 0 || memcmp(s->in.data, marker, have) != 0)
		return have == 0 && !final ? PARTIAL : NO;
	return have == n ? FULL : final ? NO : PARTIAL;
}

/* What a state made of the front of `in`. */
enum step { WAIT, AGAIN };

/* The work of one push. */
struct run {
	struct api_split *s;
	struct api_deltas *out;
	bool final;
	int rc;
};

static const struct markers *marks(const struct run *r)
{
	return &dialects[r->s->dialect];
}

static void go(struct run *r, enum api_split_state state)
{
	r->s->state = state;
}

static void content(struct run *r, const char *text, size_t n)
{
	if (emit(r->out, API_DELTA_CONTENT, 0, text, n) < 0)
		r->rc = LT_ENOMEM;
}

static void consume(struct run *r, size_t n)
{
	lt_buf_consume(&r->s->in, n);
}

/* Moves n bytes from `in` to another buffer. */
static void keep(struct run *r, struct lt_buf *to, size_t n)
{
	if (lt_buf_add(to, r->s->in.data, n) < 0)
		r->rc = LT_ENOMEM;
}

/* Not a call after all: everything since the last accepted one is content. */
static enum step give_up(struct run *r)
{
	content(r, r->s->raw.data, r->s->raw.len);
	lt_buf_clear(&r->s->raw);
	go(r, API_SPLIT_CONTENT);
	return AGAIN;
}

/* Consumes a marker into `raw` and goes on. */
static enum step take(struct run *r, const char *marker, enum api_split_state state)
{
	keep(r, &r->s->raw, strlen(marker));
	consume(r, strlen(marker));
	go(r, state);
	return AGAIN;
}

/* Length of the plain text at the front of `in`, before a '<' that may begin a marker. */
static size_t plain_span(const struct lt_buf *in)
{
	const char *p = memchr(in->data, '<', in->len);

	return p ? (size_t)(p - in->data) : in->len;
}

static enum step do_start(struct run *r)
{
	size_t n = span_space(&r->s->in);

	if (n) {
		keep(r, &r->s->space, n);
		consume(r, n);
		return AGAIN;
	}
	switch (match(r->s, think_open, r->final)) {
	case PARTIAL: return WAIT;
	case FULL:
		lt_buf_clear(&r->s->space);
		consume(r, sizeof(think_open) - 1);
		go(r, API_SPLIT_REASON_LEAD);
		return AGAIN;
	default: break;
	}
	content(r, r->s->space.data, r->s->space.len);
	lt_buf_clear(&r->s->space);
	go(r, API_SPLIT_CONTENT);
	return AGAIN;
}

/* A model may open the reasoning again that the prompt has opened. */
static enum step do_reason_lead(struct run *r)
{
	consume(r, span_space(&r->s->in));
	switch (match(r->s, think_open, r->final)) {
	case PARTIAL: return WAIT;
	case FULL: consume(r, sizeof(think_open) - 1); return AGAIN;
	default: go(r, API_SPLIT_REASONING); return AGAIN;
	}
}

/* The first n bytes of `in` are reasoning; white space waits for what follows it. */
static void reason(struct run *r, size_t n)
{
	struct api_split *s = r->s;
	size_t i = 0, from;
	int rc = 0;

	while (i < n) {
		for (from = i; i < n && !is_space(s->in.data[i]);)
			i++;
		if (i > from) {
			rc |= emit(r->out, API_DELTA_REASONING, 0, s->space.data, s->space.len);
			rc |= emit(r->out, API_DELTA_REASONING, 0, s->in.data + from, i - from);
			lt_buf_clear(&s->space);
		}
		for (from = i; i < n && is_space(s->in.data[i]);)
			i++;
		rc |= lt_buf_add(&s->space, s->in.data + from, i - from);
	}
	consume(r, n);
	if (rc)
		r->rc = LT_ENOMEM;
}

static enum step do_reasoning(struct run *r)
{
	struct api_split *s = r->s;
	size_t n = plain_span(&s->in);
	enum match close, section = NO;

	if (n) {
		reason(r, n);
		return AGAIN;
	}
	close = match(s, think_close, r->final);
	if (s->dialect)
		section = match(s, marks(r)->section_begin, r->final);
	if (close == FULL || section == FULL) {
		lt_buf_clear(&s->space);
		if (close == FULL)
			consume(r, sizeof(think_close) - 1);
		go(r, API_SPLIT_CONTENT_LEAD);
		return AGAIN;
	}
	if (close == PARTIAL || section == PARTIAL)
		return WAIT;
	reason(r, s->in.len ? 1 : 0);
	return s->in.len ? AGAIN : WAIT;
}

static enum step do_content_lead(struct run *r)
{
	consume(r, span_space(&r->s->in));
	if (r->s->in.len == 0)
		return WAIT;
	go(r, API_SPLIT_CONTENT);
	return AGAIN;
}

static enum step do_content(struct run *r)
{
	struct api_split *s = r->s;
	size_t n = s->dialect ? plain_span(&s->in) : s->in.len;

	if (n == 0 && s->in.len) {
		switch (match(s, marks(r)->section_begin, r->final)) {
		case PARTIAL: return WAIT;
		case FULL: return take(r, marks(r)->section_begin, API_SPLIT_SECTION);
		default: n = 1; break;
		}
	}
	content(r, s->in.data, n);
	consume(r, n);
	return s->in.len ? AGAIN : WAIT;
}

/* The section ended; without any call it was just text. */
static enum step end_section(struct run *r, const char *marker)
{
	bool text = strncmp(r->s->raw.len ? r->s->raw.data : "", marks(r)->section_begin,
			    strlen(marks(r)->section_begin)) == 0;

	take(r, marker, API_SPLIT_CONTENT);
	if (text)
		return give_up(r);
	lt_buf_clear(&r->s->raw);
	return AGAIN;
}

static enum step do_section(struct run *r)
{
	struct api_split *s = r->s;
	size_t n = span_space(&s->in);
	enum match begin, end;

	keep(r, &s->raw, n);
	consume(r, n);
	if (s->in.len == 0)
		return WAIT;
	begin = match(s, marks(r)->call_begin, r->final);
	end = match(s, marks(r)->section_end, r->final);
	if (begin == FULL) {
		lt_buf_clear(&s->header);
		lt_buf_clear(&s->lead);
		return take(r, marks(r)->call_begin, API_SPLIT_HEADER);
	}
	if (end == FULL)
		return end_section(r, marks(r)->section_end);
	if (begin == PARTIAL || end == PARTIAL)
		return WAIT;
	return give_up(r);
}

/* Adds plain text at the front of `in` to `to` and `raw`, up to HEADER_MAX bytes. False: too long. */
static bool collect(struct run *r, struct lt_buf *to, size_t n)
{
	size_t room = HEADER_MAX - to->len;
	bool fits = n <= room;

	if (!fits)
		n = room;
	keep(r, to, n);
	keep(r, &r->s->raw, n);
	consume(r, n);
	return fits;
}

/* One of the markers that may not stand before the arguments. */
static const char *misplaced(struct run *r, bool *partial)
{
	const char *const list[] = {marks(r)->call_end, marks(r)->section_end, marks(r)->call_begin,
				    marks(r)->section_begin};

	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
		switch (match(r->s, list[i], r->final)) {
		case FULL: return list[i];
		case PARTIAL: *partial = true; break;
		default: break;
		}
	}
	return NULL;
}

static enum step do_header(struct run *r)
{
	struct api_split *s = r->s;
	size_t n = plain_span(&s->in);
	bool partial = false;
	enum match separator;

	if (s->in.len == 0)
		return WAIT;
	if (n)
		return collect(r, &s->header, n) ? AGAIN : give_up(r);
	separator = match(s, marks(r)->separator, r->final);
	if (separator == FULL)
		return take(r, marks(r)->separator, API_SPLIT_LEAD);
	if (misplaced(r, &partial))
		return give_up(r);
	if (separator == PARTIAL || partial)
		return WAIT;
	return collect(r, &s->header, 1) ? AGAIN : give_up(r);
}

/* s[*at..n) without white space at the ends. */
static void trim(const char **s, size_t *n)
{
	while (*n && is_space(**s)) {
		++*s;
		--*n;
	}
	while (*n && is_space((*s)[*n - 1]))
		--*n;
}

/* What may stand between name and arguments: nothing, or the opening of a fenced block. */
static bool is_fence(const char *s, size_t n, bool *fence)
{
	trim(&s, &n);
	*fence = n >= 3 && memcmp(s, "```", 3) == 0;
	if (!*fence)
		return n == 0;
	return n == 3 || (n == 7 && memcmp(s + 3, "json", 4) == 0);
}

static bool is_name(const char *s, size_t n)
{
	if (n == 0)
		return false;
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s[i];
		if (c <= ' ' || c == 0x7f || c == '<' || c == '`' || c == '{' || c == '"')
			return false;
	}
	return true;
}

/* Kimi: functions.NAME:IDX, kept verbatim as the call's id. */
static bool kimi_name(const struct lt_buf *header, const char **name, size_t *n, const char **id,
		      size_t *id_n)
{
	static const char prefix[] = "functions.";

	*id = header->data;
	*id_n = header->len;
	trim(id, id_n);
	*name = *id;
	*n = *id_n;
	if (*n > sizeof(prefix) - 1 && memcmp(*name, prefix, sizeof(prefix) - 1) == 0) {
		*name += sizeof(prefix) - 1;
		*n -= sizeof(prefix) - 1;
	}
	for (size_t i = *n; i > 0; i--) {
		if ((*name)[i - 1] == ':') {
			*n = i - 1;
			break;
		}
		if ((*name)[i - 1] < '0' || (*name)[i - 1] > '9')
			break;
	}
	return is_name(*name, *n);
}

/* DeepSeek: the header is the name (V3.1), or "function" with the name on the lead's first line. */
static bool deepseek_name(const struct api_split *s, const char **name, size_t *n, bool *fence)
{
	const char *rest = s->lead.data;
	size_t rest_n = s->lead.len;

	*name = s->header.data;
	*n = s->header.len;
	trim(name, n);
	if (is_fence(rest, rest_n, fence))
		return is_name(*name, *n);
	if (*n != 8 || memcmp(*name, "function", 8) != 0)
		return false;
	trim(&rest, &rest_n);
	*name = rest;
	for (*n = 0; *n < rest_n && !is_space(rest[*n]);)
		++*n;
	return is_name(*name, *n) && is_fence(rest + *n, rest_n - *n, fence);
}

/* The arguments begin: tells name and id, or gives up. */
static enum step accept(struct run *r)
{
	struct api_split *s = r->s;
	const char *name = "", *id = NULL;
	size_t n = 0, id_n = 0;
	bool fence = false, ok;
	char made[96];
	struct api_delta *d;

	/* an empty buffer has no data yet */
	if (lt_buf_add(&s->header, "", 0) < 0 || lt_buf_add(&s->lead, "", 0) < 0) {
		r->rc = LT_ENOMEM;
		return WAIT;
	}
	if (s->dialect == API_TOOLS_KIMI)
		ok = kimi_name(&s->header, &name, &n, &id, &id_n) &&
		     is_fence(s->lead.data, s->lead.len, &fence);
	else
		ok = deepseek_name(s, &name, &n, &fence);
	if (!ok)
		return give_up(r);
	if (!id) {
		id_n = (size_t)snprintf(made, sizeof(made), "%.64s%u", s->call_prefix, s->calls);
		id = made;
	}
	if (add_delta(r->out, API_DELTA_CALL, s->calls) < 0) {
		r->rc = LT_ENOMEM;
		return WAIT;
	}
	d = &r->out->list[r->out->n - 1];
	d->n = n;
	lt_buf_add(&r->out->text, name, n);
	d->id_at = r->out->text.len;
	d->id_n = id_n;
	lt_buf_add(&r->out->text, id, id_n);
	lt_buf_clear(&s->raw);
	s->calls++;
	s->depth = 0;
	s->in_string = s->escaped = false;
	s->fence = fence ? 3 : 0;
	go(r, API_SPLIT_ARGUMENTS);
	return AGAIN;
}

static enum step do_lead(struct run *r)
{
	struct api_split *s = r->s;
	bool partial = false;
	size_t n = 0;

	if (s->in.len == 0)
		return WAIT;
	while (n < s->in.len && s->in.data[n] != '<' && s->in.data[n] != '{')
		n++;
	if (n)
		return collect(r, &s->lead, n) ? AGAIN : give_up(r);
	if (s->in.data[0] == '{')
		return accept(r);
	if (misplaced(r, &partial))
		return give_up(r);
	if (partial)
		return WAIT;
	return collect(r, &s->lead, 1) ? AGAIN : give_up(r);
}

/* The end of a call, with or without its marker. */
static enum step end_call(struct run *r, const char *marker)
{
	if (marker)
		consume(r, strlen(marker));
	go(r, r->s->single_call ? API_SPLIT_DONE : API_SPLIT_SECTION);
	return AGAIN;
}

/* Markers that end the arguments, whatever state they are in; *step is WAIT or AGAIN when decided. */
static bool ends_call(struct run *r, enum step *step)
{
	enum match call = match(r->s, marks(r)->call_end, r->final);
	enum match section = match(r->s, marks(r)->section_end, r->final);

	*step = WAIT;
	if (call == FULL)
		*step = end_call(r, marks(r)->call_end);
	else if (section == FULL)
		*step = end_call(r, NULL);
	return call != NO || section != NO;
}

static void argue(struct run *r, size_t n)
{
	if (emit(r->out, API_DELTA_ARGUMENTS, r->s->calls - 1, r->s->in.data, n) < 0)
		r->rc = LT_ENOMEM;
	consume(r, n);
}

/* Follows the brackets; true when c closes the object. */
static bool closes(struct api_split *s, char c)
{
	if (s->escaped) {
		s->escaped = false;
	} else if (s->in_string) {
		s->escaped = c == '\\';
		s->in_string = c != '"';
	} else if (c == '"') {
		s->in_string = true;
	} else if (c == '{' || c == '[') {
		s->depth++;
	} else if (c == '}' || c == ']') {
		s->depth--;
	}
	return s->depth == 0;
}

static enum step do_arguments(struct run *r)
{
	struct api_split *s = r->s;
	enum step step;
	size_t n = 0;
	bool closed = false;

	if (s->in.len == 0 || (s->in.data[0] == '<' && ends_call(r, &step)))
		return s->in.len == 0 ? WAIT : step;
	do {
		closed = closes(s, s->in.data[n++]);
	} while (!closed && n < s->in.len && s->in.data[n] != '<');
	argue(r, n);
	if (closed)
		go(r, API_SPLIT_TAIL);
	return AGAIN;
}

/* White space and the closing fence go; anything else belongs to the arguments, invalid as it is. */
static enum step do_tail(struct run *r)
{
	struct api_split *s = r->s;
	enum step step;

	consume(r, span_space(&s->in));
	if (s->in.len == 0)
		return WAIT;
	if (s->in.data[0] == '<' && ends_call(r, &step))
		return step;
	if (s->in.data[0] == '`' && s->fence) {
		s->fence--;
		consume(r, 1);
		return AGAIN;
	}
	argue(r, 1);
	return AGAIN;
}

static enum step do_done(struct run *r)
{
	consume(r, r->s->in.len);
	return WAIT;
}

static int run(struct api_split *s, struct api_deltas *out, bool final)
{
	static enum step (*const states[])(struct run *) = {
		[API_SPLIT_START] = do_start,	      [API_SPLIT_REASON_LEAD] = do_reason_lead,
		[API_SPLIT_REASONING] = do_reasoning, [API_SPLIT_CONTENT_LEAD] = do_content_lead,
		[API_SPLIT_CONTENT] = do_content,     [API_SPLIT_SECTION] = do_section,
		[API_SPLIT_HEADER] = do_header,	      [API_SPLIT_LEAD] = do_lead,
		[API_SPLIT_ARGUMENTS] = do_arguments, [API_SPLIT_TAIL] = do_tail,
		[API_SPLIT_DONE] = do_done,
	};
	struct run r = {s, out, final, 0};

	while (r.rc == 0 && s->in.len > 0 && states[s->state](&r) == AGAIN)
		;
	if (r.rc == 0)
		r.rc = out->text.failed;
	for (size_t i = 0; r.rc == 0 && i < out->n; i++) {
		out->list[i].text = out->text.data + out->list[i].at;
		out->list[i].id = out->text.data + out->list[i].id_at;
	}
	return r.rc;
}

int api_split_push(struct api_split *s, const char *text, size_t n, struct api_deltas *out)
{
	if (n == 0)
		return 0;
	if (lt_buf_add(&s->in, text, n) < 0)
		return LT_ENOMEM;
	return run(s, out, false);
}

int api_split_flush(struct api_split *s, struct api_deltas *out)
{
	int rc = run(s, out, true);

	if (rc < 0)
		return rc;
	/* A section that brought calls keeps nothing but white space; one that did not is text. */
	if (s->raw.len && span_space(&s->raw) < s->raw.len)
		rc = emit(out, API_DELTA_CONTENT, 0, s->raw.data, s->raw.len);
	if (rc == 0 && s->space.len)
		rc = emit(out,
			  s->state == API_SPLIT_START ? API_DELTA_CONTENT : API_DELTA_REASONING, 0,
			  s->space.data, s->space.len);
	lt_buf_clear(&s->raw);
	lt_buf_clear(&s->space);
	return rc < 0 ? rc : run(s, out, true);
}
