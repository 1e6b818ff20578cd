/*
 * One step of the engine and what follows from it.
 */
#ifndef LT_SCHEDULER_STEP_H
#define LT_SCHEDULER_STEP_H

#include "scheduler/core.h"

/* Runs the plan: batch, eng_step, commit, draw, events. A failed step ends what took part with
 * LT_EINTERNAL; LT_EINTERNAL from the engine, or a second failure in a row, aborts the process. */
void sched_step(struct sched_core *c);

#endif
