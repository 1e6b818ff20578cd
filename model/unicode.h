/*
 * General categories of Unicode characters, private to model/. The table is our own, not the regex
 * library's: a pre-tokenizer means the same on every system. Immutable; any thread.
 */
#ifndef LT_MODEL_UNICODE_H
#define LT_MODEL_UNICODE_H

#include <stdint.h>

#define MDL_UNICODE_MAX	 0x10ffffu
#define MDL_UNICODE_RUNS 4099

/* The order is that of unicode-runs.c; categories of one major class are neighbours. */
enum mdl_category {
	MDL_LU,
	MDL_LL,
	MDL_LT,
	MDL_LM,
	MDL_LO,
	MDL_MN,
	MDL_MC,
	MDL_ME,
	MDL_ND,
	MDL_NL,
	MDL_NO,
	MDL_PC,
	MDL_PD,
	MDL_PS,
	MDL_PE,
	MDL_PI,
	MDL_PF,
	MDL_PO,
	MDL_SM,
	MDL_SC,
	MDL_SK,
	MDL_SO,
	MDL_ZS,
	MDL_ZL,
	MDL_ZP,
	MDL_CC,
	MDL_CF,
	MDL_CS,
	MDL_CO,
	MDL_CN,
};

/* Run i is [runs[i] >> 8, runs[i + 1] >> 8), of category runs[i] & 0xff; the last one ends with
 * MDL_UNICODE_MAX. */
extern const uint32_t mdl_unicode_runs[MDL_UNICODE_RUNS];

#endif
