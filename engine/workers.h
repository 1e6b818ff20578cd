/*
 * The engine's worker threads: one call at a time splits into tasks, the caller works along, and
 * returns when all are done. Idle workers sleep. Which worker runs which task is left to chance, so
 * a task's result must not depend on it.
 */
#ifndef LT_ENGINE_WORKERS_H
#define LT_ENGINE_WORKERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct eng_workers;

/* `threads` in all, the caller's included: threads - 1 are started. pin: each of these stays on a
 * processor of its own among those that the process may use, cores before their hardware siblings;
 * the first is left to the caller, which stays free. LT_ENOMEM; LT_EINVAL: more threads to be pinned
 * than there are processors. */
int eng_workers_open(uint32_t threads, bool pin, struct eng_workers **out, struct lt_err *err);
void eng_workers_close(struct eng_workers *w); /* NULL is fine */

/* Runs task(arg, i, worker) for each i in [0, tasks); worker in [0, threads) numbers the thread, for
 * scratch memory. Not reentrant; one caller at a time. */
void eng_workers_run(struct eng_workers *w, size_t tasks,
		     void (*task)(void *arg, size_t i, uint32_t worker), void *arg);

#endif
