/* The kernels in AVX-512 with VNNI. */
#include "engine/cpu/vec-avx512.h"

#include "engine/cpu/isa-tables.h"

#define CPU_TABLE      cpu_isa_avx512
#define CPU_TABLE_NAME "avx512"

#include "engine/cpu/kernels.h"
