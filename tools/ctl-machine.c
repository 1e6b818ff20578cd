/*
 * latentctl bench --machine: read bandwidth and arithmetic peaks with one thread and with all. Each
 * figure is the best of several rounds, which all threads begin together: it is a limit, so what
 * others on the machine took away does not belong in it.
 */
#include "tools/ctl-machine.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "tools/ctl-run.h"

#define ROUNDS	    6
#define READ_BYTES  (UINT64_C(1) << 30) /* over all threads: well beyond any cache */
#define ROUND_NS    UINT64_C(60000000)	/* about what a round of arithmetic takes */
#define MAX_THREADS 1024u

struct job {
	const struct ctl_peak *peak; /* NULL: read */
	uint64_t n;		     /* rounds of the loop, or bytes a thread */
	pthread_barrier_t barrier;
	struct worker {
		struct job *job;
		uint64_t begin[ROUNDS], end[ROUNDS];
		bool failed;
	} * workers;
};

static atomic_int sink;

static void *work(void *arg)
{
	struct worker *w = arg;
	struct job *j = w->job;
	void *data = MAP_FAILED;

	if (!j->peak) {
		data = mmap(NULL, j->n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		w->failed = data == MAP_FAILED;
		if (!w->failed) {
			/* Pages of our own, near this thread; the zero page would sit in a cache. */
			(void)madvise(data, j->n, MADV_HUGEPAGE);
			memset(data, 1, j->n);
		}
	}
	for (int r = 0; r < ROUNDS; r++) {
		int x = 0;

		pthread_barrier_wait(&j->barrier);
		w->begin[r] = lt_clock_ns();
		if (j->peak)
			x = j->peak->run(j->n);
		else if (!w->failed)
			x = ctl_read_all(data, j->n);
		w->end[r] = lt_clock_ns();
		atomic_fetch_xor_explicit(&sink, x, memory_order_relaxed);
	}
	if (data != MAP_FAILED)
		munmap(data, j->n);
	return NULL;
}

/* Seconds of the best round, from the first thread's begin to the last one's end. */
static double best_round(const struct job *j, uint32_t threads)
{
	double best = 0;

	for (int r = 0; r < ROUNDS; r++) {
		uint64_t begin = UINT64_MAX, end = 0;
		double seconds;

		for (uint32_t i = 0; i < threads; i++) {
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

/* Units a second over all threads, in 1e9; negative (said) if it could not be measured. */
static double measure(const struct ctl_peak *peak, uint64_t n, uint32_t threads)
{
	struct job j = {.peak = peak, .n = n};
	pthread_t *ids = lt_alloc(threads, sizeof(*ids));
	double total = (peak ? peak->per_round : 1.0) * (double)n * threads, rate = -1;
	bool failed = false;

	j.workers = lt_alloc(threads, sizeof(*j.workers));
	if (!ids || !j.workers || pthread_barrier_init(&j.barrier, NULL, threads) != 0) {
		fputs("latentctl bench: out of memory\n", stderr);
		free(ids);
		free(j.workers);
		return -1;
	}
	for (uint32_t i = 0; i < threads; i++) {
		j.workers[i] = (struct worker){.job = &j};
		if (pthread_create(&ids[i], NULL, work, &j.workers[i]) != 0) {
			/* Those before wait at the barrier for good: nothing can be undone. */
			fputs("latentctl bench: cannot start threads\n", stderr);
			exit(CTL_FAIL);
		}
	}
	for (uint32_t i = 0; i < threads; i++) {
		pthread_join(ids[i], NULL);
		failed |= j.workers[i].failed;
	}
	if (failed)
		fputs("latentctl bench: no memory to read\n", stderr);
	else
		rate = total / best_round(&j, threads) / 1e9;
	pthread_barrier_destroy(&j.barrier);
	free(j.workers);
	free(ids);
	return rate;
}

/* Rounds that take about ROUND_NS. */
static uint64_t calibrate(const struct ctl_peak *peak)
{
	uint64_t n = 1024, begin, took;

	for (;;) {
		begin = lt_clock_ns();
		(void)peak->run(n);
		took = lt_clock_ns() - begin;
		if (took >= ROUND_NS / 8 || n > UINT64_MAX / 4)
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

int ctl_machine(uint32_t threads, bool json)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	const struct ctl_peak *peaks;
	double one, all;
	uint32_t n;

	if (threads == 0)
		threads = cores < 1 ? 1 : cores > (long)MAX_THREADS ? MAX_THREADS : (uint32_t)cores;
	peaks = ctl_peaks(&n);
	if (json)
		printf("{\"threads\":%u,\"limits\":[", threads);
	else
		printf("%-8s %-6s %-22s %12s %4u threads\n", "limit", "unit", "instruction",
		       "1 thread", threads);
	one = measure(NULL, READ_BYTES, 1);
	all = measure(NULL, READ_BYTES / threads / 4096 * 4096, threads);
	if (one < 0 || all < 0)
		return CTL_FAIL;
	print_row(json, true, "read", "GB/s", "widest loads", one, all);
	for (uint32_t i = 0; i < n; i++) {
		uint64_t rounds = calibrate(&peaks[i]);

		one = measure(&peaks[i], rounds, 1);
		all = measure(&peaks[i], rounds, threads);
		if (one < 0 || all < 0)
			return CTL_FAIL;
		print_row(json, false, peaks[i].limit, "Gop/s", peaks[i].instruction, one, all);
	}
	if (json)
		puts("]}");
	return CTL_OK;
}
