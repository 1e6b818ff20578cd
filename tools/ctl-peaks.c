/*
 * The inner loops of `latentctl bench --machine`: one function an instruction set, chosen by cpuid
 * when the program runs, so that one binary serves every x86-64. Other machines get the plain loops.
 * Enough sums are kept at once to hide an instruction's latency, all in registers; the empty asm
 * statements keep the compiler from folding rounds together. The values stay ordinary numbers: slow
 * paths for denormal ones would be measured otherwise.
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

#define SUMS	   12
#define PLAIN_SUMS 48
#define MAX_PEAKS  8
#define BF16_ONE   0x3f80 /* 1.0 */

static struct ctl_peak peaks[MAX_PEAKS];
static enum level { PLAIN, AVX2, AVX512, AVX512BF16, AMX } level;

/* Float sums are no compiler's to reorder or fold, so this one needs no asm. */
static int plain_f32(uint64_t n)
{
	float sum[PLAIN_SUMS], total = 0;

	for (int i = 0; i < PLAIN_SUMS; i++)
		sum[i] = (float)i;
	for (uint64_t k = 0; k < n; k++) {
		for (int i = 0; i < PLAIN_SUMS; i++)
			sum[i] = sum[i] * 0.999f + 0.001f;
	}
	for (int i = 0; i < PLAIN_SUMS; i++)
		total += sum[i];
	return (int)total;
}

/*
 * Reading: CTL_STREAMS places at once, as a core's prefetchers follow several streams and one alone
 * does not fill the lines between core and memory. load(p) is one load, 256 bytes a step and stream.
 */
#define READ_LOOP(type, zero, or_of, load)                                                         \
	const type *p = data;                                                                      \
	const uint64_t wide = 256 / sizeof(type), each = bytes / CTL_STREAMS / sizeof(type);       \
	type sum[4] = {zero, zero, zero, zero};                                                    \
	for (uint64_t i = 0; i < each; i += wide) {                                                \
		for (uint64_t s = 0; s < CTL_STREAMS; s++) {                                       \
			const type *at = p + s * each + i;                                         \
			_Pragma("GCC unroll 8") for (uint64_t k = 0; k < wide; k++) sum[k % 4] =   \
				or_of(sum[k % 4], load(at + k));                                   \
		}                                                                                  \
	}                                                                                          \
	sum[0] = or_of(or_of(sum[0], sum[1]), or_of(sum[2], sum[3]))

#define PLAIN_OR(a, b)	((a) | (b))
#define PLAIN_LOAD(ptr) (*(ptr))

static int plain_read(const void *data, uint64_t bytes)
{
	READ_LOOP(uint64_t, 0, PLAIN_OR, PLAIN_LOAD);
	return (int)sum[0];
}

#if defined(__x86_64__)

#define TARGET(isa) __attribute__((target(isa)))

/* n rounds of SUMS independent `sum = expr(sum)`, each in a register of its own. */
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
		_Pragma("GCC unroll 12") for (int i = 0; i < SUMS;                                 \
					      i++) __asm__ volatile("" : : "v"(sum[i]));           \
		return (int)n;                                                                     \
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

/* x as if new each time: a product of the same two values would be moved out of the loop. */
TARGET("avx2") static inline __m256i fresh(__m256i x)
{
	__asm__ volatile("" : "+x"(x));
	return x;
}

TARGET("avx2") static int avx2_int8(uint64_t n)
{
	__m256i x = _mm256_set1_epi8(3), y = _mm256_set1_epi8(1), one = _mm256_set1_epi16(1);

	PEAK_LOOP(__m256i, _mm256_set1_epi32(i),
		  _mm256_add_epi32(sum[i],
				   _mm256_madd_epi16(_mm256_maddubs_epi16(fresh(x), y), one)));
}

TARGET("avx512f,avx512vnni") static int vnni_int8(uint64_t n)
{
	__m512i x = _mm512_set1_epi8(3), y = _mm512_set1_epi8(1);

	PEAK_LOOP(__m512i, _mm512_set1_epi32(i), _mm512_dpbusd_epi32(sum[i], x, y));
}

TARGET("avx512f,avx512bf16") static int avx512_bf16(uint64_t n)
{
	__m512i one = _mm512_set1_epi16(BF16_ONE);
	__m512bh x;

	memcpy(&x, &one, sizeof(x));
	PEAK_LOOP(__m512, _mm512_set1_ps((float)i), _mm512_dpbf16_ps(sum[i], x, x));
}

TARGET("avx2") static int avx2_read(const void *data, uint64_t bytes)
{
	READ_LOOP(__m256i, _mm256_setzero_si256(), _mm256_or_si256, _mm256_load_si256);
	return _mm256_movemask_epi8(sum[0]);
}

TARGET("avx512f") static int avx512_read(const void *data, uint64_t bytes)
{
	READ_LOOP(__m512i, _mm512_setzero_si512(), _mm512_or_si512, _mm512_load_si512);
	return _mm512_test_epi32_mask(sum[0], sum[0]);
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
		uint16_t ones[16 * 32];                                                            \
		for (int i = 0; i < 16 * 32; i++)                                                  \
			ones[i] = BF16_ONE;                                                        \
		_tile_loadconfig(&tiles);                                                          \
		_tile_zero(0);                                                                     \
		_tile_zero(1);                                                                     \
		_tile_zero(2);                                                                     \
		_tile_zero(3);                                                                     \
		_tile_loadd(4, ones, 64);                                                          \
		_tile_loadd(5, ones, 64);                                                          \
		_tile_loadd(6, ones, 64);                                                          \
		_tile_loadd(7, ones, 64);                                                          \
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

#if defined(__x86_64__)
/* Those of x86-64, up to `level`; also settles what ctl_read_all uses. */
static void add_x86(uint32_t *n)
{
	uint32_t edx;

	if (level >= AMX && amx_allowed(&edx)) {
		if (edx & 1u << 25)
			add(n, "int8", "tdpbssd, tiles", 2.0 * 16 * 16 * 64 * 4, amx_int8);
		if (edx & 1u << 22)
			add(n, "bf16", "tdpbf16ps, tiles", 2.0 * 16 * 16 * 32 * 4, amx_bf16);
	}
	if (level >= AVX512 && __builtin_cpu_supports("avx512vnni"))
		add(n, "int8", "vpdpbusd, 512 bits", 2.0 * 64 * SUMS, vnni_int8);
	else if (level >= AVX2)
		add(n, "int8", "vpmaddubsw, 256 bits", 2.0 * 32 * SUMS, avx2_int8);
	if (level >= AVX512BF16 && __builtin_cpu_supports("avx512bf16"))
		add(n, "bf16", "vdpbf16ps, 512 bits", 2.0 * 32 * SUMS, avx512_bf16);
	if (level >= AVX512)
		add(n, "float32", "vfmadd, 512 bits", 2.0 * 16 * SUMS, avx512_f32);
	else if (level >= AVX2)
		add(n, "float32", "vfmadd, 256 bits", 2.0 * 8 * SUMS, avx2_f32);
}
#endif

/* What `isa` allows and the CPU has; false if it lacks what was asked for by name. */
static bool set_level(const char *isa)
{
	static const char *const names[] = {"plain", "avx2", "avx512", "avx512bf16", "auto"};
	int asked = AMX, has = PLAIN;

	for (int i = 0; isa && i < (int)(sizeof(names) / sizeof(names[0])); i++) {
		if (strcmp(isa, names[i]) == 0) {
			asked = i;
			isa = NULL;
		}
	}
	if (isa)
		return false;
#if defined(__x86_64__)
	if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
		has = AVX2;
	if (has == AVX2 && __builtin_cpu_supports("avx512f"))
		has = AVX512;
	if (has == AVX512 && __builtin_cpu_supports("avx512bf16"))
		has = AMX; /* as far as the kernel lets us */
#endif
	level = (enum level)(asked < has ? asked : has);
	return asked == AMX || asked <= has;
}

const struct ctl_peak *ctl_peaks(const char *isa, uint32_t *n)
{
	*n = 0;
	if (!set_level(isa))
		return NULL;
#if defined(__x86_64__)
	add_x86(n);
#endif
	if (*n == 0)
		add(n, "float32", "plain C", 2.0 * PLAIN_SUMS, plain_f32);
	return peaks;
}

int ctl_read_all(const void *data, uint64_t bytes)
{
#if defined(__x86_64__)
	if (level >= AVX512)
		return avx512_read(data, bytes);
	if (level >= AVX2)
		return avx2_read(data, bytes);
#endif
	return plain_read(data, bytes);
}
