/*
 * The inner loops of `latentctl bench --machine`: one function an instruction set, chosen by cpuid
 * when the program runs, so that one binary serves every x86-64. Other machines get the plain loops.
 * Enough sums are kept at once to hide an instruction's latency; the empty asm statements keep the
 * compiler from folding rounds together.
 */
#include "tools/ctl-machine.h"

#include <string.h>

#include "base/error.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#define SUMS	  12
#define MAX_PEAKS 8

static struct ctl_peak peaks[MAX_PEAKS];

static int plain_f32(uint64_t n)
{
	float sum[16];

	for (int i = 0; i < 16; i++)
		sum[i] = (float)i;
	for (uint64_t k = 0; k < n; k++) {
		for (int i = 0; i < 16; i++)
			sum[i] = sum[i] * 0.999f + 0.001f;
		__asm__ volatile("" : "+m"(sum));
	}
	return (int)sum[0];
}

static int plain_read(const void *data, uint64_t bytes)
{
	const uint64_t *p = data;
	uint64_t a = 0, b = 0, c = 0, d = 0;

	for (uint64_t i = 0; i < bytes / 8; i += 4) {
		a |= p[i];
		b |= p[i + 1];
		c |= p[i + 2];
		d |= p[i + 3];
	}
	return (int)(a | b | c | d);
}

#if defined(__x86_64__)

#define TARGET(isa) __attribute__((target(isa)))

/* n rounds of SUMS independent `sum = op(sum)` on registers of class v (AVX-512) or x. */
#define PEAK_LOOP(type, init, expr)                                                                \
	do {                                                                                       \
		type sum[SUMS];                                                                    \
		_Pragma("GCC unroll 12") for (int i = 0; i < SUMS; i++) sum[i] = init;             \
		for (uint64_t k = 0; k < n; k++) {                                                 \
			_Pragma("GCC unroll 12") for (int i = 0; i < SUMS; i++)                    \
			{                                                                          \
				sum[i] = expr;                                                     \
				__asm__ volatile("" : "+v"(sum[i]));                               \
			}                                                                          \
		}                                                                                  \
		int first;                                                                         \
		_Pragma("GCC unroll 12") for (int i = 1; i < SUMS;                                 \
					      i++) __asm__ volatile("" : : "v"(sum[i]));           \
		memcpy(&first, &sum[0], sizeof(first));                                            \
		return first;                                                                      \
	} while (0)

TARGET("avx2,fma") static int avx2_f32(uint64_t n)
{
	__m256 m = _mm256_set1_ps(0.999f), a = _mm256_set1_ps(0.001f);

	PEAK_LOOP(__m256, _mm256_set1_ps((float)i), _mm256_fmadd_ps(sum[i], m, a));
}

TARGET("avx512f") static int avx512_f32(uint64_t n)
{
	__m512 m = _mm512_set1_ps(0.999f), a = _mm512_set1_ps(0.001f);

	PEAK_LOOP(__m512, _mm512_set1_ps((float)i), _mm512_fmadd_ps(sum[i], m, a));
}

TARGET("avx2") static int avx2_int8(uint64_t n)
{
	__m256i x = _mm256_set1_epi8(3), y = _mm256_set1_epi8(1), one = _mm256_set1_epi16(1);

	__asm__ volatile("" : "+x"(x), "+x"(y));
	PEAK_LOOP(__m256i, _mm256_set1_epi32(i),
		  _mm256_add_epi32(
			  sum[i],
			  _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_xor_si256(x, sum[i]), y),
					    one)));
}

TARGET("avx512f,avx512vnni") static int vnni_int8(uint64_t n)
{
	__m512i x = _mm512_set1_epi8(3), y = _mm512_set1_epi8(1);

	PEAK_LOOP(__m512i, _mm512_set1_epi32(i), _mm512_dpbusd_epi32(sum[i], x, y));
}

TARGET("avx512f,avx512bf16") static int avx512_bf16(uint64_t n)
{
	__m512i one = _mm512_set1_epi16(0x3f80); /* 1.0 */
	__m512bh x;

	memcpy(&x, &one, sizeof(x));
	PEAK_LOOP(__m512, _mm512_set1_ps((float)i), _mm512_dpbf16_ps(sum[i], x, x));
}

TARGET("avx2") static int avx2_read(const void *data, uint64_t bytes)
{
	const __m256i *p = data;
	__m256i a = _mm256_setzero_si256(), b = a, c = a, d = a;

	for (uint64_t i = 0; i < bytes / 32; i += 4) {
		a = _mm256_or_si256(a, _mm256_load_si256(p + i));
		b = _mm256_or_si256(b, _mm256_load_si256(p + i + 1));
		c = _mm256_or_si256(c, _mm256_load_si256(p + i + 2));
		d = _mm256_or_si256(d, _mm256_load_si256(p + i + 3));
	}
	a = _mm256_or_si256(_mm256_or_si256(a, b), _mm256_or_si256(c, d));
	return _mm256_movemask_epi8(a);
}

TARGET("avx512f") static int avx512_read(const void *data, uint64_t bytes)
{
	const __m512i *p = data;
	__m512i a = _mm512_setzero_si512(), b = a, c = a, d = a;

	for (uint64_t i = 0; i < bytes / 64; i += 4) {
		a = _mm512_or_si512(a, _mm512_load_si512(p + i));
		b = _mm512_or_si512(b, _mm512_load_si512(p + i + 1));
		c = _mm512_or_si512(c, _mm512_load_si512(p + i + 2));
		d = _mm512_or_si512(d, _mm512_load_si512(p + i + 3));
	}
	a = _mm512_or_si512(_mm512_or_si512(a, b), _mm512_or_si512(c, d));
	return _mm512_test_epi32_mask(a, a);
}

/* --- AMX: four sums, two tiles each side, as a product kernel would hold them ------------------- */

static const struct tile_config {
	uint8_t palette, start_row, reserved[14];
	uint16_t row_bytes[16];
	uint8_t rows[16];
} __attribute__((aligned(64))) tiles = {
	.palette = 1,
	.row_bytes = {64, 64, 64, 64, 64, 64, 64, 64},
	.rows = {16, 16, 16, 16, 16, 16, 16, 16},
};

#define AMX_LOOP(dot)                                                                              \
	do {                                                                                       \
		_tile_loadconfig(&tiles);                                                          \
		_tile_zero(0);                                                                     \
		_tile_zero(1);                                                                     \
		_tile_zero(2);                                                                     \
		_tile_zero(3);                                                                     \
		_tile_zero(4);                                                                     \
		_tile_zero(5);                                                                     \
		_tile_zero(6);                                                                     \
		_tile_zero(7);                                                                     \
		for (uint64_t k = 0; k < n; k++) {                                                 \
			dot(0, 4, 6);                                                              \
			dot(1, 4, 7);                                                              \
			dot(2, 5, 6);                                                              \
			dot(3, 5, 7);                                                              \
		}                                                                                  \
		_tile_release();                                                                   \
		return (int)n;                                                                     \
	} while (0)

TARGET("amx-tile,amx-int8") static int amx_int8(uint64_t n)
{
	AMX_LOOP(_tile_dpbssd);
}

TARGET("amx-tile,amx-bf16") static int amx_bf16(uint64_t n)
{
	AMX_LOOP(_tile_dpbf16ps);
}

/* The CPU has the tiles and the kernel lets this process (and its later threads) use them. */
static bool amx_allowed(uint32_t *edx)
{
	uint32_t eax, ebx, ecx;

	*edx = 0;
	if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, edx) || !(*edx & 1u << 24))
		return false;
#ifdef SYS_arch_prctl
	return syscall(SYS_arch_prctl, 0x1023 /* ARCH_REQ_XCOMP_PERM */, 18 /* tile data */) == 0;
#else
	return false;
#endif
}

#endif

static void add(uint32_t *n, const char *limit, const char *instruction, double per_round,
		int (*run)(uint64_t))
{
	LT_ASSERT(*n < MAX_PEAKS);
	peaks[(*n)++] = (struct ctl_peak){limit, instruction, per_round, run};
}

const struct ctl_peak *ctl_peaks(uint32_t *n)
{
	*n = 0;
#if defined(__x86_64__)
	bool f512 = __builtin_cpu_supports("avx512f");
	bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
	uint32_t edx;
	bool amx = amx_allowed(&edx);

	if (f512 && __builtin_cpu_supports("avx512vnni"))
		add(n, "int8", "vpdpbusd, 512 bits", 2.0 * 64 * SUMS, vnni_int8);
	else if (avx2)
		add(n, "int8", "vpmaddubsw, 256 bits", 2.0 * 32 * SUMS, avx2_int8);
	if (amx && edx & 1u << 25)
		add(n, "int8", "tdpbssd, tiles", 2.0 * 16 * 16 * 64 * 4, amx_int8);
	if (f512 && __builtin_cpu_supports("avx512bf16"))
		add(n, "bf16", "vdpbf16ps, 512 bits", 2.0 * 32 * SUMS, avx512_bf16);
	if (amx && edx & 1u << 22)
		add(n, "bf16", "tdpbf16ps, tiles", 2.0 * 16 * 16 * 32 * 4, amx_bf16);
	if (f512)
		add(n, "float32", "vfmadd, 512 bits", 2.0 * 16 * SUMS, avx512_f32);
	else if (avx2)
		add(n, "float32", "vfmadd, 256 bits", 2.0 * 8 * SUMS, avx2_f32);
#endif
	if (*n == 0)
		add(n, "float32", "plain C", 2.0 * 16, plain_f32);
	return peaks;
}

int ctl_read_all(const void *data, uint64_t bytes)
{
#if defined(__x86_64__)
	if (__builtin_cpu_supports("avx512f"))
		return avx512_read(data, bytes);
	if (__builtin_cpu_supports("avx2"))
		return avx2_read(data, bytes);
#endif
	return plain_read(data, bytes);
}
