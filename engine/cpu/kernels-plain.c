/* The kernels in plain C, for any processor. */
#include "engine/cpu/vec-plain.h"

#include "engine/cpu/isa-tables.h"

#define CPU_TABLE      cpu_isa_plain
#define CPU_TABLE_NAME "plain"

#include "engine/cpu/kernels.h"
