/*
 * Lingering close: a short list of sockets that are drained until the client closes, a few seconds
 * have passed or it has sent too much.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "server/linger.h"
#include "server/srv.h"

#define LINGER_MAX   64
#define LINGER_NS    (3 * LT_NS_PER_S)
#define LINGER_BYTES (64u << 20)

struct srv_linger {
	uv_poll_t poll;
	struct srv *srv;
	int fd;
	uint64_t deadline_ns;
	size_t left;
	bool closing;
	struct srv_linger *next;
};

static void on_closed(uv_handle_t *h)
{
	struct srv_linger *l = h->data;
	struct srv_linger **at = &l->srv->lingering;

	while (*at != l)
		at = &(*at)->next;
	*at = l->next;
	close(l->fd);
	free(l);
}

static void end(struct srv_linger *l)
{
	if (l->closing)
		return;
	l->closing = true;
	uv_close((uv_handle_t *)&l->poll, on_closed);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct srv_linger *l = poll->data;
	char drop[65536];
	ssize_t n = 0;

	(void)events;
	/* A few reads a turn, so that a fast sender doesn't hold the loop. */
	for (int i = 0; status == 0 && i < 16; i++) {
		n = recv(l->fd, drop, sizeof(drop), MSG_DONTWAIT);
		if (n <= 0)
			break;
		if ((size_t)n >= l->left) {
			n = 0;
			break;
		}
		l->left -= (size_t)n;
	}
	if (status < 0 || n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		end(l);
}

void srv_linger(struct srv *s, int fd)
{
	struct srv_linger *l;
	size_t count = 0;

	for (l = s->lingering; l; l = l->next)
		count++;
	if (count >= LINGER_MAX || s->phase == SRV_STOPPING)
		return;
	l = lt_alloc(1, sizeof(*l));
	if (!l)
		return;
	l->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (l->fd < 0 || uv_poll_init(&s->loop, &l->poll, l->fd) < 0) {
		if (l->fd >= 0)
			close(l->fd);
		free(l);
		return;
	}
	l->srv = s;
	l->poll.data = l;
	l->deadline_ns = s->now_ns + LINGER_NS;
	l->left = LINGER_BYTES;
	l->next = s->lingering;
	s->lingering = l;
	shutdown(l->fd, SHUT_WR);
	uv_poll_start(&l->poll, UV_READABLE, on_readable);
}

void srv_linger_expire(struct srv *s, bool all)
{
	for (struct srv_linger *l = s->lingering; l; l = l->next) {
		if (all || l->deadline_ns <= s->now_ns)
			end(l);
	}
}
