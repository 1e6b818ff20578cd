/*
 * latentd: the daemon's entry point. Reads parameters, opens everything in order, runs the loop,
 * closes in reverse. Exit status: 0 after a drain, 1 for a failure (or a second signal), 2 for
 * parameters that are not allowed.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/map.h"
#include "config.h"
#include "server/keys.h"
#include "server/listen.h"
#include "server/load.h"
#include "server/loop.h"
#include "server/model.h"
#include "server/params.h"
#include "server/srv.h"

extern char **environ;

#define SPARE_DESCRIPTORS 256 /* beside connections: model files, epoll sets, lingering sockets */

/* Everything about parameters that can be said without opening the model. */
static int check(const struct srv_params *p, struct lt_err *err)
{
	const char *const *names = eng_backends();
	char list[256] = "auto";
	bool known = strcmp(p->engine_backend, "auto") == 0;
	size_t used = strlen(list);

	for (; *names; names++) {
		known = known || strcmp(p->engine_backend, *names) == 0;
		int n = snprintf(list + used, sizeof(list) - used, ", %s", *names);
		used += n > 0 && (size_t)n < sizeof(list) - used ? (size_t)n : 0;
	}
	if (!known)
		return lt_fail(err, LT_EINVAL,
			       "engine.backend cannot be \"%s\"; this build has: %s",
			       p->engine_backend, list);
	return srv_listen_check(p->server_listen, err);
}

/* Runs what needs no server. True if that was it. */
static bool run_action(enum srv_action action)
{
	switch (action) {
	case SRV_ACTION_HELP: srv_paramdoc_help(stdout); return true;
	case SRV_ACTION_VERSION: puts("latentd " VERSION); return true;
	case SRV_ACTION_DUMP_CONF: srv_paramdoc_conf(stdout); return true;
	case SRV_ACTION_DUMP_MAN: srv_paramdoc_man(stdout); return true;
	case SRV_ACTION_CHECK:
	case SRV_ACTION_RUN: break;
	}
	return false;
}

static void raise_descriptor_limit(const struct srv_params *p)
{
	rlim_t want = (rlim_t)p->server_max_connections + SPARE_DESCRIPTORS;
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) < 0 || r.rlim_cur >= want)
		return;
	r.rlim_cur = r.rlim_max < want ? r.rlim_max : want;
	setrlimit(RLIMIT_NOFILE, &r);
	if (r.rlim_cur < want)
		lt_log(LT_LOG_WARN,
		       "the system allows %llu open files, which is too few for "
		       "server.max-connections",
		       (unsigned long long)r.rlim_cur);
}

static void free_jobs(struct lt_map *jobs)
{
	const void *key;
	uint64_t value;
	size_t at = 0, n;

	while (jobs && lt_map_next(jobs, &at, &key, &n, &value))
		free((void *)(uintptr_t)value);
	lt_map_close(jobs);
}

static int serve(struct srv *s, struct lt_err *err)
{
	char workers[16];
	int rc;

	/* libuv reads the size of its pool once, at the first piece of work. */
	snprintf(workers, sizeof(workers), "%lld", (long long)s->params.server_workers);
	setenv("UV_THREADPOOL_SIZE", workers, 1);
	signal(SIGPIPE, SIG_IGN);
	lt_random_init();
	raise_descriptor_limit(&s->params);
	srv_metrics_init(&s->metrics);
	s->jobs = lt_map_open(1024);
	rc = s->jobs ? 0 : lt_fail(err, LT_ENOMEM, "out of memory");
	if (rc == 0)
		rc = srv_keys_open(s->params.keys_file, &s->keys, err);
	if (rc == 0)
		rc = srv_loop_open(s, err);
	if (rc == 0)
		rc = srv_load_start(s, err);
	if (rc == 0)
		srv_loop_run(s);
	return rc;
}

int main(int argc, char **argv)
{
	struct srv s = {.argc = argc, .argv = argv, .env = environ};
	enum srv_action action;
	struct lt_err err = {0};
	int rc = srv_params_load(argc, argv, environ, &s.params, &action, &err);

	if (rc == 0 && !run_action(action))
		rc = check(&s.params, &err);
	if (rc < 0) {
		fprintf(stderr, "latentd: %s\n", err.text);
		srv_params_fini(&s.params);
		return 2;
	}
	if (action == SRV_ACTION_CHECK)
		printf("parameters are good%s%s\n", s.params.config_file ? ": " : "",
		       s.params.config_file ? s.params.config_file : "");
	if (action != SRV_ACTION_RUN) {
		srv_params_fini(&s.params);
		return 0;
	}
	lt_log_set((enum lt_log_level)s.params.log_level);
	rc = serve(&s, &err);
	if (rc < 0) {
		lt_log(LT_LOG_ERROR, "%s", err.text);
		s.failed = true;
		srv_loop_abandon(&s);
	}
	srv_loop_close(&s);
	srv_model_close(s.model);
	free_jobs(s.jobs);
	srv_keys_close(s.keys);
	srv_params_fini(&s.params);
	if (!s.failed)
		lt_log(LT_LOG_INFO, "stopped");
	return s.failed ? 1 : 0;
}
