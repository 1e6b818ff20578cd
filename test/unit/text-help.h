/*
 * Random texts for the tests of the tokenizer: characters from all classes that pre-tokenizers tell
 * apart, most of them from where a class begins or ends.
 */
#ifndef LT_TEST_TEXT_HELP_H
#define LT_TEST_TEXT_HELP_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/utf8.h"

static const uint32_t borders[] = {
	/* ASCII: controls, white space, marks, digits, letters */
	0, 1, '\t', '\n', 0x0b, '\r', 0x1c, ' ', '!', '\'', '/', '0', '9', ':', '@', 'A', 'Z', '[',
	'`', 'a', 'z', '~', 0x7f,
	/* white space and what looks like it */
	0x85, 0xa0, 0x1680, 0x180e, 0x2003, 0x200b, 0x2028, 0x2029, 0x202f, 0x3000, 0xfeff,
	/* digits and other numbers */
	0xb2, 0xbd, 0x660, 0x96f, 0x2160, 0x2460, 0x3007, 0x1d7ce,
	/* letters, combining marks */
	0xe9, 0x2b0, 0x301, 0x430, 0x5d0, 0x903, 0x20dd, 0xac00, 0xfe0f, 0x20000,
	/* punctuation, symbols, soft hyphen, joiner, private, unassigned */
	0xab, 0xad, 0xd7, 0x200d, 0x2014, 0x20ac, 0xff0c, 0x1f600, 0xe000, 0x378, 0x10ffff,
	/* the borders of the Chinese and Japanese stage, and what in it is no letter */
	0x3002, 0x303f, 0x3040, 0x3041, 0x3097, 0x3099, 0x309b, 0x30a0, 0x30a2, 0x30fb, 0x30fc,
	0x30ff, 0x3100, 0x4dff, 0x4e00, 0x4e2d, 0x9fa5, 0x9fa6};
#define N_BORDERS (sizeof(borders) / sizeof(borders[0]))

static inline uint32_t text_below(uint64_t *state, uint32_t n)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return (uint32_t)(*state >> 33) % n;
}

static inline uint32_t text_character(uint64_t *state)
{
	switch (text_below(state, 8)) {
	case 0: return text_below(state, 0x80);
	case 1: return 'a' + text_below(state, 26);
	case 2: return 0x4e00 + text_below(state, 0x51a6);
	case 3:
		return text_below(state, 2) ? text_below(state, 0x110000)
					    : text_below(state, 0x3100);
	default: return borders[text_below(state, N_BORDERS)];
	}
}

/* Appends up to `most` characters, well-formed; some come several times over. */
static inline void random_text(uint64_t seed, uint32_t most, struct lt_buf *out)
{
	uint64_t state = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
	uint32_t n = 1 + text_below(&state, most);
	char c[4];

	for (uint32_t i = 0; i < n; i++) {
		size_t len = lt_utf8_encode(text_character(&state), c);
		uint32_t times = text_below(&state, 4) ? 1 : 1 + text_below(&state, 5);

		for (uint32_t k = 0; k < times; k++)
			lt_buf_add(out, c, len);
	}
}

#endif
