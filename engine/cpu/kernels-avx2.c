/* The kernels in AVX2, FMA and F16C. */
#include "engine/cpu/vec-avx2.h"

#include "engine/cpu/isa-tables.h"

#define CPU_TABLE      cpu_isa_avx2
#define CPU_TABLE_NAME "avx2"

#include "engine/cpu/kernels.h"
