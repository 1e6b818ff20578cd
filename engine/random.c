/*
 * Philox4x32-10. Multipliers and key increments are the paper's.
 */
#include "engine/random.h"

#define ROUNDS	   10
#define MULTIPLY_0 UINT32_C(0xD2511F53)
#define MULTIPLY_1 UINT32_C(0xCD9E8D57)
#define WEYL_0	   UINT32_C(0x9E3779B9) /* golden ratio */
#define WEYL_1	   UINT32_C(0xBB67AE85) /* sqrt(3) - 1 */

void eng_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
	uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
	uint32_t k0 = key[0], k1 = key[1];

	for (unsigned round = 0; round < ROUNDS; round++) {
		uint64_t p0 = (uint64_t)MULTIPLY_0 * c0;
		uint64_t p1 = (uint64_t)MULTIPLY_1 * c2;

		c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
		c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
		c1 = (uint32_t)p1;
		c3 = (uint32_t)p0;
		k0 += WEYL_0;
		k1 += WEYL_1;
	}
	out[0] = c0;
	out[1] = c1;
	out[2] = c2;
	out[3] = c3;
}

double eng_uniform(uint64_t seed, uint64_t index)
{
	uint32_t counter[4] = {(uint32_t)index, (uint32_t)(index >> 32), 0, 0};
	uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
	uint32_t out[4];

	eng_philox(counter, key, out);
	return (double)(((uint64_t)out[1] << 32 | out[0]) >> 11) * 0x1p-53;
}
