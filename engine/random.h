/*
 * A counter-based random generator: the n-th number of a seed is a pure function of (seed, n), so a
 * draw depends on nothing that happened before it. Philox4x32 with 10 rounds (Salmon, Moraes, Dror,
 * Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
 */
#ifndef LT_ENGINE_RANDOM_H
#define LT_ENGINE_RANDOM_H

#include <stdint.h>

/* The block cipher: out [4] from counter [4] and key [2]. */
void eng_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

/* Number `index` of the seed's stream, uniform in [0, 1), a multiple of 2^-53. */
double eng_uniform(uint64_t seed, uint64_t index);

#endif
