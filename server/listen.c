/*
 * Listening sockets. We accept by ourselves (libmicrohttpd could listen on one socket only) and hand
 * each connection over. Options that connections inherit are set on the listening socket.
 */
#include "config.h" /* first: it asks for accept4 */

#include "server/listen.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "server/http.h"
#include "server/loop.h"
#include "server/srv.h"

#define BACKLOG	      1024
#define ACCEPT_A_TURN 64

struct srv_listener {
	uv_poll_t poll;
	struct srv *srv;
	int fd;
	char path[108]; /* of a Unix socket that we made; else empty */
	bool open;
};

/* One entry of server.listen taken apart. */
struct address {
	char host[300]; /* or the path */
	char port[8];
	bool is_path;
};

/* Reads list[0..n). */
static int parse_address(const char *list, size_t n, long long port, struct address *a,
			 struct lt_err *err)
{
	char text[300];
	char *colon, *end;
	long value;

	if (n == 0 || n >= sizeof(text))
		return lt_fail(err, LT_EINVAL, "server.listen: an entry is empty or too long");
	memcpy(text, list, n);
	text[n] = '\0';
	*a = (struct address){.is_path = text[0] == '/'};
	snprintf(a->port, sizeof(a->port), "%lld", port);
	if (a->is_path) {
		if (n >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
			return lt_fail(err, LT_EINVAL, "server.listen: %s: the path is too long",
				       text);
		memcpy(a->host, text, n + 1);
		return 0;
	}
	end = text[0] == '[' ? strchr(text, ']') : NULL;
	if (text[0] == '[' && !end)
		return lt_fail(err, LT_EINVAL, "server.listen: %s: the bracket is not closed",
			       text);
	if (end)
		*end = '\0';
	colon = strchr(end ? end + 1 : text, ':');
	/* An IPv6 address without brackets has more than one colon and no port. */
	if (!end && colon && strchr(colon + 1, ':'))
		colon = NULL;
	if (colon) {
		*colon = '\0';
		errno = 0;
		value = strtol(colon + 1, &end, 10);
		if (end == colon + 1 || *end || errno || value < 0 || value > 65535)
			return lt_fail(err, LT_EINVAL,
				       "server.listen: \"%.100s\": the port must be 0 to 65535",
				       colon + 1);
		snprintf(a->port, sizeof(a->port), "%ld", value);
	}
	snprintf(a->host, sizeof(a->host), "%s", text[0] == '[' ? text + 1 : text);
	return *a->host ? 0 : lt_fail(err, LT_EINVAL, "server.listen: an entry has no address");
}

static size_t count_entries(const char *list)
{
	size_t n = 1;

	for (; *list; list++)
		n += *list == ',';
	return n;
}

/* The next entry of *list, trimmed; *list moves on. */
static const char *next_entry(const char **list, size_t *n)
{
	const char *at = *list + strspn(*list, " \t");
	size_t len = strcspn(at, ",");

	*list = at + len + (at[len] == ',');
	while (len && (at[len - 1] == ' ' || at[len - 1] == '\t'))
		len--;
	*n = len;
	return at;
}

int srv_listen_check(const char *list, struct lt_err *err)
{
	size_t entries = count_entries(list), n;
	struct address a;

	for (size_t i = 0; i < entries; i++) {
		const char *at = next_entry(&list, &n);
		int rc = parse_address(at, n, 0, &a, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* --- accepting ----------------------------------------------------------------------------------- */

static void on_connections(uv_poll_t *poll, int status, int events)
{
	struct srv_listener *l = poll->data;
	struct srv *s = l->srv;

	(void)status;
	(void)events;
	for (int i = 0; i < ACCEPT_A_TURN; i++) {
		struct sockaddr_storage addr = {0};
		socklen_t len = sizeof(addr);
		int fd = accept4(l->fd, (struct sockaddr *)&addr, &len,
				 SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0) {
			/* Out of descriptors or memory: the poll is level-triggered and comes
			 * back; the message must not come with it each time. */
			if (errno == EMFILE || errno == ENFILE || errno == ENOMEM)
				s->metrics.accept_failures++;
			break;
		}
		srv_http_add(s, fd, (struct sockaddr *)&addr, len);
	}
	srv_loop_tick_start(s);
	srv_loop_run_http(s);
}

/* What accepted connections inherit: no delay for small frames, and a dead peer is noticed. */
static void set_options(int fd)
{
	int on = 1, idle = 60, interval = 15, probes = 4;

	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
}

/* Takes fd over. */
static int add_listener(struct srv *s, int fd, const char *path, struct lt_err *err)
{
	struct srv_listener *l = &s->listeners[s->n_listeners];

	if (uv_poll_init(&s->loop, &l->poll, fd) < 0) {
		close(fd);
		return lt_fail(err, LT_EIO, "a listening socket cannot be polled");
	}
	s->n_listeners++;
	l->srv = s;
	l->fd = fd;
	l->open = true;
	l->poll.data = l;
	snprintf(l->path, sizeof(l->path), "%s", path);
	uv_poll_start(&l->poll, UV_READABLE, on_connections);
	return 0;
}

/* --- opening ------------------------------------------------------------------------------------- */

/* Removes a socket that a dead process left behind; a living one is found by connecting. */
static bool is_stale(const struct sockaddr_un *addr)
{
	struct stat st;
	bool stale;
	int fd;

	if (lstat(addr->sun_path, &st) < 0 || !S_ISSOCK(st.st_mode))
		return false;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return false;
	stale = connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0 &&
		errno == ECONNREFUSED;
	close(fd);
	return stale;
}

static int open_path(struct srv *s, const char *path, struct lt_err *err)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	memcpy(addr.sun_path, path, strlen(path) + 1);
	if (fd >= 0 && is_stale(&addr))
		unlink(path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
	    listen(fd, BACKLOG) < 0) {
		int e = errno;
		if (fd >= 0)
			close(fd);
		return lt_fail(err, LT_EIO, "cannot listen on %s: %s", path, strerror(e));
	}
	return add_listener(s, fd, path, err);
}

static int bind_one(const struct addrinfo *ai)
{
	int on = 1;
	int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	/* "::" means IPv6 alone, so that 0.0.0.0 can stand beside it. */
	if (ai->ai_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	set_options(fd);
	if (bind(fd, ai->ai_addr, ai->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0) {
		int e = errno;
		close(fd);
		errno = e;
		return -1;
	}
	return fd;
}

static bool is_loopback(const struct sockaddr *a)
{
	if (a->sa_family == AF_INET)
		return ntohl(((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr) >>
			       24 ==
		       127;
	if (a->sa_family == AF_INET6)
		return IN6_IS_ADDR_LOOPBACK(
			&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr);
	return true;
}

static int open_host(struct srv *s, const struct address *a, struct lt_err *err)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *list;
	int fd, rc = getaddrinfo(a->host, a->port, &hints, &list);

	if (rc != 0)
		return lt_fail(err, LT_EINVAL, "server.listen: %s: %s", a->host, gai_strerror(rc));
	/* A name may have several addresses (localhost: ::1 and 127.0.0.1); the first that can be
	 * bound is taken. */
	fd = -1;
	for (struct addrinfo *ai = list; ai && fd < 0; ai = ai->ai_next)
		fd = bind_one(ai);
	rc = errno;
	freeaddrinfo(list);
	if (fd < 0)
		return lt_fail(err, LT_EIO, "cannot listen on %s port %s: %s", a->host, a->port,
			       strerror(rc));
	return add_listener(s, fd, "", err);
}

static int port_of(int fd)
{
	struct sockaddr_storage addr;
	socklen_t len = sizeof(addr);

	if (getsockname(fd, (struct sockaddr *)&addr, &len) < 0)
		return 0;
	if (addr.ss_family == AF_INET)
		return ntohs(((struct sockaddr_in *)&addr)->sin_port);
	if (addr.ss_family == AF_INET6)
		return ntohs(((struct sockaddr_in6 *)&addr)->sin6_port);
	return 0;
}

static void describe(struct srv *s)
{
	const char *scheme = *s->params.tls_cert ? "https" : "http";

	for (size_t i = 0; i < s->n_listeners; i++) {
		struct sockaddr_storage addr;
		socklen_t len = sizeof(addr);
		char host[128] = "", port[16] = "";

		if (*s->listeners[i].path) {
			lt_log(LT_LOG_INFO, "listening on %s", s->listeners[i].path);
			continue;
		}
		if (getsockname(s->listeners[i].fd, (struct sockaddr *)&addr, &len) < 0 ||
		    getnameinfo((struct sockaddr *)&addr, len, host, sizeof(host), port,
				sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV) != 0)
			continue;
		lt_log(LT_LOG_INFO, "listening on %s://%s%s%s:%s", scheme,
		       strchr(host, ':') ? "[" : "", host, strchr(host, ':') ? "]" : "", port);
		if (!s->keys && !is_loopback((struct sockaddr *)&addr))
			lt_log(LT_LOG_WARN,
			       "%s is not a loopback address and no API keys are set: anyone who "
			       "reaches it can use the model (keys.file)",
			       host);
	}
}

/* Written under another name and moved, so that a reader never sees half of it. */
static int write_port_file(const struct srv *s, struct lt_err *err)
{
	const char *path = s->params.server_port_file;
	char part[4200];
	FILE *f;
	bool ok;

	if (!*path)
		return 0;
	snprintf(part, sizeof(part), "%s.part", path);
	f = fopen(part, "we");
	ok = f && fprintf(f, "%d\n", port_of(s->listeners[0].fd)) > 0;
	if (f && fclose(f) != 0)
		ok = false;
	if (!ok || rename(part, path) < 0)
		return lt_fail(err, LT_EIO, "server.port-file: %s: %s", path, strerror(errno));
	return 0;
}

static int open_listed(struct srv *s, struct lt_err *err)
{
	const char *list = s->params.server_listen;
	size_t entries = count_entries(list), n;
	struct address a;
	int rc = 0;

	s->listeners = lt_alloc(entries, sizeof(*s->listeners));
	if (!s->listeners)
		return lt_fail(err, LT_ENOMEM, "out of memory");
	for (size_t i = 0; i < entries && rc == 0; i++) {
		const char *at = next_entry(&list, &n);
		rc = parse_address(at, n, (long long)s->params.server_port, &a, err);
		if (rc == 0)
			rc = a.is_path ? open_path(s, a.host, err) : open_host(s, &a, err);
	}
	return rc;
}

static int open_passed(struct srv *s, int count, struct lt_err *err)
{
	int rc = 0;

	s->listeners = lt_alloc((size_t)count, sizeof(*s->listeners));
	if (!s->listeners)
		return lt_fail(err, LT_ENOMEM, "out of memory");
	for (int i = 0; i < count && rc == 0; i++) {
		int fd = SD_LISTEN_FDS_START + i;
		if (sd_is_socket(fd, AF_UNSPEC, SOCK_STREAM, 1) <= 0)
			return lt_fail(err, LT_EINVAL,
				       "descriptor %d, handed over for socket activation, is not a "
				       "listening stream socket",
				       fd);
		set_options(fd);
		rc = add_listener(s, fd, "", err);
	}
	return rc;
}

int srv_listen_open(struct srv *s, struct lt_err *err)
{
	int passed = sd_listen_fds(1);
	int rc = passed > 0 ? open_passed(s, passed, err) : open_listed(s, err);

	if (rc == 0)
		rc = write_port_file(s, err);
	if (rc == 0)
		describe(s);
	return rc;
}

void srv_listen_stop(struct srv *s)
{
	for (size_t i = 0; i < s->n_listeners; i++) {
		struct srv_listener *l = &s->listeners[i];
		if (!l->open)
			continue;
		l->open = false;
		uv_close((uv_handle_t *)&l->poll, NULL);
		close(l->fd);
		if (*l->path)
			unlink(l->path);
	}
}

void srv_listen_close(struct srv *s)
{
	free(s->listeners);
	s->listeners = NULL;
	s->n_listeners = 0;
}
