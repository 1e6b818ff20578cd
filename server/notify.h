/*
 * Telling systemd how we are: readiness, status, watchdog. Everything is a no-op without
 * NOTIFY_SOCKET. Loop thread only.
 */
#ifndef LT_SERVER_NOTIFY_H
#define LT_SERVER_NOTIFY_H

#include <stdbool.h>

struct srv;

/* Says the phase that the server is in now: STATUS= while loading, READY=1 once it serves,
 * STOPPING=1 when it drains. */
void srv_notify_phase(const struct srv *s);

/* RELOADING=1 with the time it began, and READY=1 when it is over. */
void srv_notify_reload(const struct srv *s, bool over);

/* Feeds the watchdog twice in its period, but only while the loop turns (this is its timer) and the
 * engine advances. */
void srv_notify_watchdog_start(struct srv *s);

#endif
