/* The kernels in AVX-512 with VNNI and BF16. */
#include "engine/cpu/vec-avx512.h"

#include "engine/cpu/isa-tables.h"

#define CPU_TABLE      cpu_isa_avx512bf16
#define CPU_TABLE_NAME "avx512bf16"

#include "engine/cpu/kernels.h"
