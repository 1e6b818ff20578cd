/*
 * The parameters of latentd: one table (params.def), four sources. Precedence: command line,
 * environment, file, default. Loaded by the main thread at the start; SIGHUP
 * loads a second set and takes over what may change. Read by all.
 */
#ifndef LT_SERVER_PARAMS_H
#define LT_SERVER_PARAMS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"

typedef int64_t srv_param_INT;
typedef int64_t srv_param_SIZE; /* bytes */
typedef int64_t srv_param_TIME; /* milliseconds */
typedef double srv_param_NUM;
typedef bool srv_param_BOOL;
typedef char *srv_param_STR; /* never NULL */
typedef int srv_param_ENUM;  /* index into the choices */

struct srv_params {
#define SRV_PARAM(id, name, type, def, min, max, unit, alias, help) srv_param_##type id;
#include "server/params.def"
#undef SRV_PARAM
	char *config_file; /* the file that was read; NULL if none */
};

/* What the command line asks for beside values. */
enum srv_action {
	SRV_ACTION_RUN,
	SRV_ACTION_CHECK,     /* --check-config */
	SRV_ACTION_HELP,      /* --help */
	SRV_ACTION_VERSION,   /* --version */
	SRV_ACTION_DUMP_CONF, /* --dump-config: the sample file */
	SRV_ACTION_DUMP_MAN,  /* --dump-man: the option sections of the man pages */
};

/* Fills *out (which srv_params_fini frees, after a failure too). LT_EINVAL for an unknown name or a
 * value that is not allowed, LT_ENOENT and LT_EIO for a file that was asked for: err names file and
 * line, variable or option, and what is allowed. */
int srv_params_load(int argc, char **argv, char **env, struct srv_params *out,
		    enum srv_action *action, struct lt_err *err);
void srv_params_fini(struct srv_params *p);

/* One row of the table, for the texts made from it. */
enum srv_param_type {
	SRV_PARAM_INT,
	SRV_PARAM_SIZE,
	SRV_PARAM_TIME,
	SRV_PARAM_NUM,
	SRV_PARAM_BOOL,
	SRV_PARAM_STR,
	SRV_PARAM_ENUM,
};
struct srv_param {
	const char *name;
	enum srv_param_type type;
	const char *value; /* default */
	int64_t min, max;
	const char *unit; /* ENUM: the choices */
	const char *alias;
	const char *help;
	size_t offset; /* of the field */
};
const struct srv_param *srv_param_at(size_t i); /* NULL past the end */

/* LATENTD_SECTION_KEY into dst. */
void srv_param_env_name(const struct srv_param *p, char *dst, size_t size);

/* What a value of p may be, in words: "0 to 65535", "auto or absorbed", ... */
void srv_param_allowed(const struct srv_param *p, char *dst, size_t size);

/* paramdoc.c: the texts. */
void srv_paramdoc_help(FILE *f);
void srv_paramdoc_conf(FILE *f);
void srv_paramdoc_man(FILE *f);

#endif
