/*
 * Loading.
 */
#include "server/load.h"

#include "base/clock.h"
#include "base/log.h"
#include "server/loop.h"
#include "server/model.h"
#include "server/notify.h"
#include "server/srv.h"

/* From the scheduler's thread. */
static void on_events_wait(void *arg)
{
	uv_async_send(arg);
}

static void on_load(uv_work_t *w)
{
	struct srv *s = w->data;

	srv_model_open(&s->params, on_events_wait, &s->wake, &s->loaded, &s->load_err);
}

static void after_load(uv_work_t *w, int status)
{
	struct srv *s = w->data;

	s->now_ns = lt_clock_ns();
	if (status < 0 || !s->loaded) {
		lt_log(LT_LOG_ERROR, "%s", s->load_err.text);
		s->failed = true;
		srv_loop_stop(s);
		return;
	}
	s->model = s->loaded;
	s->phase = SRV_READY;
	lt_log(LT_LOG_INFO, "ready after %.1f s",
	       (double)(s->now_ns - s->load_start_ns) / (double)LT_NS_PER_S);
	srv_notify_phase(s);
	srv_notify_watchdog_start(s);
}

int srv_load_start(struct srv *s, struct lt_err *err)
{
	int rc;

	s->phase = SRV_LOADING;
	s->load_start_ns = lt_clock_ns();
	srv_notify_phase(s);
	s->load.data = s;
	rc = uv_queue_work(&s->loop, &s->load, on_load, after_load);
	return rc < 0 ? lt_fail(err, LT_EIO, "libuv: %s", uv_strerror(rc)) : 0;
}
