/*
 * systemd's notification protocol through libsystemd.
 */
#include "server/notify.h"

#include <systemd/sd-daemon.h>

#include "base/clock.h"
#include "base/log.h"
#include "server/model.h"
#include "server/srv.h"

void srv_notify_phase(const struct srv *s)
{
	switch (s->phase) {
	case SRV_LOADING: sd_notifyf(0, "STATUS=Loading %s", s->params.model_path); break;
	case SRV_READY:
		sd_notifyf(0, "READY=1\nSTATUS=Serving %s with engine %s", s->model->name,
			   eng_info(s->model->eng)->backend);
		break;
	case SRV_DRAINING:
		sd_notifyf(0, "STOPPING=1\nSTATUS=Draining: %u requests at work", s->n_calls);
		break;
	case SRV_STOPPING: sd_notify(0, "STOPPING=1\nSTATUS=Stopping"); break;
	}
}

void srv_notify_reload(const struct srv *s, bool over)
{
	if (over)
		srv_notify_phase(s);
	else
		sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%llu\nSTATUS=Reading keys and log level",
			   (unsigned long long)(lt_clock_ns() / 1000));
}

static void on_watchdog(uv_timer_t *t)
{
	struct srv *s = t->data;
	struct sched_stats st = {0};

	if (s->model) {
		sched_stats(s->model->sched, &st);
		/* Busy at both looks and not one step between them: the engine hangs. */
		if (st.busy && s->watchdog_busy && st.steps == s->watchdog_steps) {
			lt_log(LT_LOG_ERROR,
			       "the engine has made no step since the last look; watchdog not fed");
			return;
		}
		s->watchdog_busy = st.busy;
		s->watchdog_steps = st.steps;
	}
	sd_notify(0, "WATCHDOG=1");
}

void srv_notify_watchdog_start(struct srv *s)
{
	uint64_t usec = 0;

	s->watchdog_timer.data = s;
	if (sd_watchdog_enabled(0, &usec) > 0 && usec >= 2000)
		uv_timer_start(&s->watchdog_timer, on_watchdog, usec / 2000, usec / 2000);
}
