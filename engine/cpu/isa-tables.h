/* The tables of kernels-*.c; for isa.c alone. */
#ifndef LT_ENGINE_CPU_ISA_TABLES_H
#define LT_ENGINE_CPU_ISA_TABLES_H

#include "engine/cpu/isa.h"

extern const struct cpu_isa cpu_isa_plain, cpu_isa_avx2, cpu_isa_avx512, cpu_isa_avx512bf16;

#endif
