/*
 * Reading parameters. The table is walked by name; a value's text is parsed the same way whether it
 * came from the table's default, the file, the environment or the command line, and an error says
 * which of them it was. Main thread only.
 */
#include "server/params.h"

#include <ctype.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/utf8.h"

#define CONF_LIMIT (1u << 20) /* bytes of a configuration file */
#define ENV_PREFIX "LATENTD_"
#define ENV_CONFIG "LATENTD_CONFIG"

static const struct srv_param table[] = {
#define SRV_PARAM(id, name, type, def, min, max, unit, alias, help)                                \
	{name, SRV_PARAM_##type, def, min, max, unit, alias, help, offsetof(struct srv_params, id)},
#include "server/params.def"
#undef SRV_PARAM
};
#define COUNT (sizeof(table) / sizeof(table[0]))

const struct srv_param *srv_param_at(size_t i)
{
	return i < COUNT ? &table[i] : NULL;
}

void srv_param_env_name(const struct srv_param *p, char *dst, size_t size)
{
	size_t n = (size_t)snprintf(dst, size, ENV_PREFIX "%s", p->name);

	for (size_t i = 0; i < n && i < size; i++) {
		if (dst[i] == '.' || dst[i] == '-')
			dst[i] = '_';
		dst[i] = (char)toupper((unsigned char)dst[i]);
	}
}

/* "1K", "8M" for sizes and "100ms", "10s" for times, whatever is exact. */
static void print_number(const struct srv_param *p, int64_t v, char *dst, size_t size)
{
	static const struct {
		enum srv_param_type type;
		int64_t factor;
		const char *suffix;
	} units[] = {
		{SRV_PARAM_SIZE, INT64_C(1) << 40, "T"},
		{SRV_PARAM_SIZE, INT64_C(1) << 30, "G"},
		{SRV_PARAM_SIZE, INT64_C(1) << 20, "M"},
		{SRV_PARAM_SIZE, INT64_C(1) << 10, "K"},
		{SRV_PARAM_TIME, 3600000, "h"},
		{SRV_PARAM_TIME, 60000, "m"},
		{SRV_PARAM_TIME, 1000, "s"},
		{SRV_PARAM_TIME, 1, "ms"},
	};

	for (size_t i = 0; v && i < sizeof(units) / sizeof(units[0]); i++) {
		if (units[i].type == p->type && v % units[i].factor == 0) {
			snprintf(dst, size, "%lld%s", (long long)(v / units[i].factor),
				 units[i].suffix);
			return;
		}
	}
	snprintf(dst, size, "%lld", (long long)v);
}

void srv_param_allowed(const struct srv_param *p, char *dst, size_t size)
{
	char lo[32], hi[32];
	const char *more = "";

	switch (p->type) {
	case SRV_PARAM_BOOL: snprintf(dst, size, "yes or no"); return;
	case SRV_PARAM_ENUM:
		snprintf(dst, size, "one of %s", p->unit);
		for (char *c = dst; *c; c++) {
			if (*c == '|')
				*c = ' ';
		}
		return;
	case SRV_PARAM_STR:
		if (p->min)
			snprintf(dst, size, "a text of %lld to %lld bytes", (long long)p->min,
				 (long long)p->max);
		else
			snprintf(dst, size, "a text of at most %lld bytes", (long long)p->max);
		return;
	case SRV_PARAM_SIZE: more = " (bytes; suffix K, M, G or T)"; break;
	case SRV_PARAM_TIME: more = " (seconds, or with suffix ms, s, m, h)"; break;
	case SRV_PARAM_NUM:
	case SRV_PARAM_INT: break;
	}
	print_number(p, p->min, lo, sizeof(lo));
	print_number(p, p->max, hi, sizeof(hi));
	snprintf(dst, size, "%s to %s%s", lo, hi, more);
}

/* --- values ------------------------------------------------------------------------------------ */

/* Reads a decimal number at text; *end is where it stops. False if there is none or it is not
 * finite. strtod alone would take "inf", "nan", hexadecimal and leading blanks. */
static bool read_decimal(const char *text, double *v, const char **end)
{
	char *stop;

	if (text[strspn(text, "0123456789.")] == 'x' || !strchr("0123456789.", text[0]) || !text[0])
		return false;
	errno = 0;
	*v = strtod(text, &stop);
	*end = stop;
	return stop != text && errno == 0;
}

static bool parse_scaled(const struct srv_param *p, const char *text, int64_t *out)
{
	static const struct {
		enum srv_param_type type;
		const char *suffix;
		double factor;
	} suffixes[] = {
		{SRV_PARAM_INT, "", 1},
		{SRV_PARAM_SIZE, "", 1},
		{SRV_PARAM_SIZE, "K", 1024},
		{SRV_PARAM_SIZE, "M", 1048576},
		{SRV_PARAM_SIZE, "G", 1073741824},
		{SRV_PARAM_SIZE, "T", 1099511627776.0},
		{SRV_PARAM_TIME, "", 1000},
		{SRV_PARAM_TIME, "ms", 1},
		{SRV_PARAM_TIME, "s", 1000},
		{SRV_PARAM_TIME, "m", 60000},
		{SRV_PARAM_TIME, "h", 3600000},
	};
	const char *end;
	double v;

	if (!read_decimal(text, &v, &end))
		return false;
	for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
		if (suffixes[i].type != p->type || strcmp(suffixes[i].suffix, end) != 0)
			continue;
		v *= suffixes[i].factor;
		/* 2^53: every whole number up to here is exact in a double. */
		if (v > 9007199254740992.0 || v != (double)(int64_t)v)
			return false;
		*out = (int64_t)v;
		return *out >= p->min && *out <= p->max;
	}
	return false;
}

static bool parse_bool(const char *text, bool *out)
{
	static const char *const words[] = {"no", "yes", "off", "on", "false", "true", "0", "1"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcmp(text, words[i]) == 0) {
			*out = i % 2 == 1;
			return true;
		}
	}
	return false;
}

static bool parse_enum(const char *choices, const char *text, int *out)
{
	size_t n = strlen(text);
	int index = 0;

	for (const char *c = choices;; c++, index++) {
		size_t len = strcspn(c, "|");
		if (n == len && memcmp(c, text, n) == 0) {
			*out = index;
			return true;
		}
		c += len;
		if (!*c)
			return false;
	}
}

static int parse_str(const struct srv_param *p, const char *text, char **out)
{
	size_t n = strlen(text);
	char *copy;

	if ((int64_t)n < p->min || (int64_t)n > p->max || !lt_utf8_valid(text, n, NULL))
		return LT_EINVAL;
	copy = lt_strndup(text, n);
	if (!copy)
		return LT_ENOMEM;
	free(*out);
	*out = copy;
	return 0;
}

/* Sets one parameter. `where` says in a message where the value came from. */
static int set(struct srv_params *out, const struct srv_param *p, const char *text,
	       const char *where, struct lt_err *err)
{
	char *field = (char *)out + p->offset;
	char allowed[256];
	const char *end;
	double num;
	int rc = LT_EINVAL;

	switch (p->type) {
	case SRV_PARAM_INT:
	case SRV_PARAM_SIZE:
	case SRV_PARAM_TIME: rc = parse_scaled(p, text, (int64_t *)field) ? 0 : LT_EINVAL; break;
	case SRV_PARAM_NUM:
		if (read_decimal(text, &num, &end) && !*end && num >= (double)p->min &&
		    num <= (double)p->max) {
			*(double *)field = num;
			rc = 0;
		}
		break;
	case SRV_PARAM_BOOL: rc = parse_bool(text, (bool *)field) ? 0 : LT_EINVAL; break;
	case SRV_PARAM_ENUM: rc = parse_enum(p->unit, text, (int *)field) ? 0 : LT_EINVAL; break;
	case SRV_PARAM_STR: rc = parse_str(p, text, (char **)field); break;
	}
	if (rc == LT_ENOMEM)
		return lt_fail(err, rc, "%s: out of memory", where);
	if (rc < 0) {
		srv_param_allowed(p, allowed, sizeof(allowed));
		return lt_fail(err, rc, "%s: %s cannot be \"%.100s\"; allowed: %s", where, p->name,
			       text, allowed);
	}
	return 0;
}

static const struct srv_param *find(const char *name, size_t n)
{
	for (size_t i = 0; i < COUNT; i++) {
		if (strlen(table[i].name) == n && memcmp(table[i].name, name, n) == 0)
			return &table[i];
	}
	return NULL;
}

/* An unknown name: says which there are in its section, or which sections. */
static int unknown(const char *where, const char *name, size_t n, struct lt_err *err)
{
	const char *dot = memchr(name, '.', n);
	size_t section = dot ? (size_t)(dot - name) + 1 : 0;
	char list[400] = "";
	size_t used = 0;

	for (size_t i = 0; i < COUNT; i++) {
		const char *known = table[i].name;
		size_t len = strcspn(known, ".");
		if (section && strncmp(known, name, section) != 0)
			continue;
		if (!section && i && strncmp(table[i - 1].name, known, len + 1) == 0)
			continue;
		int added = snprintf(list + used, sizeof(list) - used, "%s%.*s", used ? ", " : "",
				     section ? (int)strlen(known) : (int)len, known);
		if (added < 0 || (size_t)added >= sizeof(list) - used)
			break;
		used += (size_t)added;
	}
	if (section && !used)
		return unknown(where, name, section - 1, err);
	return lt_fail(err, LT_EINVAL, "%s: no parameter \"%.*s\"; %s: %s", where,
		       n > 100 ? 100 : (int)n, name, section ? "there are" : "sections are", list);
}

/* --- file -------------------------------------------------------------------------------------- */

static char *trim(char *s)
{
	char *end;

	while (*s == ' ' || *s == '\t')
		s++;
	end = s + strlen(s);
	while (end > s && strchr(" \t\r", end[-1]))
		*--end = '\0';
	return s;
}

/* "name = value"; a # begins a comment where it stands first or after a blank. Quotes are not
 * special. */
static int parse_line(struct srv_params *out, char *line, const char *where, struct lt_err *err)
{
	const struct srv_param *p;
	char *eq, *name;

	for (char *c = line; *c; c++) {
		if (*c == '#' && (c == line || c[-1] == ' ' || c[-1] == '\t')) {
			*c = '\0';
			break;
		}
	}
	line = trim(line);
	if (!*line)
		return 0;
	eq = strchr(line, '=');
	if (!eq)
		return lt_fail(err, LT_EINVAL,
			       "%s: expected name = value, a comment or an empty line", where);
	*eq = '\0';
	name = trim(line);
	p = find(name, strlen(name));
	if (!p)
		return unknown(where, name, strlen(name), err);
	return set(out, p, trim(eq + 1), where, err);
}

static int load_file(struct srv_params *out, const char *path, struct lt_err *err)
{
	char where[4400];
	char *data, *line;
	size_t n, number = 0;
	int rc;

	rc = lt_read_file(path, CONF_LIMIT, &data, &n, err);
	if (rc < 0)
		return rc;
	if (strlen(data) != n)
		rc = lt_fail(err, LT_EINVAL, "%s: contains a NUL byte", path);
	for (line = data; rc == 0 && line;) {
		char *next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		snprintf(where, sizeof(where), "%s:%zu", path, ++number);
		rc = parse_line(out, line, where, err);
		line = next;
	}
	free(data);
	return rc;
}

/* --- environment and command line -------------------------------------------------------------- */

static int load_env(struct srv_params *out, char **env, struct lt_err *err)
{
	for (; *env; env++) {
		const char *eq = strchr(*env, '=');
		const struct srv_param *p = NULL;
		char name[128], where[160];
		size_t n;

		if (!eq || strncmp(*env, ENV_PREFIX, strlen(ENV_PREFIX)) != 0)
			continue;
		n = (size_t)(eq - *env);
		if (n == strlen(ENV_CONFIG) && strncmp(*env, ENV_CONFIG, n) == 0)
			continue;
		for (size_t i = 0; i < COUNT && !p; i++) {
			srv_param_env_name(&table[i], name, sizeof(name));
			if (strlen(name) == n && strncmp(name, *env, n) == 0)
				p = &table[i];
		}
		snprintf(where, sizeof(where), "environment variable %.*s", n > 100 ? 100 : (int)n,
			 *env);
		if (!p)
			return lt_fail(err, LT_EINVAL,
				       "%s: no parameter has this name; latentd --help lists them",
				       where);
		if (set(out, p, eq + 1, where, err) < 0)
			return err ? err->code : LT_EINVAL;
	}
	return 0;
}

/* One option of the command line: where its name and value are. */
struct option {
	const char *name; // [n], without the dashes
	size_t n;
	const char *value; /* NULL: none given with '=' */
};

static const struct {
	const char *name;
	enum srv_action action;
} actions[] = {
	{"check-config", SRV_ACTION_CHECK}, {"help", SRV_ACTION_HELP},
	{"version", SRV_ACTION_VERSION},    {"dump-config", SRV_ACTION_DUMP_CONF},
	{"dump-man", SRV_ACTION_DUMP_MAN},
};

static bool is_action(const struct option *o, enum srv_action *action)
{
	for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++) {
		if (strlen(actions[i].name) == o->n &&
		    memcmp(actions[i].name, o->name, o->n) == 0) {
			*action = actions[i].action;
			return true;
		}
	}
	return false;
}

static const struct srv_param *find_option(const struct option *o)
{
	for (size_t i = 0; i < COUNT; i++) {
		const char *alias = table[i].alias;
		if (alias && strlen(alias) == o->n && memcmp(alias, o->name, o->n) == 0)
			return &table[i];
	}
	return find(o->name, o->n);
}

/* Walks the command line. With `config` only looks for --config (and the actions); with `out` sets
 * the values. */
static int walk_args(int argc, char **argv, struct srv_params *out, const char **config,
		     enum srv_action *action, struct lt_err *err)
{
	for (int i = 1; i < argc; i++) {
		const struct srv_param *p;
		struct option o = {argv[i], 0, NULL};
		char where[160];
		bool is_config;

		if (strcmp(argv[i], "-h") == 0 || strcmp(argv[i], "-V") == 0) {
			*action = argv[i][1] == 'h' ? SRV_ACTION_HELP : SRV_ACTION_VERSION;
			continue;
		}
		if (strncmp(argv[i], "--", 2) != 0 || !argv[i][2])
			return lt_fail(err, LT_EINVAL,
				       "command line: \"%.100s\" is not an option; latentd --help "
				       "lists them",
				       argv[i]);
		o.name = argv[i] + 2;
		o.n = strcspn(o.name, "=");
		o.value = o.name[o.n] ? o.name + o.n + 1 : NULL;
		snprintf(where, sizeof(where), "command line: --%.*s", o.n > 100 ? 100 : (int)o.n,
			 o.name);
		if (!o.value && is_action(&o, action))
			continue;
		is_config = o.n == 6 && memcmp(o.name, "config", 6) == 0;
		p = is_config ? NULL : find_option(&o);
		if (!is_config && !p)
			return unknown(where, o.name, o.n, err);
		if (!o.value && ++i == argc)
			return lt_fail(err, LT_EINVAL, "%s: a value must follow", where);
		if (!o.value)
			o.value = argv[i];
		if (is_config)
			*config = o.value;
		else if (out && set(out, p, o.value, where, err) < 0)
			return err->code;
	}
	return 0;
}

static int load_defaults(struct srv_params *out, struct lt_err *err)
{
	int rc = 0;

	for (size_t i = 0; i < COUNT && rc == 0; i++)
		rc = set(out, &table[i], table[i].value, "default", err);
	return rc;
}

/* What no row of the table can say alone. */
static int check_together(const struct srv_params *p, struct lt_err *err)
{
	if (!*p->tls_cert != !*p->tls_key)
		return lt_fail(err, LT_EINVAL,
			       "tls.cert and tls.key: give both (HTTPS) or none (HTTP)");
	return 0;
}

/* Where the embedded model lies depends on how latentd was configured, so no table can hold it. */
static int resolve_model(struct srv_params *p, struct lt_err *err)
{
	static const char embedded[] = PKGDATADIR "/models/tiny";

	if (*p->model_path)
		return 0;
	free(p->model_path);
	p->model_path = lt_strndup(embedded, sizeof(embedded) - 1);
	return p->model_path ? 0 : lt_fail(err, LT_ENOMEM, "out of memory");
}

int srv_params_load(int argc, char **argv, char **env, struct srv_params *out,
		    enum srv_action *action, struct lt_err *err)
{
	const char *config = NULL;
	struct lt_err local;
	int rc;

	if (!err)
		err = &local;
	*out = (struct srv_params){0};
	*action = SRV_ACTION_RUN;
	rc = load_defaults(out, err);
	if (rc == 0)
		rc = walk_args(argc, argv, NULL, &config, action, err);
	if (rc < 0 || *action == SRV_ACTION_HELP || *action == SRV_ACTION_VERSION)
		return rc;
	for (char **e = env; !config && *e; e++) {
		if (strncmp(*e, ENV_CONFIG "=", strlen(ENV_CONFIG) + 1) == 0)
			config = *e + strlen(ENV_CONFIG) + 1;
	}
	if (!config && lt_is_file(SYSCONFDIR "/latentd.conf"))
		config = SYSCONFDIR "/latentd.conf";
	if (config) {
		out->config_file = lt_strndup(config, strlen(config));
		rc = out->config_file ? load_file(out, config, err)
				      : lt_fail(err, LT_ENOMEM, "out of memory");
	}
	if (rc == 0)
		rc = load_env(out, env, err);
	if (rc == 0)
		rc = walk_args(argc, argv, out, &config, action, err);
	if (rc == 0)
		rc = check_together(out, err);
	if (rc == 0)
		rc = resolve_model(out, err);
	return rc;
}

void srv_params_fini(struct srv_params *p)
{
	for (size_t i = 0; i < COUNT; i++) {
		if (table[i].type == SRV_PARAM_STR)
			free(*(char **)((char *)p + table[i].offset));
	}
	free(p->config_file);
	*p = (struct srv_params){0};
}
