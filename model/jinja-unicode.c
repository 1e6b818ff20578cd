/*
 * Character classes and case for the template language. The tables are the C library's, in a
 * locale object of our own, so that the process's locale plays no part. Any thread.
 */
#define _GNU_SOURCE /* newlocale */
#include "model/jinja-unicode.h"

#include <locale.h>
#include <pthread.h>
#include <wctype.h>

#include "base/utf8.h"

static locale_t utf8_locale; /* 0: the system has none; only ASCII has case then */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void open_locale(void)
{
	utf8_locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
}

static locale_t unicode(void)
{
	pthread_once(&once, open_locale);
	return utf8_locale;
}

bool mdl_juni_is_space(uint32_t cp)
{
	if (cp < 0x80)
		return (cp >= 0x09 && cp <= 0x0d) || (cp >= 0x1c && cp <= 0x20);
	return cp == 0x85 || cp == 0xa0 || cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200a) ||
	       cp == 0x2028 || cp == 0x2029 || cp == 0x202f || cp == 0x205f || cp == 0x3000;
}

bool mdl_juni_is_line_end(uint32_t cp)
{
	return (cp >= 0x0a && cp <= 0x0d) || (cp >= 0x1c && cp <= 0x1e) || cp == 0x85 ||
	       cp == 0x2028 || cp == 0x2029;
}

static bool ascii_lower(uint32_t cp)
{
	return cp >= 'a' && cp <= 'z';
}

static bool ascii_upper(uint32_t cp)
{
	return cp >= 'A' && cp <= 'Z';
}

bool mdl_juni_is_alpha(uint32_t cp)
{
	if (cp < 0x80)
		return ascii_lower(cp) || ascii_upper(cp);
	return unicode() && iswalpha_l((wint_t)cp, unicode()) && !mdl_juni_is_digit(cp);
}

/* Where the decimal digits of other scripts begin (ten in a row), category Nd. */
static const uint32_t digit_zeros[] = {
	0x660,	 0x6f0,	  0x7c0,   0x966,   0x9e6,   0xa66,   0xae6,   0xb66,	0xbe6,	 0xc66,
	0xce6,	 0xd66,	  0xde6,   0xe50,   0xed0,   0xf20,   0x1040,  0x1090,	0x17e0,	 0x1810,
	0x1946,	 0x19d0,  0x1a80,  0x1a90,  0x1b50,  0x1bb0,  0x1c40,  0x1c50,	0xa620,	 0xa8d0,
	0xa900,	 0xa9d0,  0xa9f0,  0xaa50,  0xabf0,  0xff10,  0x104a0, 0x10d30, 0x11066, 0x110f0,
	0x11136, 0x111d0, 0x112f0, 0x11450, 0x114d0, 0x11650, 0x116c0, 0x11730, 0x118e0, 0x11950,
	0x11c50, 0x11d50, 0x11da0, 0x11f50, 0x16a60, 0x16ac0, 0x16b50, 0x1d7ce, 0x1d7d8, 0x1d7e2,
	0x1d7ec, 0x1d7f6, 0x1e140, 0x1e2f0, 0x1e4f0, 0x1e950, 0x1fbf0,
};

bool mdl_juni_is_digit(uint32_t cp)
{
	if (cp < 0x80)
		return cp >= '0' && cp <= '9';
	for (size_t i = 0; i < sizeof(digit_zeros) / sizeof(digit_zeros[0]); i++) {
		if (cp >= digit_zeros[i] && cp < digit_zeros[i] + 10)
			return true;
	}
	return false;
}

bool mdl_juni_is_upper(uint32_t cp)
{
	if (cp < 0x80)
		return ascii_upper(cp);
	return unicode() && iswupper_l((wint_t)cp, unicode());
}

bool mdl_juni_is_lower(uint32_t cp)
{
	if (cp < 0x80)
		return ascii_lower(cp);
	return unicode() && iswlower_l((wint_t)cp, unicode());
}

bool mdl_juni_is_printable(uint32_t cp)
{
	if (cp < 0x7f)
		return cp >= 0x20;
	if (mdl_juni_is_space(cp) || cp < 0xa0 || cp == 0xad || (cp >= 0xe000 && cp <= 0xf8ff) ||
	    cp >= 0xe0000 || (cp >= 0x200b && cp <= 0x200f) || (cp >= 0x202a && cp <= 0x202e) ||
	    (cp >= 0x2060 && cp <= 0x206f) || cp == 0xfeff || (cp >= 0xfff9 && cp <= 0xfffb))
		return cp >= 0xe0100 && cp <= 0xe01ef; /* variation selectors */
	return !unicode() || iswprint_l((wint_t)cp, unicode());
}

size_t mdl_juni_to_upper(uint32_t cp, uint32_t out[2])
{
	if (cp < 0x80) {
		out[0] = ascii_lower(cp) ? cp - 32 : cp;
		return 1;
	}
	if (cp == 0xdf) { /* sharp s */
		out[0] = out[1] = 'S';
		return 2;
	}
	out[0] = unicode() ? (uint32_t)towupper_l((wint_t)cp, unicode()) : cp;
	return 1;
}

size_t mdl_juni_to_lower(uint32_t cp, uint32_t out[2])
{
	if (cp < 0x80)
		out[0] = ascii_upper(cp) ? cp + 32 : cp;
	else
		out[0] = unicode() ? (uint32_t)towlower_l((wint_t)cp, unicode()) : cp;
	return 1;
}

uint32_t mdl_juni_next(const char *s, size_t n, size_t *len)
{
	uint32_t cp;

	if ((unsigned char)s[0] < 0x80) {
		*len = 1;
		return (unsigned char)s[0];
	}
	*len = lt_utf8_decode(s, n, &cp);
	if (*len == 0) {
		*len = 1;
		return 0xfffd;
	}
	return cp;
}

uint32_t mdl_juni_prev(const char *s, size_t n, size_t *len)
{
	size_t back = 1, got;
	uint32_t cp;

	while (back < 4 && back < n && ((unsigned char)s[n - back] & 0xc0) == 0x80)
		back++;
	cp = mdl_juni_next(s + n - back, back, &got);
	if (got != back) {
		*len = 1;
		return 0xfffd;
	}
	*len = back;
	return cp;
}

size_t mdl_juni_space_prefix(const char *s, size_t n)
{
	size_t at = 0, len;

	while (at < n && mdl_juni_is_space(mdl_juni_next(s + at, n - at, &len)))
		at += len;
	return at;
}

size_t mdl_juni_space_suffix(const char *s, size_t n)
{
	size_t end = n, len;

	while (end > 0 && mdl_juni_is_space(mdl_juni_prev(s, end, &len)))
		end -= len;
	return n - end;
}

size_t mdl_juni_count(const char *s, size_t n)
{
	size_t count = 0;

	for (size_t i = 0; i < n; i++)
		count += ((unsigned char)s[i] & 0xc0) != 0x80;
	return count;
}

size_t mdl_juni_offset(const char *s, size_t n, size_t at)
{
	size_t i = 0;

	while (at > 0 && i < n) {
		for (i++; i < n && ((unsigned char)s[i] & 0xc0) == 0x80; i++)
			;
		at--;
	}
	return i;
}
