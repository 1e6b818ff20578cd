/*
 * UTF-8 by the table of RFC 3629. Pure functions; any thread.
 */
#include "base/utf8.h"

/* Length announced by a lead byte, 0 for a byte that can't lead; and the range of the second byte,
 * which alone rules out overlong forms, surrogates and values above U+10FFFF. */
static size_t lead(unsigned char c, unsigned char *lo, unsigned char *hi)
{
	*lo = 0x80;
	*hi = 0xbf;
	if (c < 0x80)
		return 1;
	if (c >= 0xc2 && c <= 0xdf)
		return 2;
	if (c >= 0xe0 && c <= 0xef) {
		if (c == 0xe0)
			*lo = 0xa0;
		if (c == 0xed)
			*hi = 0x9f;
		return 3;
	}
	if (c >= 0xf0 && c <= 0xf4) {
		if (c == 0xf0)
			*lo = 0x90;
		if (c == 0xf4)
			*hi = 0x8f;
		return 4;
	}
	return 0;
}

/* How many bytes at s belong to one sequence so far: sets *want to the announced length. A return
 * below *want with the input exhausted means "cut off"; otherwise it means malformed. */
static size_t scan(const unsigned char *s, size_t n, size_t *want)
{
	unsigned char lo, hi;
	size_t i;

	*want = lead(s[0], &lo, &hi);
	if (*want == 0)
		return 0;
	for (i = 1; i < *want && i < n; i++) {
		if (s[i] < lo || s[i] > hi)
			return i;
		lo = 0x80;
		hi = 0xbf;
	}
	return i;
}

size_t lt_utf8_decode(const char *str, size_t n, uint32_t *cp)
{
	const unsigned char *s = (const unsigned char *)str;
	static const unsigned char mask[5] = {0, 0x7f, 0x1f, 0x0f, 0x07};
	size_t want, got;

	if (n == 0)
		return 0;
	got = scan(s, n, &want);
	if (want == 0 || got < want)
		return 0;
	*cp = s[0] & mask[want];
	for (size_t i = 1; i < want; i++)
		*cp = *cp << 6 | (s[i] & 0x3f);
	return want;
}

size_t lt_utf8_encode(uint32_t cp, char *dst)
{
	if (cp < 0x80) {
		dst[0] = (char)cp;
		return 1;
	}
	if (cp < 0x800) {
		dst[0] = (char)(0xc0 | cp >> 6);
		dst[1] = (char)(0x80 | (cp & 0x3f));
		return 2;
	}
	if (cp >= 0xd800 && cp <= 0xdfff)
		return 0;
	if (cp < 0x10000) {
		dst[0] = (char)(0xe0 | cp >> 12);
		dst[1] = (char)(0x80 | (cp >> 6 & 0x3f));
		dst[2] = (char)(0x80 | (cp & 0x3f));
		return 3;
	}
	if (cp > 0x10ffff)
		return 0;
	dst[0] = (char)(0xf0 | cp >> 18);
	dst[1] = (char)(0x80 | (cp >> 12 & 0x3f));
	dst[2] = (char)(0x80 | (cp >> 6 & 0x3f));
	dst[3] = (char)(0x80 | (cp & 0x3f));
	return 4;
}

bool lt_utf8_valid(const char *s, size_t n, size_t *bad)
{
	size_t i = 0;

	while (i < n) {
		uint32_t cp;
		size_t len = (unsigned char)s[i] < 0x80 ? 1 : lt_utf8_decode(s + i, n - i, &cp);
		if (len == 0) {
			if (bad)
				*bad = i;
			return false;
		}
		i += len;
	}
	return true;
}

size_t lt_utf8_complete(const char *str, size_t n)
{
	const unsigned char *s = (const unsigned char *)str;

	for (size_t back = 1; back <= 3 && back <= n; back++) {
		unsigned char c = s[n - back];
		size_t want, got;

		if (c >= 0x80 && c < 0xc0)
			continue;
		got = scan(s + n - back, back, &want);
		if (want > back && got == back)
			return n - back;
		return n;
	}
	return n;
}
