/*
 * server/params: every default is allowed, precedence, and errors that say where and what.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/params.h"

static char *no_env[] = {NULL};
static char conf[] = "/tmp/lt-params-XXXXXX";

static void write_conf(const char *text)
{
	FILE *f = fopen(conf, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static int make_conf(void **state)
{
	int fd = mkstemp(conf);

	(void)state;
	close(fd);
	return fd < 0;
}

static int drop_conf(void **state)
{
	(void)state;
	return unlink(conf);
}

/* Loads with up to three arguments after the file; returns the code, err has the text. */
static int load(const char *a, const char *b, const char *c, char **env, struct srv_params *p,
		struct lt_err *err)
{
	char *argv[] = {"latentd", "--config", conf, (char *)a, (char *)b, (char *)c};
	int argc = 3 + (a != NULL) + (b != NULL) + (c != NULL);
	enum srv_action action;

	*err = (struct lt_err){0};
	return srv_params_load(argc, argv, env, p, &action, err);
}

static void table_is_sound(void **state)
{
	const struct srv_param *p;
	char name[128], seen[128 * 128] = " ";
	struct srv_params params;
	struct lt_err err;

	(void)state;
	write_conf("");
	/* Defaults go through the same parser as any value, so this checks them all. */
	assert_int_equal(load(NULL, NULL, NULL, no_env, &params, &err), 0);
	srv_params_fini(&params);
	for (size_t i = 0; (p = srv_param_at(i)) != NULL; i++) {
		assert_non_null(strchr(p->name, '.'));
		assert_true(strlen(p->help) > 10);
		assert_int_equal(p->help[strlen(p->help) - 1], '.');
		snprintf(name, sizeof(name), " %s ", p->name);
		assert_null(strstr(seen, name));
		strcat(seen, name + 1);
		if (p->alias) {
			snprintf(name, sizeof(name), " %s ", p->alias);
			assert_null(strstr(seen, name));
			strcat(seen, name + 1);
		}
		srv_param_env_name(p, name, sizeof(name));
		assert_int_equal(strncmp(name, "LATENTD_", 8), 0);
		assert_null(strpbrk(name, ".-abcdefghijklmnopqrstuvwxyz"));
	}
}

static void precedence(void **state)
{
	char *env[] = {"OTHER=1", "LATENTD_SERVER_PORT=2222", "LATENTD_LOG_LEVEL=warn", NULL};
	struct srv_params p;
	struct lt_err err;

	(void)state;
	write_conf("server.port = 1111\nlog.level=debug # loud\n  server.max-body = 2K\n\n# no\n");
	assert_int_equal(load(NULL, NULL, NULL, no_env, &p, &err), 0);
	assert_int_equal(p.server_port, 1111);
	assert_int_equal(p.log_level, 3);
	assert_int_equal(p.server_max_body, 2048);
	assert_int_equal(p.server_workers, 2); /* default */
	srv_params_fini(&p);
	assert_int_equal(load(NULL, NULL, NULL, env, &p, &err), 0);
	assert_int_equal(p.server_port, 2222);
	assert_int_equal(p.log_level, 1);
	srv_params_fini(&p);
	assert_int_equal(load("--port", "3333", "--log.level=error", env, &p, &err), 0);
	assert_int_equal(p.server_port, 3333);
	assert_int_equal(p.log_level, 0);
	srv_params_fini(&p);
}

static void values(void **state)
{
	static const struct {
		const char *line;
		bool good;
	} rows[] = {
		{"server.port = 0", true},
		{"server.port = 65535", true},
		{"server.port = 65536", false},
		{"server.port = -1", false},
		{"server.port = 80x", false},
		{"server.port = 0x50", false},
		{"server.port = 1e99", false},
		{"server.port = nan", false},
		{"server.port = inf", false},
		{"server.port =", false},
		{"server.port = 80 80", false},
		{"server.port = 1.5", false},
		{"server.max-body = 1.5M", true},
		{"server.max-body = 8 M", false},
		{"server.max-body = 8m", false},
		{"server.max-body = 99G", false},
		{"server.idle-timeout = 250ms", true},
		{"server.idle-timeout = 1.5", true},
		{"server.idle-timeout = 2m", true},
		{"server.idle-timeout = 1ms", false},
		{"server.idle-timeout = 2d", false},
		{"engine.null-rate = 12.5", true},
		{"engine.null-rate = 1e5", true},
		{"engine.null-rate = -1", false},
		{"scheduler.prefix-cache = no", true},
		{"scheduler.prefix-cache = maybe", false},
		{"engine.cache-type = f32", true},
		{"engine.cache-type = f3", false},
		{"engine.cache-type = bf16|f32", false},
		{"log.level = INFO", false},
		{"server.listen =", false},
		{"model.name = \xff", false},
		{"server.prot = 1", false},
		{"nonsense", false},
		{"= 1", false},
	};
	struct srv_params p;
	struct lt_err err;
	char text[200];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		snprintf(text, sizeof(text), "# one\n\n%s\n", rows[i].line);
		write_conf(text);
		if (load(NULL, NULL, NULL, no_env, &p, &err) != (rows[i].good ? 0 : LT_EINVAL))
			fail_msg("%s: %s", rows[i].line, err.text);
		snprintf(text, sizeof(text), "%s:3: ", conf);
		if (!rows[i].good && !strstr(err.text, text))
			fail_msg("%s: no place in: %s", rows[i].line, err.text);
		srv_params_fini(&p);
	}
}

static void messages(void **state)
{
	char *bad_env[] = {"LATENTD_SERVER_PROT=1", NULL};
	char *bad_value[] = {"LATENTD_SERVER_PORT=none", NULL};
	struct srv_params p;
	struct lt_err err;

	(void)state;
	write_conf("server.port = 99999\n");
	assert_int_equal(load(NULL, NULL, NULL, no_env, &p, &err), LT_EINVAL);
	assert_non_null(strstr(err.text, "server.port cannot be \"99999\"; allowed: 0 to 65535"));
	srv_params_fini(&p);
	write_conf("tls.kay = x\n");
	assert_int_equal(load(NULL, NULL, NULL, no_env, &p, &err), LT_EINVAL);
	assert_non_null(strstr(err.text, "no parameter \"tls.kay\"; there are: tls.cert, tls.key"));
	srv_params_fini(&p);
	write_conf("");
	assert_int_equal(load("--sever.port=1", NULL, NULL, no_env, &p, &err), LT_EINVAL);
	assert_non_null(strstr(err.text, "sections are: model, engine, scheduler, server"));
	srv_params_fini(&p);
	assert_int_equal(load("--port", NULL, NULL, no_env, &p, &err), LT_EINVAL);
	assert_non_null(strstr(err.text, "--port: a value must follow"));
	srv_params_fini(&p);
	assert_int_equal(load("port", NULL, NULL, no_env, &p, &err), LT_EINVAL);
	srv_params_fini(&p);
	assert_int_equal(load("--help=1", NULL, NULL, no_env, &p, &err), LT_EINVAL);
	srv_params_fini(&p);
	assert_int_equal(load(NULL, NULL, NULL, bad_env, &p, &err), LT_EINVAL);
	assert_non_null(strstr(err.text, "LATENTD_SERVER_PROT"));
	srv_params_fini(&p);
	assert_int_equal(load(NULL, NULL, NULL, bad_value, &p, &err), LT_EINVAL);
	assert_non_null(strstr(err.text, "environment variable LATENTD_SERVER_PORT"));
	srv_params_fini(&p);
	assert_int_equal(load("--tls.cert", "/x", NULL, no_env, &p, &err), LT_EINVAL);
	assert_non_null(strstr(err.text, "tls.key"));
	srv_params_fini(&p);
}

static void actions(void **state)
{
	static const struct {
		const char *arg;
		enum srv_action action;
	} rows[] = {{"--help", SRV_ACTION_HELP},
		    {"-h", SRV_ACTION_HELP},
		    {"--version", SRV_ACTION_VERSION},
		    {"--check-config", SRV_ACTION_CHECK},
		    {"--dump-config", SRV_ACTION_DUMP_CONF},
		    {"--dump-man", SRV_ACTION_DUMP_MAN}};
	struct srv_params p;

	(void)state;
	write_conf("");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char *argv[] = {"latentd", (char *)rows[i].arg, "--config", conf};
		enum srv_action action;
		assert_int_equal(srv_params_load(4, argv, no_env, &p, &action, NULL), 0);
		assert_int_equal(action, rows[i].action);
		srv_params_fini(&p);
	}
}

static void missing_file(void **state)
{
	char *argv[] = {"latentd", "--config", "/nonexistent/latentd.conf"};
	enum srv_action action;
	struct lt_err err = {0};
	struct srv_params p;

	(void)state;
	assert_int_equal(srv_params_load(3, argv, no_env, &p, &action, &err), LT_ENOENT);
	assert_non_null(strstr(err.text, "/nonexistent/latentd.conf"));
	srv_params_fini(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(table_is_sound), cmocka_unit_test(precedence),
		cmocka_unit_test(values),	  cmocka_unit_test(messages),
		cmocka_unit_test(actions),	  cmocka_unit_test(missing_file),
	};

	return cmocka_run_group_tests(tests, make_conf, drop_conf);
}
