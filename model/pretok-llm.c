/*
 * The pre-tokenizer of DeepSeek-LLM and V2 by hand, see pretok-hand.h. Six stages; each cuts what the
 * one before left, and only that counts as the text's beginning and end:
 *
 *   1. line ends, one by one;
 *   2. letters with at most one white space before them: those of the bicameral scripts, listed;
 *   3. marks likewise; its range of ASCII marks takes the letters of ASCII in, so that a word of
 *      those and others is cut here;
 *   4. white space at the end;
 *   5. runs of characters from the middle of the plane, Chinese ones above all ("wide");
 *   6. digits and other numbers, one by one.
 */
#include "model/pretok-hand.h"

#define LETTERS                                                                                      \
	"[A-Za-z\\u00b5\\u00c0-\\u00d6\\u00d8-\\u00f6\\u00f8-\\u01ba\\u01bc-\\u01bf"                 \
	"\\u01c4-\\u0293\\u0295-\\u02af\\u0370-\\u0373\\u0376-\\u0377\\u037b-\\u037d\\u037f\\u0386"  \
	"\\u0388-\\u038a\\u038c\\u038e-\\u03a1\\u03a3-\\u03f5\\u03f7-\\u0481\\u048a-\\u052f"         \
	"\\u0531-\\u0556\\u10a0-\\u10c5\\u13a0-\\u13f5\\u13f8-\\u13fd\\u1c90-\\u1cba\\u1cbd-\\u1cbf" \
	"\\u1d00-\\u1d2b\\u1d6b-\\u1d77\\u1d79-\\u1d9a\\u1e00-\\u1f15\\u1f18-\\u1f1d\\u1f20-\\u1f45" \
	"\\u1f48-\\u1f4d\\u1f50-\\u1f57\\u1f59\\u1f5b\\u1f5d\\u1f5f-\\u1f7d\\u1f80-\\u1fb4"          \
	"\\u1fb6-\\u1fbc\\u1fbe\\u1fc2-\\u1fc4\\u1fc6-\\u1fcc\\u1fd0-\\u1fd3\\u1fd6-\\u1fdb"         \
	"\\u1fe0-\\u1fec\\u1ff2-\\u1ff4\\u1ff6-\\u1ffc\\u2102\\u2107\\u210a-\\u2113\\u2115"          \
	"\\u2119-\\u211d\\u2124\\u2126\\u2128\\u212a-\\u212d\\u212f-\\u2134\\u2139\\u213c-\\u213f"   \
	"\\u2145-\\u2149\\u214e\\u2183-\\u2184\\u2c00-\\u2c7b\\u2c7e-\\u2ce4\\u2ceb-\\u2cee"         \
	"\\u2cf2-\\u2cf3\\ua640-\\ua66d\\ua680-\\ua69b\\ua722-\\ua76f\\ua771-\\ua787\\ua78b-\\ua78e" \
	"\\uab70-\\uabbf\\ufb00-\\ufb06\\ufb13-\\ufb17\\uff21-\\uff3a\\uff41-\\uff5a"                \
	"\\x{10400}-\\x{1044f}\\x{104b0}-\\x{104d3}\\x{104d8}-\\x{104fb}\\x{10c80}-\\x{10cb2}"       \
	"\\x{10cc0}-\\x{10cf2}\\x{118a0}-\\x{118df}\\x{1e900}-\\x{1e943}]"
#define MARKS "[!-/:-~\\uff01-\\uff0f\\uff1a-\\uff5e\\u2018-\\u201f\\u3000-\\u3002]"
#define WIDES "[\\u0800-\\u9fa5\\uac00-\\ud7ff]"

static const char *const patterns[] = {
	"[\\r\\n]", "\\s?" LETTERS "+", "\\s?" MARKS "+", "\\s+$", WIDES "+", "\\p{N}", NULL,
};
static const char *const published[] = {
	NULL, NULL, NULL, NULL, "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+", NULL, NULL,
};

/* What a character is; it may be several. */
enum { NEWLINE = 1, LETTER = 2, MARK = 4, SPACE = 8, WIDE = 16, NUMBER = 32 };
static const char *const classes[] = {
	"[\\r\\n]", LETTERS, MARKS, "\\s", WIDES, "\\p{N}", NULL,
};

struct scan {
	const struct mdl_classes *c;
	int (*piece)(void *arg, const char *s, size_t n);
	void *arg;
};

typedef const unsigned char *place;
/* Cuts a piece [at, end), which may be empty; 0 or what the callback said. */
typedef int stage(const struct scan *sc, place at, place end);

static int hand_over(const struct scan *sc, place at, place end)
{
	return at < end ? sc->piece(sc->arg, (const char *)at, (size_t)(end - at)) : 0;
}

/* Stages 6 and 1: characters of a kind by themselves. */
static inline int cut_single(const struct scan *sc, place at, place end, uint32_t kind, stage *next)
{
	place gap = at;
	int rc = 0;

	for (size_t len; at < end && rc == 0; at += len) {
		if (!(mdl_classes_at(sc->c, at, &len) & kind))
			continue;
		rc = next(sc, gap, at);
		gap = at + len;
		if (rc == 0)
			rc = next(sc, at, gap);
	}
	return rc == 0 ? next(sc, gap, end) : rc;
}

static int cut_numbers(const struct scan *sc, place at, place end)
{
	return cut_single(sc, at, end, NUMBER, hand_over);
}

static int cut_wide(const struct scan *sc, place at, place end)
{
	int rc = 0;

	while (at < end && rc == 0) {
		size_t len;
		uint32_t is = mdl_classes_at(sc->c, at, &len) & WIDE;
		place stop = mdl_classes_run(sc->c, at + len, end, WIDE, is);

		rc = cut_numbers(sc, at, stop);
		at = stop;
	}
	return rc;
}

static int cut_tail(const struct scan *sc, place at, place end)
{
	place tail = end;
	int rc;

	while (tail > at) {
		place before = tail - 1;
		size_t len;

		while ((*before & 0xc0) == 0x80)
			before--;
		if (!(mdl_classes_at(sc->c, before, &len) & SPACE))
			break;
		tail = before;
	}
	rc = cut_wide(sc, at, tail);
	return rc == 0 ? cut_wide(sc, tail, end) : rc;
}

/* Stages 2 and 3: runs of a kind, with the white space before each. */
static inline int cut_runs(const struct scan *sc, place at, place end, uint32_t kind, stage *next)
{
	place gap = at;
	int rc = 0;

	while (at < end && rc == 0) {
		place start = at;
		size_t len, more;
		uint32_t is = mdl_classes_at(sc->c, at, &len);

		at += len;
		if (!(is & kind) &&
		    !(is & SPACE && at < end && mdl_classes_at(sc->c, at, &more) & kind))
			continue;
		at = mdl_classes_run(sc->c, at, end, kind, kind);
		rc = next(sc, gap, start);
		if (rc == 0)
			rc = next(sc, start, at);
		gap = at;
	}
	return rc == 0 ? next(sc, gap, end) : rc;
}

static int cut_marks(const struct scan *sc, place at, place end)
{
	return cut_runs(sc, at, end, MARK, cut_tail);
}

/* Whatever ends with a letter is a word; one of ASCII, as most are, is cut no further. */
static int cut_word(const struct scan *sc, place at, place end)
{
	place ascii = at;

	if (at == end || end[-1] >= 0x80 || !(sc->c->low[end[-1]] & LETTER))
		return cut_marks(sc, at, end);
	while (ascii < end && *ascii < 0x80)
		ascii++;
	return ascii == end ? hand_over(sc, at, end) : cut_marks(sc, at, end);
}

static int cut_letters(const struct scan *sc, place at, place end)
{
	return cut_runs(sc, at, end, LETTER, cut_word);
}

static int run(const struct mdl_classes *c, const char *text, size_t n,
	       int (*piece)(void *arg, const char *s, size_t n), void *arg)
{
	struct scan sc = {c, piece, arg};
	place at = (place)text;

	return cut_single(&sc, at, at + n, NEWLINE, cut_letters);
}

const struct mdl_hand mdl_hand_llm = {"deepseek-llm", patterns, published, classes, run};
