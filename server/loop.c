/*
 * libuv and libmicrohttpd together, in the latter's external epoll mode: a uv_poll on its epoll
 * descriptor calls MHD_run, and an idle handle calls it again when it has more to do at once. It never
 * waits by itself: all its time-outs are off, ours are in conn.c.
 */
#include "server/loop.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "server/call.h"
#include "server/drain.h"
#include "server/http.h"
#include "server/linger.h"
#include "server/listen.h"
#include "server/reply.h"
#include "server/srv.h"
#include "server/stream.h"
#include "server/watch.h"

#define RUNS_A_TURN	8 /* of libmicrohttpd before other handles get their chance */
#define QUIET_RUNS	3 /* of them without a callback before it must wait */
#define LONGEST_WAIT_MS 32

static void on_mhd_again(uv_idle_t *h)
{
	srv_loop_run_http(h->data);
}

static void on_mhd_timer(uv_timer_t *t)
{
	srv_loop_run_http(t->data);
}

/* What to do when libmicrohttpd still asks to be run at once. During a TLS handshake it does so
 * all the time, whether or not the client has sent anything (0.9.75 doesn't note there that a read
 * would block): a client that stops in the middle would keep the processor busy. So runs that lead
 * to no callback are spaced out; an event on a socket still gets through at once. */
static void run_later(struct srv *s, unsigned int quiet)
{
	uint64_t wait;

	if (quiet < QUIET_RUNS) {
		s->mhd_quiet = 0;
		uv_idle_start(&s->mhd_again, on_mhd_again);
		return;
	}
	wait = s->mhd_quiet < 5 ? UINT64_C(1) << s->mhd_quiet : LONGEST_WAIT_MS;
	s->mhd_quiet++;
	uv_timer_start(&s->mhd_timer, on_mhd_timer, wait, 0);
}

void srv_loop_run_http(struct srv *s)
{
	MHD_UNSIGNED_LONG_LONG wait = 1;
	unsigned int quiet = 0;

	if (s->in_run || !s->mhd)
		return;
	s->in_run = true;
	s->now_ns = lt_clock_ns();
	for (int i = 0; i < RUNS_A_TURN && quiet < QUIET_RUNS; i++) {
		uint64_t events = s->mhd_events;
		MHD_run(s->mhd);
		quiet = s->mhd_events == events ? quiet + 1 : 0;
		if (MHD_get_timeout(s->mhd, &wait) == MHD_NO || wait) {
			wait = 1;
			break;
		}
	}
	s->in_run = false;
	if (s->phase == SRV_STOPPING)
		return;
	uv_idle_stop(&s->mhd_again);
	uv_timer_stop(&s->mhd_timer);
	if (wait == 0)
		run_later(s, quiet);
	else
		s->mhd_quiet = 0;
}

static void on_mhd_poll(uv_poll_t *p, int status, int events)
{
	(void)status;
	(void)events;
	srv_loop_run_http(p->data);
}

static void on_wake(uv_async_t *a)
{
	struct srv *s = a->data;

	s->now_ns = lt_clock_ns();
	srv_stream_events(s);
	srv_loop_run_http(s);
}

static void on_tick(uv_timer_t *t)
{
	struct srv *s = t->data;

	s->now_ns = lt_clock_ns();
	srv_conns_expire(s);
	srv_linger_expire(s, false);
	srv_stream_tick(s);
	srv_loop_run_http(s);
	if (s->conns.count == 0 && !s->lingering)
		uv_timer_stop(&s->tick);
}

void srv_loop_tick_start(struct srv *s)
{
	if (!uv_is_active((uv_handle_t *)&s->tick))
		uv_timer_start(&s->tick, on_tick, SRV_TICK_MS, SRV_TICK_MS);
}

static int open_handles(struct srv *s, struct lt_err *err)
{
	int rc = uv_loop_init(&s->loop);

	if (rc < 0)
		return lt_fail(err, LT_EIO, "libuv: %s", uv_strerror(rc));
	s->loop.data = s;
	uv_timer_init(&s->loop, &s->mhd_timer);
	uv_idle_init(&s->loop, &s->mhd_again);
	uv_timer_init(&s->loop, &s->tick);
	s->mhd_timer.data = s->mhd_again.data = s->tick.data = s;
	rc = uv_async_init(&s->loop, &s->wake, on_wake);
	if (rc < 0)
		return lt_fail(err, LT_EIO, "libuv: %s", uv_strerror(rc));
	s->wake.data = s;
	return 0;
}

int srv_loop_open(struct srv *s, struct lt_err *err)
{
	const union MHD_DaemonInfo *info;
	int rc;

	s->now_ns = lt_clock_ns();
	rc = open_handles(s, err);
	if (rc == 0)
		rc = srv_drain_open(s, err);
	if (rc == 0 && srv_conns_init(s) < 0)
		rc = lt_fail(err, LT_ENOMEM, "out of memory");
	if (rc == 0)
		rc = srv_watch_open(s, err);
	if (rc == 0)
		rc = srv_replies_open(s, err);
	if (rc == 0)
		rc = srv_http_open(s, err);
	if (rc < 0)
		return rc;
	info = MHD_get_daemon_info(s->mhd, MHD_DAEMON_INFO_EPOLL_FD);
	rc = info ? uv_poll_init(&s->loop, &s->mhd_poll, info->epoll_fd) : UV_EBADF;
	if (rc < 0)
		return lt_fail(err, LT_EIO, "libmicrohttpd's epoll descriptor: %s",
			       uv_strerror(rc));
	s->mhd_poll.data = s;
	uv_poll_start(&s->mhd_poll, UV_READABLE, on_mhd_poll);
	return srv_listen_open(s, err);
}

void srv_loop_run(struct srv *s)
{
	uv_run(&s->loop, UV_RUN_DEFAULT);
}

void srv_loop_stop(struct srv *s)
{
	if (s->phase == SRV_STOPPING)
		return;
	s->phase = SRV_STOPPING;
	srv_listen_stop(s);
	srv_linger_expire(s, true);
	srv_watch_close(s);
	srv_drain_close(s);
	uv_close((uv_handle_t *)&s->mhd_poll, NULL);
	uv_close((uv_handle_t *)&s->mhd_timer, NULL);
	uv_close((uv_handle_t *)&s->mhd_again, NULL);
	uv_close((uv_handle_t *)&s->tick, NULL);
	uv_close((uv_handle_t *)&s->wake, NULL);
}

static void close_handle(uv_handle_t *h, void *arg)
{
	(void)arg;
	if (!uv_is_closing(h))
		uv_close(h, NULL);
}

void srv_loop_abandon(struct srv *s)
{
	if (!s->loop.data)
		return;
	s->phase = SRV_STOPPING;
	srv_listen_stop(s);
	srv_watch_close(s);
	uv_walk(&s->loop, close_handle, NULL);
	uv_run(&s->loop, UV_RUN_DEFAULT);
}

void srv_loop_close(struct srv *s)
{
	srv_http_close(s);
	srv_replies_close(s);
	srv_listen_close(s);
	srv_conns_fini(s);
	if (s->loop.data)
		uv_loop_close(&s->loop);
}
