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
#include "model/pretok-hand.h"

static const char *const patterns[] = {
	"\\p{N}{1,3}",
	"[\\x{4e00}-\\x{9fa5}\\x{3040}-\\x{30ff}]+",
	"[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+"
	"|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
	"| ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
	NULL,
};
static const char *const published[] = {NULL, "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+", NULL};

/* What a character is; 0 or HAN alone: nothing that pattern 3 names. */
enum {
	LETTER = 1,   /* or a combining mark */
	ALPHA = 2,    /* a letter of ASCII, besides */
	MARK = 4,     /* punctuation, a symbol */
	SPACE = 8,    /* white space */
	NEWLINE = 16, /* CR or LF, besides */
	DIGIT = 32,   /* a digit or another number */
	HAN = 64,     /* of stage 2, besides */
};
static const char *const classes[] = {
	"[\\p{L}\\p{M}]",
	"[A-Za-z]",
	"[\\p{P}\\p{S}]",
	"\\s",
	"[\\r\\n]",
	"\\p{N}",
	"[\\x{4e00}-\\x{9fa5}\\x{3040}-\\x{30ff}]",
	NULL,
};

struct scan {
	const struct mdl_classes *c;
	const unsigned char *end; /* of the text */
};

static inline const unsigned char *run_of(const struct scan *sc, const unsigned char *at,
					  uint32_t mask, uint32_t wanted)
{
	return mdl_classes_run(sc->c, at, sc->end, mask, wanted);
}

static const unsigned char *digits(const struct scan *sc, const unsigned char *at)
{
	size_t len;

	for (int i = 0; i < 3 && at < sc->end && mdl_classes_at(sc->c, at, &len) & DIGIT; i++)
		at += len;
	return at;
}

static inline const unsigned char *letters(const struct scan *sc, const unsigned char *at,
					   uint32_t han)
{
	return run_of(sc, at, LETTER | HAN, LETTER | han);
}

static const unsigned char *marks(const struct scan *sc, const unsigned char *at, uint32_t han)
{
	at = run_of(sc, at, MARK | HAN, MARK | han);
	return run_of(sc, at, NEWLINE | HAN, NEWLINE | han);
}

/* From white space on, of `len` bytes; none is han. */
static const unsigned char *blanks(const struct scan *sc, const unsigned char *at, size_t len)
{
	const unsigned char *next = at + len, *last = at, *newline = NULL, *stop = at;
	uint32_t is = next < sc->end ? mdl_classes_at(sc->c, next, &len) : 0;

	if (*at != '\r' && *at != '\n') {
		if ((is & (LETTER | HAN)) == LETTER)
			return letters(sc, next + len, 0);
		if (*at == ' ' && (is & (MARK | HAN)) == MARK)
			return marks(sc, next + len, 0);
	}
	for (; stop < sc->end && (is = mdl_classes_at(sc->c, stop, &len)) & SPACE; stop += len) {
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
static const unsigned char *others(const struct scan *sc, const unsigned char *at, uint32_t han)
{
	const unsigned char *last = at, *stop = at;
	uint32_t is = 0;
	size_t len;

	for (; stop < sc->end && (is = mdl_classes_at(sc->c, stop, &len)) == han; stop += len)
		last = stop;
	if (stop == sc->end || (is & (LETTER | HAN)) != (LETTER | han))
		return stop;
	return last == at ? letters(sc, stop, han) : last;
}

static int run(const struct mdl_classes *c, const char *text, size_t n,
	       int (*piece)(void *arg, const char *s, size_t n), void *arg)
{
	const unsigned char *at = (const unsigned char *)text, *stop;
	struct scan sc = {c, at + n};

	for (int rc; at < sc.end; at = stop) {
		size_t len;
		uint32_t is = mdl_classes_at(c, at, &len), han = is & HAN;

		if (is & SPACE)
			stop = blanks(&sc, at, len);
		else if (is & LETTER)
			stop = letters(&sc, at + len, han);
		else if (is & DIGIT)
			stop = digits(&sc, at);
		else if (*at < 0x80 && is & MARK && at + 1 < sc.end && at[1] < 0x80 &&
			 c->low[at[1]] & ALPHA)
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

const struct mdl_hand mdl_hand_v3 = {"deepseek-v3", patterns, published, classes, run};
