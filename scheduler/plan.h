/*
 * What the next step computes: plan.c has the rules.
 */
#ifndef LT_SCHEDULER_PLAN_H
#define LT_SCHEDULER_PLAN_H

#include "scheduler/core.h"

/* A prompt that finds too few blocks or places lets at most so many younger ones in before nobody gets in
 * until it does. */
#define SCHED_MAX_PASSED 16u

/* Sets `take` of every sequence and took[0..n_took), those with some. Lets waiting ones in, preempts
 * and ends (LT_ENOMEM) others. With any request open at least one token is taken, unless what could
 * have gone on was ended for want of memory. */
void sched_plan(struct sched_core *c);

#endif
