/*
 * latentctl bench --machine: read bandwidth and arithmetic peaks with one thread and with all. Each
 * figure is the best of many short rounds, which all threads begin together: it is a limit, so what
 * others on the machine took away does not belong in it, and a round shorter than a time slice has a
 * chance of being left alone.
 */
#define _GNU_SOURCE /* pthread_setaffinity_np */

#include "tools/ctl-machine.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "tools/ctl-run.h"

#define ROUNDS	    20u			 /* of a repetition */
#define ROUND_NS    UINT64_C(3000000)	 /* about what a round of arithmetic takes */
#define READ_BYTES  (UINT64_C(1) << 30)	 /* at least, over all threads: well beyond the caches */
#define SLICE_BYTES (UINT64_C(32) << 20) /* of a thread's share, read in one round */
#define MAX_THREADS 1024u

struct job {
	const struct ctl_peak *peak; /* NULL: read */
	uint64_t n;		     /* rounds of the loop; of reading: slices a thread */
	uint32_t threads, rounds;
	pthread_barrier_t barrier;
	atomic_uint ready; /* counts threads past the barrier, over all rounds */
	struct worker {
		struct job *job;
		uint64_t *begin, *end; // [rounds]
		bool failed;
	} * workers;
	uint64_t *times; // [threads, 2, rounds]
};

static atomic_int sink;

/* The barrier's sleepers wake one by one; those awake wait for them by spinning, so that a round
 * begins within a microsecond everywhere. */
static void line_up(struct job *j, unsigned round)
{
	pthread_barrier_wait(&j->barrier);
	atomic_fetch_add(&j->ready, 1);
	while (atomic_load(&j->ready) < (round + 1) * j->threads)
		;
}

static void *work(void *arg)
{
	struct worker *w = arg;
	struct job *j = w->job;
	uint64_t bytes = j->peak ? 0 : j->n * SLICE_BYTES;
	char *data = NULL;

	if (bytes > 0) {
		data = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			    0);
		w->failed = data == MAP_FAILED;
		if (!w->failed) {
			/* Pages of our own, near this thread; the zero page would sit in a cache. */
			(void)madvise(data, bytes, MADV_HUGEPAGE);
			memset(data, 1, bytes);
		}
	}
	for (unsigned r = 0; r < j->rounds; r++) {
		int x = 0;

		line_up(j, r);
		w->begin[r] = lt_clock_ns();
		if (j->peak)
			x = j->peak->run(j->n);
		else if (!w->failed)
			x = ctl_read_all(data + r % j->n * SLICE_BYTES, SLICE_BYTES);
		w->end[r] = lt_clock_ns();
		atomic_fetch_xor_explicit(&sink, x, memory_order_relaxed);
	}
	if (bytes > 0 && !w->failed)
		munmap(data, bytes);
	return NULL;
}

/* Seconds of the best round, from the first thread's begin to the last one's end. */
static double best_round(const struct job *j)
{
	double best = 0;

	for (uint32_t r = 0; r < j->rounds; r++) {
		uint64_t begin = UINT64_MAX, end = 0;
		double seconds;

		for (uint32_t i = 0; i < j->threads; i++) {
			const struct worker *w = &j->workers[i];

			begin = w->begin[r] < begin ? w->begin[r] : begin;
			end = w->end[r] > end ? w->end[r] : end;
		}
		seconds = (double)(end - begin) / 1e9;
		if (r == 0 || seconds < best)
			best = seconds;
	}
	return best > 0 ? best : 1e-9;
}

/* One worker a core where there are as many as cores: two that share one measure nothing. */
static void pin(pthread_t thread, uint32_t number, uint32_t threads)
{
	cpu_set_t allowed, one;
	uint32_t seen = 0;

	if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0 ||
	    (uint32_t)CPU_COUNT(&allowed) != threads)
		return;
	for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (CPU_ISSET(cpu, &allowed) && seen++ == number) {
			CPU_ZERO(&one);
			CPU_SET(cpu, &one);
			(void)pthread_setaffinity_np(thread, sizeof(one), &one);
		}
	}
}

/* Runs j on its threads; false (said) if that could not be done. */
static bool run_all(struct job *j, pthread_t *ids)
{
	bool failed = false;

	for (uint32_t i = 0; i < j->threads; i++) {
		uint64_t *begin = j->times + (size_t)i * 2 * j->rounds;

		j->workers[i] = (struct worker){.job = j, .begin = begin, .end = begin + j->rounds};
		if (pthread_create(&ids[i], NULL, work, &j->workers[i]) != 0) {
			/* Those before wait at the barrier for good: nothing can be undone. */
			fputs("latentctl bench: cannot start threads\n", stderr);
			exit(CTL_FAIL);
		}
		pin(ids[i], i, j->threads);
	}
	for (uint32_t i = 0; i < j->threads; i++) {
		pthread_join(ids[i], NULL);
		failed |= j->workers[i].failed;
	}
	if (failed)
		fputs("latentctl bench: no memory to read\n", stderr);
	return !failed;
}

/* Units a second over all threads, in 1e9; negative (said) if it could not be measured. */
static double measure(const struct ctl_peak *peak, uint64_t n, uint32_t threads, uint32_t rounds)
{
	struct job j = {.peak = peak, .n = n, .threads = threads, .rounds = rounds};
	double each = peak ? peak->per_round * (double)n : (double)SLICE_BYTES, rate = -1;
	pthread_t *ids = lt_alloc(threads, sizeof(*ids));

	j.workers = lt_alloc(threads, sizeof(*j.workers));
	j.times = lt_alloc((size_t)threads * 2, rounds * sizeof(*j.times));
	if (!ids || !j.workers || !j.times ||
	    pthread_barrier_init(&j.barrier, NULL, threads) != 0) {
		fputs("latentctl bench: out of memory\n", stderr);
	} else {
		if (run_all(&j, ids))
			rate = each * threads / best_round(&j) / 1e9;
		pthread_barrier_destroy(&j.barrier);
	}
	free(j.times);
	free(j.workers);
	free(ids);
	return rate;
}

/* Slices a thread, so that all of them are four times the last cache (where the system tells its
 * size) but at most a quarter of memory, and no more than are read. */
static uint64_t slices(uint32_t threads, uint32_t rounds)
{
	uint64_t bytes = READ_BYTES, most = 0;
	long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE), cache = 0;

#ifdef _SC_LEVEL3_CACHE_SIZE
	cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
#endif
	if (cache > 0 && (uint64_t)cache * 4 > bytes)
		bytes = (uint64_t)cache * 4;
	if (pages > 0 && page > 0)
		most = (uint64_t)pages * (uint64_t)page / 4;
	if (most > 0 && bytes > most)
		bytes = most;
	bytes = bytes / SLICE_BYTES / threads + 1;
	return bytes < rounds ? bytes : rounds;
}

/* Rounds that take about ROUND_NS. */
static uint64_t calibrate(const struct ctl_peak *peak)
{
	uint64_t n = 1024, begin, took;

	for (;;) {
		begin = lt_clock_ns();
		(void)peak->run(n);
		took = lt_clock_ns() - begin;
		if (took >= ROUND_NS / 4 || n > UINT64_MAX / 4)
			break;
		n *= 2;
	}
	return n * ROUND_NS / took + 1;
}

static void print_row(bool json, bool first, const char *limit, const char *unit,
		      const char *instruction, double one, double all)
{
	if (json)
		printf("%s{\"limit\":\"%s\",\"unit\":\"%s\",\"instruction\":\"%s\","
		       "\"one_thread\":%.6g,\"all_threads\":%.6g}",
		       first ? "" : ",", limit, unit, instruction, one, all);
	else
		printf("%-8s %-6s %-22s %12.1f %12.1f\n", limit, unit, instruction, one, all);
	fflush(stdout);
}

int ctl_machine(uint32_t threads, const char *isa, uint32_t repeats, bool json)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	const struct ctl_peak *peaks;
	double one, all;
	uint32_t n, rounds = repeats * ROUNDS;

	if (threads == 0)
		threads = cores < 1 ? 1 : cores > (long)MAX_THREADS ? MAX_THREADS : (uint32_t)cores;
	peaks = ctl_peaks(isa, &n);
	if (!peaks) {
		fprintf(stderr, "latentctl bench: --isa '%s': not of this machine\n", isa);
		return CTL_USAGE;
	}
	if (json)
		printf("{\"threads\":%u,\"limits\":[", threads);
	else
		printf("%-8s %-6s %-22s %12s %4u threads\n", "limit", "unit", "instruction",
		       "1 thread", threads);
	one = measure(NULL, slices(1, rounds), 1, rounds);
	all = measure(NULL, slices(threads, rounds), threads, rounds);
	if (one < 0 || all < 0)
		return CTL_FAIL;
	print_row(json, true, "read", "GB/s", "widest loads", one, all);
	for (uint32_t i = 0; i < n; i++) {
		uint64_t times = calibrate(&peaks[i]);

		one = measure(&peaks[i], times, 1, rounds);
		all = measure(&peaks[i], times, threads, rounds);
		if (one < 0 || all < 0)
			return CTL_FAIL;
		print_row(json, false, peaks[i].limit, "Gop/s", peaks[i].instruction, one, all);
	}
	if (json)
		puts("]}");
	return CTL_OK;
}
