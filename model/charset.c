/*
 * Sets of Unicode characters. Plain functions over caller memory, no locking.
 */
#include "model/charset.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "model/unicode.h"

void mdl_set_fini(struct mdl_set *s)
{
	free(s->r);
	*s = (struct mdl_set){0};
}

int mdl_set_add(struct mdl_set *s, uint32_t lo, uint32_t hi)
{
	if (lt_reserve(&s->r, &s->cap, s->n + 1, sizeof(*s->r)) < 0)
		return LT_ENOMEM;
	s->r[s->n++] = (struct mdl_range){lo, hi};
	return 0;
}

static int by_start(const void *pa, const void *pb)
{
	const struct mdl_range *a = pa, *b = pb;

	return a->lo < b->lo ? -1 : a->lo > b->lo;
}

void mdl_set_tidy(struct mdl_set *s)
{
	size_t kept = 0;

	if (s->n == 0)
		return;
	qsort(s->r, s->n, sizeof(*s->r), by_start);
	for (size_t i = 1; i < s->n; i++) {
		if (s->r[i].lo > s->r[kept].hi + 1)
			s->r[++kept] = s->r[i];
		else if (s->r[i].hi > s->r[kept].hi)
			s->r[kept].hi = s->r[i].hi;
	}
	s->n = kept + 1;
}

int mdl_set_union(struct mdl_set *s, const struct mdl_set *other)
{
	for (size_t i = 0; i < other->n; i++) {
		if (mdl_set_add(s, other->r[i].lo, other->r[i].hi) < 0)
			return LT_ENOMEM;
	}
	mdl_set_tidy(s);
	return 0;
}

int mdl_set_invert(struct mdl_set *s)
{
	struct mdl_set out = {0};
	uint32_t next = 0;

	for (size_t i = 0; i < s->n; i++) {
		if (s->r[i].lo > next && mdl_set_add(&out, next, s->r[i].lo - 1) < 0)
			goto no_memory;
		next = s->r[i].hi + 1;
	}
	if (next <= MDL_UNICODE_MAX && mdl_set_add(&out, next, MDL_UNICODE_MAX) < 0)
		goto no_memory;
	mdl_set_fini(s);
	*s = out;
	return 0;
no_memory:
	mdl_set_fini(&out);
	return LT_ENOMEM;
}

/* Calls `found` for each range that both sets share, until it returns other than 0. */
static int overlaps(const struct mdl_set *a, const struct mdl_set *b,
		    int (*found)(void *arg, uint32_t lo, uint32_t hi), void *arg)
{
	size_t i = 0, j = 0;

	while (i < a->n && j < b->n) {
		uint32_t lo = a->r[i].lo > b->r[j].lo ? a->r[i].lo : b->r[j].lo;
		uint32_t hi = a->r[i].hi < b->r[j].hi ? a->r[i].hi : b->r[j].hi;

		if (lo <= hi) {
			int rc = found(arg, lo, hi);
			if (rc)
				return rc;
		}
		if (a->r[i].hi < b->r[j].hi)
			i++;
		else
			j++;
	}
	return 0;
}

static int collect(void *arg, uint32_t lo, uint32_t hi)
{
	return mdl_set_add(arg, lo, hi);
}

int mdl_set_intersect(struct mdl_set *s, const struct mdl_set *other)
{
	struct mdl_set out = {0};

	if (overlaps(s, other, collect, &out) < 0) {
		mdl_set_fini(&out);
		return LT_ENOMEM;
	}
	mdl_set_fini(s);
	*s = out;
	return 0;
}

static int stop(void *arg, uint32_t lo, uint32_t hi)
{
	(void)arg;
	(void)lo;
	(void)hi;
	return 1;
}

bool mdl_set_disjoint(const struct mdl_set *a, const struct mdl_set *b)
{
	return overlaps(a, b, stop, NULL) == 0;
}

bool mdl_set_equal(const struct mdl_set *a, const struct mdl_set *b)
{
	return a->n == b->n && (a->n == 0 || memcmp(a->r, b->r, a->n * sizeof(*a->r)) == 0);
}

bool mdl_set_has(const struct mdl_set *s, uint32_t cp)
{
	size_t lo = 0, hi = s->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (cp < s->r[mid].lo)
			hi = mid;
		else if (cp > s->r[mid].hi)
			lo = mid + 1;
		else
			return true;
	}
	return false;
}

int mdl_set_add_categories(struct mdl_set *s, uint32_t mask)
{
	for (size_t i = 0; i < MDL_UNICODE_RUNS; i++) {
		uint32_t next = i + 1 < MDL_UNICODE_RUNS ? mdl_unicode_runs[i + 1] >> 8
							 : MDL_UNICODE_MAX + 1;

		if (mask >> (mdl_unicode_runs[i] & 0xff) & 1 &&
		    mdl_set_add(s, mdl_unicode_runs[i] >> 8, next - 1) < 0)
			return LT_ENOMEM;
	}
	mdl_set_tidy(s);
	return 0;
}

/* Categories a..b as a mask. */
#define SPAN(a, b) ((2u << (b)) - (1u << (a)))

static const struct {
	const char *name;
	uint32_t mask;
} categories[] = {
	{"any", SPAN(MDL_LU, MDL_CN)},
	{"c", SPAN(MDL_CC, MDL_CN)},
	{"cc", SPAN(MDL_CC, MDL_CC)},
	{"cf", SPAN(MDL_CF, MDL_CF)},
	{"cn", SPAN(MDL_CN, MDL_CN)},
	{"co", SPAN(MDL_CO, MDL_CO)},
	{"control", SPAN(MDL_CC, MDL_CC)},
	{"cs", SPAN(MDL_CS, MDL_CS)},
	{"decimalnumber", SPAN(MDL_ND, MDL_ND)},
	{"l", SPAN(MDL_LU, MDL_LO)},
	{"letter", SPAN(MDL_LU, MDL_LO)},
	{"ll", SPAN(MDL_LL, MDL_LL)},
	{"lm", SPAN(MDL_LM, MDL_LM)},
	{"lo", SPAN(MDL_LO, MDL_LO)},
	{"lowercaseletter", SPAN(MDL_LL, MDL_LL)},
	{"lt", SPAN(MDL_LT, MDL_LT)},
	{"lu", SPAN(MDL_LU, MDL_LU)},
	{"m", SPAN(MDL_MN, MDL_ME)},
	{"mark", SPAN(MDL_MN, MDL_ME)},
	{"mc", SPAN(MDL_MC, MDL_MC)},
	{"me", SPAN(MDL_ME, MDL_ME)},
	{"mn", SPAN(MDL_MN, MDL_MN)},
	{"n", SPAN(MDL_ND, MDL_NO)},
	{"nd", SPAN(MDL_ND, MDL_ND)},
	{"nl", SPAN(MDL_NL, MDL_NL)},
	{"no", SPAN(MDL_NO, MDL_NO)},
	{"number", SPAN(MDL_ND, MDL_NO)},
	{"other", SPAN(MDL_CC, MDL_CN)},
	{"p", SPAN(MDL_PC, MDL_PO)},
	{"pc", SPAN(MDL_PC, MDL_PC)},
	{"pd", SPAN(MDL_PD, MDL_PD)},
	{"pe", SPAN(MDL_PE, MDL_PE)},
	{"pf", SPAN(MDL_PF, MDL_PF)},
	{"pi", SPAN(MDL_PI, MDL_PI)},
	{"po", SPAN(MDL_PO, MDL_PO)},
	{"ps", SPAN(MDL_PS, MDL_PS)},
	{"punctuation", SPAN(MDL_PC, MDL_PO)},
	{"s", SPAN(MDL_SM, MDL_SO)},
	{"sc", SPAN(MDL_SC, MDL_SC)},
	{"separator", SPAN(MDL_ZS, MDL_ZP)},
	{"sk", SPAN(MDL_SK, MDL_SK)},
	{"sm", SPAN(MDL_SM, MDL_SM)},
	{"so", SPAN(MDL_SO, MDL_SO)},
	{"symbol", SPAN(MDL_SM, MDL_SO)},
	{"uppercaseletter", SPAN(MDL_LU, MDL_LU)},
	{"z", SPAN(MDL_ZS, MDL_ZP)},
	{"zl", SPAN(MDL_ZL, MDL_ZL)},
	{"zp", SPAN(MDL_ZP, MDL_ZP)},
	{"zs", SPAN(MDL_ZS, MDL_ZS)},
};

/* The Script property (not its extensions) of the writing systems that tokenizers single out. */
static const struct mdl_range han[] = {
	{0x2e80, 0x2e99},   {0x2e9b, 0x2ef3},	{0x2f00, 0x2fd5},   {0x3005, 0x3005},
	{0x3007, 0x3007},   {0x3021, 0x3029},	{0x3038, 0x303b},   {0x3400, 0x4dbf},
	{0x4e00, 0x9fff},   {0xf900, 0xfa6d},	{0xfa70, 0xfad9},   {0x16fe2, 0x16fe3},
	{0x16ff0, 0x16ff1}, {0x20000, 0x2a6df}, {0x2a700, 0x2b739}, {0x2b740, 0x2b81d},
	{0x2b820, 0x2cea1}, {0x2ceb0, 0x2ebe0}, {0x2ebf0, 0x2ee5d}, {0x2f800, 0x2fa1d},
	{0x30000, 0x3134a}, {0x31350, 0x323af},
};
static const struct mdl_range hiragana[] = {
	{0x3041, 0x3096},   {0x309d, 0x309f},	{0x1b001, 0x1b11f},
	{0x1b132, 0x1b132}, {0x1b150, 0x1b152}, {0x1f200, 0x1f200},
};
static const struct mdl_range katakana[] = {
	{0x30a1, 0x30fa},   {0x30fd, 0x30ff},	{0x31f0, 0x31ff},   {0x32d0, 0x32fe},
	{0x3300, 0x3357},   {0xff66, 0xff6f},	{0xff71, 0xff9d},   {0x1aff0, 0x1aff3},
	{0x1aff5, 0x1affb}, {0x1affd, 0x1affe}, {0x1b000, 0x1b000}, {0x1b120, 0x1b122},
	{0x1b155, 0x1b155}, {0x1b164, 0x1b167},
};
static const struct mdl_range hangul[] = {
	{0x1100, 0x11ff}, {0x302e, 0x302f}, {0x3131, 0x318e}, {0x3200, 0x321e}, {0x3260, 0x327e},
	{0xa960, 0xa97c}, {0xac00, 0xd7a3}, {0xd7b0, 0xd7c6}, {0xd7cb, 0xd7fb}, {0xffa0, 0xffbe},
	{0xffc2, 0xffc7}, {0xffca, 0xffcf}, {0xffd2, 0xffd7}, {0xffda, 0xffdc},
};
static const struct {
	const char *name;
	const struct mdl_range *r;
	size_t n;
} scripts[] = {
	{"han", han, sizeof(han) / sizeof(han[0])},
	{"hangul", hangul, sizeof(hangul) / sizeof(hangul[0])},
	{"hiragana", hiragana, sizeof(hiragana) / sizeof(hiragana[0])},
	{"katakana", katakana, sizeof(katakana) / sizeof(katakana[0])},
};

static int add_ranges(struct mdl_set *s, const struct mdl_range *r, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (mdl_set_add(s, r[i].lo, r[i].hi) < 0)
			return LT_ENOMEM;
	}
	mdl_set_tidy(s);
	return 0;
}

int mdl_set_add_property(struct mdl_set *s, const char *name, size_t n)
{
	char plain[32];
	size_t k = 0;

	for (size_t i = 0; i < n; i++) {
		if (name[i] == '-' || name[i] == '_' || name[i] == ' ')
			continue;
		if (k + 1 >= sizeof(plain))
			return LT_EINVAL;
		plain[k++] = (char)tolower((unsigned char)name[i]);
	}
	plain[k] = '\0';
	for (size_t i = 0; i < sizeof(categories) / sizeof(categories[0]); i++) {
		if (strcmp(categories[i].name, plain) == 0)
			return mdl_set_add_categories(s, categories[i].mask);
	}
	for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++) {
		if (strcmp(scripts[i].name, plain) == 0)
			return add_ranges(s, scripts[i].r, scripts[i].n);
	}
	return LT_EINVAL;
}

int mdl_set_add_space(struct mdl_set *s)
{
	if (mdl_set_add(s, 0x09, 0x0d) < 0 || mdl_set_add(s, 0x85, 0x85) < 0)
		return LT_ENOMEM;
	return mdl_set_add_categories(s, SPAN(MDL_ZS, MDL_ZP));
}

int mdl_set_add_word(struct mdl_set *s)
{
	/* Beyond the categories: superscripts and fractions of Latin-1, and circled letters, as the
	 * reference library has it. */
	static const struct mdl_range more[] = {
		{0xb2, 0xb3},	    {0xb9, 0xb9},	{0xbc, 0xbe},	    {0x24b6, 0x24e9},
		{0x1f130, 0x1f149}, {0x1f150, 0x1f169}, {0x1f170, 0x1f189},
	};

	if (add_ranges(s, more, sizeof(more) / sizeof(more[0])) < 0)
		return LT_ENOMEM;
	return mdl_set_add_categories(s, SPAN(MDL_LU, MDL_NL) | 1u << MDL_PC);
}
