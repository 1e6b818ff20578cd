/*
 * Stop strings: one automaton each, run side by side. What is held back needs no memory of its own:
 * it is the beginning of the string that has matched the most.
 */
#include "api/stop.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct pattern {
	const char *s;
	uint32_t n;
	uint32_t *fail; // [n]: longest proper border of s[0..i]
};

struct api_stops {
	size_t n;
	struct pattern list[API_MAX_STOPS];
};

static int compile(struct pattern *p, const struct api_str *text)
{
	uint32_t k = 0;

	p->s = text->s;
	p->n = (uint32_t)text->n;
	p->fail = lt_alloc(p->n, sizeof(*p->fail));
	if (!p->fail)
		return LT_ENOMEM;
	for (uint32_t i = 1; i < p->n; i++) {
		while (k && p->s[i] != p->s[k])
			k = p->fail[k - 1];
		k += p->s[i] == p->s[k];
		p->fail[i] = k;
	}
	return 0;
}

int api_stops_open(const struct api_str *list, size_t n, struct api_stops **out)
{
	struct api_stops *set = lt_alloc(1, sizeof(*set));

	if (!set)
		return LT_ENOMEM;
	LT_ASSERT(n <= API_MAX_STOPS);
	for (; set->n < n; set->n++) {
		LT_ASSERT(list[set->n].n > 0 && list[set->n].n < UINT32_MAX);
		if (compile(&set->list[set->n], &list[set->n]) < 0) {
			api_stops_close(set);
			return LT_ENOMEM;
		}
	}
	*out = set;
	return 0;
}

void api_stops_close(struct api_stops *s)
{
	for (size_t i = 0; s && i < s->n; i++)
		free(s->list[i].fail);
	free(s);
}

void api_stopper_init(struct api_stopper *s, const struct api_stops *set)
{
	memset(s, 0, sizeof(*s));
	s->set = set;
}

/* Feeds one byte to every automaton; returns the length of the longest string that ends with it. */
static uint32_t feed(struct api_stopper *s, char c)
{
	uint32_t longest = 0;

	for (size_t i = 0; i < s->set->n; i++) {
		const struct pattern *p = &s->set->list[i];
		uint32_t k = s->matched[i];
		while (k && p->s[k] != c)
			k = p->fail[k - 1];
		k += p->s[k] == c;
		s->matched[i] = k;
		if (k == p->n && k > longest)
			longest = k;
	}
	return longest;
}

/* Appends the first `count` bytes of what was held back and then text. */
static int release(struct api_stopper *s, size_t count, const char *text, struct lt_buf *out)
{
	size_t old = count < s->held ? count : s->held;

	if (old)
		lt_buf_add(out, s->set->list[s->holder].s, old);
	return lt_buf_add(out, text, count - old);
}

int api_stopper_push(struct api_stopper *s, const char *text, size_t n, struct lt_buf *out)
{
	uint32_t held = 0, holder = 0;
	int rc;

	if (s->hit)
		return out->failed;
	if (!s->set || s->set->n == 0)
		return lt_buf_add(out, text, n);
	for (size_t i = 0; i < n; i++) {
		uint32_t found = feed(s, text[i]);
		if (!found)
			continue;
		s->hit = true;
		rc = release(s, s->held + i + 1 - found, text, out);
		s->held = 0;
		return rc;
	}
	for (uint32_t i = 0; i < s->set->n; i++) {
		if (s->matched[i] > held) {
			held = s->matched[i];
			holder = i;
		}
	}
	rc = release(s, s->held + n - held, text, out);
	s->held = held;
	s->holder = holder;
	return rc;
}

int api_stopper_flush(struct api_stopper *s, struct lt_buf *out)
{
	int rc = s->held ? release(s, s->held, "", out) : out->failed;

	if (s->set)
		api_stopper_init(s, s->set);
	return rc;
}
