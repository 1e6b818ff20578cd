/*
 * Which kernels this processor can run.
 */
#include "engine/cpu/isa.h"

#include <string.h>

#include "engine/cpu/isa-tables.h"

struct entry {
	const struct cpu_isa *table;
	bool (*supported)(void);
};

static bool always(void)
{
	return true;
}

#if defined(__x86_64__)
/* The compiler's checks include the operating system's: registers that it doesn't save don't count. */
static bool has_avx2(void)
{
	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static bool has_vnni(void)
{
	return has_avx2() && __builtin_cpu_supports("avx512f") &&
	       __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
	       __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
}

static bool has_bf16(void)
{
	return has_vnni() && __builtin_cpu_supports("avx512bf16");
}
#endif

static const struct entry entries[] = {
	{&cpu_isa_plain, always},
#if defined(__x86_64__)
	{&cpu_isa_avx2, has_avx2},
	{&cpu_isa_avx512, has_vnni},
	{&cpu_isa_avx512bf16, has_bf16},
#endif
};

#define ENTRIES (sizeof(entries) / sizeof(entries[0]))

const char *const *cpu_isa_names(void)
{
	static const char *const names[] = {
		"plain",
#if defined(__x86_64__)
		"avx2",
		"avx512",
		"avx512bf16",
#endif
		NULL
	};

	return names;
}

const struct cpu_isa *cpu_isa_find(const char *name)
{
	bool best = !name || strcmp(name, "auto") == 0;

	for (size_t i = ENTRIES; i-- > 0;) {
		if ((best || strcmp(entries[i].table->name, name) == 0) && entries[i].supported())
			return entries[i].table;
	}
	return NULL;
}
