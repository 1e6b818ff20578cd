/*
 * One epoll set for the sockets of requests at work, itself polled by libuv.
 */
#include "server/watch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/mem.h"
#include "server/call.h"
#include "server/loop.h"
#include "server/srv.h"

struct srv_watch {
	int fd;
	uv_poll_t poll;
};

static void on_events(uv_poll_t *poll, int status, int mask)
{
	struct srv *s = poll->data;
	struct epoll_event events[64];
	int n;

	(void)status;
	(void)mask;
	do {
		n = epoll_wait(s->watch->fd, events, 64, 0);
		for (int i = 0; i < n; i++) {
			struct srv_conn *c = events[i].data.ptr;
			if (c->call)
				srv_call_gone(c->call);
		}
	} while (n == 64);
	srv_loop_run_http(s);
}

int srv_watch_open(struct srv *s, struct lt_err *err)
{
	struct srv_watch *w = lt_alloc(1, sizeof(*w));

	if (!w)
		return lt_fail(err, LT_ENOMEM, "out of memory");
	w->fd = epoll_create1(EPOLL_CLOEXEC);
	if (w->fd < 0 || uv_poll_init(&s->loop, &w->poll, w->fd) < 0) {
		if (w->fd >= 0)
			close(w->fd);
		free(w);
		return lt_fail(err, LT_EIO, "epoll: %s", strerror(errno));
	}
	w->poll.data = s;
	s->watch = w;
	uv_poll_start(&w->poll, UV_READABLE, on_events);
	return 0;
}

static void on_closed(uv_handle_t *h)
{
	struct srv_watch *w = (struct srv_watch *)((char *)h - offsetof(struct srv_watch, poll));

	close(w->fd);
	free(w);
}

void srv_watch_close(struct srv *s)
{
	if (s->watch)
		uv_close((uv_handle_t *)&s->watch->poll, on_closed);
	s->watch = NULL;
}

int srv_watch_begin(struct srv_conn *c)
{
	struct epoll_event e = {.events = EPOLLRDHUP | EPOLLONESHOT, .data.ptr = c};

	return epoll_ctl(c->srv->watch->fd, EPOLL_CTL_ADD, c->fd, &e) == 0 ? 0 : LT_EIO;
}

void srv_watch_end(struct srv_conn *c)
{
	epoll_ctl(c->srv->watch->fd, EPOLL_CTL_DEL, c->fd, NULL);
}
