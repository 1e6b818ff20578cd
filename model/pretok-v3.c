/*
 * DeepSeek-V3's pre-tokenizer by hand. The stages, each of which sees a piece of the one before alone:
 *
 *   1. digits, by up to three;
 *   2. runs of Chinese and Japanese characters ("han" below);
 *   3. within such a run, or between runs and digits (a segment): a word behind an ASCII mark, a word
 *      with at most one character before it, marks, line ends, white space.
 *
 * A segment ends where the next character is a digit, or is han and the segment isn't, or the other
 * way round. So it is enough to ask of each character whether it continues what was begun and is of
 * the segment's kind, and no stage has to be done before the next. What pattern 3 doesn't match are
 * control characters and unassigned ones that no word follows; a run of those is one piece.
 *
 * Letters and combining marks are alike here: a combining mark may be the one character before a
 * word, but it may begin the word as well, with the same end.
 */
#include "model/pretok-v3.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "model/unicode.h"

#define BLOCK  256u
#define BLOCKS ((MDL_UNICODE_MAX + 1) / BLOCK)

/* What a character is; 0: nothing of this, or HAN alone. */
enum {
	LETTER = 1,   /* or a combining mark */
	ALPHA = 2,    /* a letter of ASCII, besides */
	MARK = 4,     /* punctuation, a symbol */
	SPACE = 8,    /* white space */
	NEWLINE = 16, /* CR or LF, besides */
	DIGIT = 32,   /* a digit or another number */
	HAN = 64,     /* of stage 2, besides */
};

struct mdl_pretok_v3 {
	uint8_t low[128]; /* of ASCII characters */
	uint8_t (*blocks)[BLOCK];
	uint16_t index[BLOCKS];
};

const char *const mdl_pretok_v3_patterns[] = {
	"\\p{N}{1,3}",
	"[\\x{4e00}-\\x{9fa5}\\x{3040}-\\x{30ff}]+",
	"[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+"
	"|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
	"| ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
	NULL,
};

bool mdl_pretok_v3_is(size_t k, const char *pattern, size_t n)
{
	static const char published[] = "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+";
	const char *ours;

	if (k >= MDL_PRETOK_V3_STAGES)
		return false;
	ours = mdl_pretok_v3_patterns[k];
	return (n == strlen(ours) && memcmp(pattern, ours, n) == 0) ||
	       (k == 1 && n == strlen(published) && memcmp(pattern, published, n) == 0);
}

/* ---- the table ---- */

static uint8_t of_category(unsigned category)
{
	if (category <= MDL_ME)
		return LETTER;
	if (category <= MDL_NO)
		return DIGIT;
	if (category <= MDL_SO)
		return MARK;
	return category <= MDL_ZP ? SPACE : 0;
}

/* Beyond its category. */
static uint8_t of_character(uint32_t cp)
{
	if (cp == '\r' || cp == '\n')
		return SPACE | NEWLINE;
	if ((cp >= 0x09 && cp <= 0x0d) || cp == 0x85)
		return SPACE;
	if ((cp >= 'A' && cp <= 'Z') || (cp >= 'a' && cp <= 'z'))
		return ALPHA;
	if ((cp >= 0x4e00 && cp <= 0x9fa5) || (cp >= 0x3040 && cp <= 0x30ff))
		return HAN;
	return 0;
}

/* Equal blocks stand once: nearly all that are equal are alike throughout and follow each other. */
static int fill(struct mdl_pretok_v3 *p)
{
	size_t run = 0, n = 0, cap = 0;
	uint8_t block[BLOCK];

	for (uint32_t cp = 0; cp <= MDL_UNICODE_MAX; cp++) {
		while (run + 1 < MDL_UNICODE_RUNS && mdl_unicode_runs[run + 1] >> 8 <= cp)
			run++;
		block[cp % BLOCK] = of_category(mdl_unicode_runs[run] & 0xff) | of_character(cp);
		if (cp % BLOCK != BLOCK - 1)
			continue;
		if (n == 0 || memcmp(p->blocks[n - 1], block, BLOCK) != 0) {
			if (lt_reserve(&p->blocks, &cap, n + 1, BLOCK) < 0)
				return LT_ENOMEM;
			memcpy(p->blocks[n++], block, BLOCK);
		}
		p->index[cp / BLOCK] = (uint16_t)(n - 1);
	}
	memcpy(p->low, p->blocks[0], sizeof(p->low));
	return 0;
}

struct mdl_pretok_v3 *mdl_pretok_v3_open(void)
{
	struct mdl_pretok_v3 *p = lt_alloc(1, sizeof(*p));

	if (p && fill(p) < 0) {
		mdl_pretok_v3_close(p);
		p = NULL;
	}
	return p;
}

void mdl_pretok_v3_close(struct mdl_pretok_v3 *p)
{
	if (!p)
		return;
	free(p->blocks);
	free(p);
}

/* What the character at s, which is well-formed, is, and its length. */
static inline unsigned look_up(const struct mdl_pretok_v3 *p, const unsigned char *s, size_t *len)
{
	uint32_t cp;

	if (s[0] < 0x80) {
		*len = 1;
		return p->low[s[0]];
	}
	if (s[0] < 0xe0) {
		*len = 2;
		cp = (uint32_t)(s[0] & 0x1f) << 6 | (s[1] & 0x3f);
	} else if (s[0] < 0xf0) {
		*len = 3;
		cp = (uint32_t)(s[0] & 0x0f) << 12 | (uint32_t)(s[1] & 0x3f) << 6 | (s[2] & 0x3f);
	} else {
		*len = 4;
		cp = (uint32_t)(s[0] & 0x07) << 18 | (uint32_t)(s[1] & 0x3f) << 12 |
		     (uint32_t)(s[2] & 0x3f) << 6 | (s[3] & 0x3f);
	}
	return p->blocks[p->index[cp / BLOCK]][cp % BLOCK];
}

/* ---- the scanner ---- */

struct scan {
	const struct mdl_pretok_v3 *p;
	const unsigned char *end; /* of the text */
};

/* The end of the run of characters from `at` on that are `wanted` in all of `mask`. */
static inline const unsigned char *run_of(const struct scan *sc, const unsigned char *at,
					  unsigned mask, unsigned wanted)
{
	size_t len;

	while (at < sc->end && (look_up(sc->p, at, &len) & mask) == wanted)
		at += len;
	return at;
}

static const unsigned char *digits(const struct scan *sc, const unsigned char *at)
{
	size_t len;

	for (int i = 0; i < 3 && at < sc->end && look_up(sc->p, at, &len) & DIGIT; i++)
		at += len;
	return at;
}

static inline const unsigned char *letters(const struct scan *sc, const unsigned char *at,
					   unsigned han)
{
	return run_of(sc, at, LETTER | HAN, LETTER | han);
}

static const unsigned char *marks(const struct scan *sc, const unsigned char *at, unsigned han)
{
	at = run_of(sc, at, MARK | HAN, MARK | han);
	return run_of(sc, at, NEWLINE | HAN, NEWLINE | han);
}

/* From white space on, of `len` bytes; none is han. */
static const unsigned char *blanks(const struct scan *sc, const unsigned char *at, size_t len)
{
	const unsigned char *next = at + len, *last = at, *newline = NULL, *stop = at;
	unsigned is = next < sc->end ? look_up(sc->p, next, &len) : 0;

	if (*at != '\r' && *at != '\n') {
		if ((is & (LETTER | HAN)) == LETTER)
			return letters(sc, next + len, 0);
		if (*at == ' ' && (is & (MARK | HAN)) == MARK)
			return marks(sc, next + len, 0);
	}
	for (; stop < sc->end && (is = look_up(sc->p, stop, &len)) & SPACE; stop += len) {
		last = stop;
		if (is & NEWLINE)
			newline = stop + len;
	}
	if (newline)
		return newline;
	/* The last one is left to what follows in its segment. */
	return stop == sc->end || is & (DIGIT | HAN) || last == at ? stop : last;
}

/* From characters on that may only stand before a word. */
static const unsigned char *others(const struct scan *sc, const unsigned char *at, unsigned han)
{
	const unsigned char *last = at, *stop = at;
	unsigned is = 0;
	size_t len;

	for (; stop < sc->end && (is = look_up(sc->p, stop, &len)) == han; stop += len)
		last = stop;
	if (stop == sc->end || (is & (LETTER | HAN)) != (LETTER | han))
		return stop;
	return last == at ? letters(sc, stop, han) : last;
}

int mdl_pretok_v3_run(const struct mdl_pretok_v3 *p, const char *text, size_t n,
		      int (*piece)(void *arg, const char *s, size_t n), void *arg)
{
	const unsigned char *at = (const unsigned char *)text, *stop;
	struct scan sc = {p, at + n};

	for (int rc; at < sc.end; at = stop) {
		size_t len;
		unsigned is = look_up(p, at, &len), han = is & HAN;

		if (is & SPACE)
			stop = blanks(&sc, at, len);
		else if (is & LETTER)
			stop = letters(&sc, at + len, han);
		else if (is & DIGIT)
			stop = digits(&sc, at);
		else if (*at < 0x80 && is & MARK && at + 1 < sc.end && at[1] < 0x80 &&
			 p->low[at[1]] & ALPHA)
			stop = run_of(&sc, at + 1, ALPHA, ALPHA);
		else if (is & MARK)
			stop = marks(&sc, at, han);
		else
			stop = others(&sc, at, han);
		rc = piece(arg, (const char *)at, (size_t)(stop - at));
		if (rc != 0)
			return rc;
	}
	return 0;
}
