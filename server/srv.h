/*
 * The daemon as a whole: what its parts share. One struct srv, owned by main; everything in it
 * belongs to the loop thread, but for `params` and an open `model`, which nobody changes while
 * workers read them.
 *
 * Who does what: loop.c runs libuv and libmicrohttpd; listen.c opens sockets and accepts; conn.c
 * knows each connection and its deadlines; http.c takes requests; routes.c answers the short ones;
 * call.c, prepare.c and stream.c carry a completion; load.c and model.c load; drain.c takes signals and stops.
 */
#ifndef LT_SERVER_SRV_H
#define LT_SERVER_SRV_H

#include <microhttpd.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/error.h"
#include "server/conn.h"
#include "server/keys.h"
#include "server/metrics.h"
#include "server/params.h"

struct srv_model;
struct srv_listener;
struct srv_replies;
struct srv_watch;
struct srv_call;
struct srv_linger;
struct lt_map;

/* The daemon's life. */
enum srv_phase {
	SRV_LOADING,  /* the model is being read; /health answers, completions get 503 */
	SRV_READY,    /* serving */
	SRV_DRAINING, /* SIGTERM came: nothing new, what runs may finish */
	SRV_STOPPING, /* everything is being closed */
};

struct srv {
	struct srv_params params;
	int argc;
	char **argv, **env; /* for SIGHUP, which reads parameters again */

	enum srv_phase phase;
	bool failed; /* stops with exit status 1 */

	/* loop.c */
	uv_loop_t loop;
	uv_poll_t mhd_poll;
	uv_idle_t mhd_again;	/* libmicrohttpd has more to do at once */
	uv_timer_t mhd_timer;	/* it says so, but gets nowhere: later */
	uint64_t mhd_events;	/* its callbacks so far */
	unsigned int mhd_quiet; /* turns in a row without one although it asked for them */
	uv_timer_t tick;	/* deadlines, every SRV_TICK_MS while there is something to watch */
	uv_async_t wake;	/* from the scheduler's thread */
	uv_signal_t signals[3];
	struct MHD_Daemon *mhd;
	bool in_run;	 /* inside MHD_run */
	uint64_t now_ns; /* lt_clock_ns at the last turn of the loop */

	/* drain.c, load.c, notify.c */
	uv_timer_t drain_timer, watchdog_timer;
	uint64_t watchdog_steps; /* sched_stats.steps at the last look */
	bool watchdog_busy;	 /* and whether there was work */
	uv_work_t load;		 /* the worker that reads the model */
	struct lt_err load_err;
	struct srv_model *loaded; /* what it made */
	uint64_t load_start_ns;

	struct srv_listener *listeners;
	size_t n_listeners;
	struct srv_conns conns;
	struct srv_watch *watch;
	struct srv_replies *replies;
	struct srv_linger *lingering;
	struct srv_keys *keys; /* NULL: open to all */
	struct srv_metrics metrics;

	struct srv_model *model; /* NULL until loaded */
	struct lt_map *jobs;	 /* scheduler's id -> struct srv_job * */
	struct srv_call *calls;	 /* all that are not freed, a list */
	uint32_t n_calls;	 /* completion requests at work */
};

#define SRV_TICK_MS 100

#endif
