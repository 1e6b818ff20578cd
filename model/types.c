/*
 * The table of element types, and the scalar conversions of the two small float formats. Pure
 * functions; any thread.
 */
#include <string.h>

#include "base/error.h"
#include "model/tensor.h"

struct row {
	const char *name;
	uint16_t values, bytes;
	bool weight;
};

static const struct row rows[MDL_TYPE_COUNT] = {
#define X(name, id, values, bytes)                                                                 \
	[MDL_TYPE_##name] = {#name, values, bytes, MDL_TYPE_##name < MDL_TYPE_I32},
	MDL_TYPES(X)
#undef X
};

const char *mdl_type_name(enum mdl_type type)
{
	LT_ASSERT((unsigned)type < MDL_TYPE_COUNT);
	return rows[type].name;
}

size_t mdl_type_block_values(enum mdl_type type)
{
	LT_ASSERT((unsigned)type < MDL_TYPE_COUNT);
	return rows[type].values;
}

size_t mdl_type_block_bytes(enum mdl_type type)
{
	LT_ASSERT((unsigned)type < MDL_TYPE_COUNT);
	return rows[type].bytes;
}

bool mdl_type_is_weight(enum mdl_type type)
{
	return (unsigned)type < MDL_TYPE_COUNT && rows[type].weight;
}

static float float_of(uint32_t u)
{
	float f;

	memcpy(&f, &u, 4);
	return f;
}

/* IEEE binary16: sign, 5 exponent bits (bias 15), 10 fraction bits. */
float mdl_f16_f32(uint16_t h)
{
	uint32_t sign = (uint32_t)(h & 0x8000) << 16;
	uint32_t exponent = h >> 10 & 0x1f;
	uint32_t fraction = h & 0x3ff;

	if (exponent == 0x1f)
		return float_of(sign | 0x7f800000 | fraction << 13);
	if (exponent)
		return float_of(sign | (exponent + 112) << 23 | fraction << 13);
	/* Subnormal: fraction * 2^-24, exact in float32. */
	return float_of(sign | 0x3f800000) * ((float)fraction * 0x1p-24f);
}

/* OCP E4M3: sign, 4 exponent bits (bias 7), 3 fraction bits; no infinity, 0x7f and 0xff are NaN. */
float mdl_f8e4m3_f32(uint8_t b)
{
	uint32_t sign = (uint32_t)(b & 0x80) << 24;
	uint32_t exponent = b >> 3 & 0xf;
	uint32_t fraction = b & 7;

	if ((b & 0x7f) == 0x7f)
		return float_of(sign | 0x7fc00000);
	if (exponent)
		return float_of(sign | (exponent + 120) << 23 | fraction << 20);
	return float_of(sign | 0x3f800000) * ((float)fraction * 0x1p-9f);
}
