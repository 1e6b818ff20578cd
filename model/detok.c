/*
 * The streaming detokenizer. Whatever way a text is cut into tokens, what comes out is the text
 * itself, with each malformed stretch (the longest beginning of a sequence that goes no further)
 * as one U+FFFD. Caller memory, one for each stream.
 */
#include <string.h>

#include "base/utf8.h"
#include "model/tokenizer.h"

static const char replacement[] = "\xef\xbf\xbd";

void mdl_detok_init(struct mdl_detok *d, const struct mdl_tok *t, bool special)
{
	*d = (struct mdl_detok){.tok = t, .special = special};
}

/* Bytes of the malformed stretch that s[0..n) begins with. */
static size_t malformed(const char *s, size_t n)
{
	for (size_t k = n < 3 ? n : 3; k > 1; k--) {
		if (lt_utf8_complete(s, k) == 0)
			return k;
	}
	return 1;
}

/* Appends s[0..n) with malformed stretches replaced. */
static void add_text(struct lt_buf *out, const char *s, size_t n)
{
	size_t good;

	while (!lt_utf8_valid(s, n, &good)) {
		size_t bad = malformed(s + good, n - good);

		lt_buf_add(out, s, good);
		lt_buf_adds(out, replacement);
		s += good + bad;
		n -= good + bad;
	}
	lt_buf_add(out, s, n);
}

int mdl_detok_push(struct mdl_detok *d, int32_t id, struct lt_buf *out)
{
	size_t n, taken = 0, complete;
	const char *bytes = mdl_tok_bytes(d->tok, id, &n);
	char joint[8];

	if (!bytes)
		return LT_EINVAL;
	if (!d->special && mdl_tok_is_special(d->tok, id))
		return out->failed;
	/* What is held and the token's first bytes, until nothing is held any more. */
	while (d->n_held && taken < n) {
		memcpy(joint, d->held, d->n_held);
		joint[d->n_held] = bytes[taken];
		complete = lt_utf8_complete(joint, d->n_held + 1u);
		if (complete == 0) {
			d->held[d->n_held++] = (unsigned char)bytes[taken++];
			continue;
		}
		if (lt_utf8_valid(joint, d->n_held + 1u, NULL)) {
			lt_buf_add(out, joint, d->n_held + 1u);
			taken++;
		} else {
			lt_buf_adds(out, replacement);
		}
		d->n_held = 0;
	}
	complete = lt_utf8_complete(bytes + taken, n - taken);
	add_text(out, bytes + taken, complete);
	if (d->n_held == 0 && taken + complete < n) {
		d->n_held = (unsigned char)(n - taken - complete);
		memcpy(d->held, bytes + taken + complete, d->n_held);
	}
	return out->failed;
}

int mdl_detok_flush(struct mdl_detok *d, struct lt_buf *out)
{
	if (d->n_held)
		lt_buf_adds(out, replacement);
	d->n_held = 0;
	return out->failed;
}
