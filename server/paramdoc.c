/*
 * The texts made from the parameter table: --help, the sample configuration file and the option
 * sections of the man pages. Main thread only.
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "server/params.h"

/* Writes text wrapped at `width` columns, each line after `lead`. */
static void wrap(FILE *f, const char *lead, const char *text, size_t width)
{
	size_t room = width - strlen(lead);

	while (*text) {
		size_t n = strlen(text);
		if (n > room) {
			n = room;
			while (n && text[n] != ' ')
				n--;
			if (!n)
				n = strcspn(text, " ");
		}
		fprintf(f, "%s%.*s\n", lead, (int)n, text);
		text += n;
		while (*text == ' ')
			text++;
	}
}

static bool new_section(size_t i)
{
	const char *name = srv_param_at(i)->name;

	return i == 0 || strncmp(srv_param_at(i - 1)->name, name, strcspn(name, ".") + 1) != 0;
}

void srv_paramdoc_help(FILE *f)
{
	const struct srv_param *p;
	char text[512];

	fputs("usage: latentd [OPTION...]\n"
	      "Serves a DeepSeek-V3-style language model over an OpenAI-compatible HTTP API.\n\n"
	      "  --config FILE        read parameters from FILE (default " SYSCONFDIR
	      "/latentd.conf,\n                       if it exists)\n"
	      "  --check-config       check all parameters and stop\n"
	      "  -h, --help           this text\n"
	      "  -V, --version        name and version\n"
	      "  --dump-config        print a configuration file with every default\n"
	      "  --dump-man           print the man pages' sections on parameters\n\n"
	      "Every parameter is --SECTION.KEY VALUE (or =VALUE) here, SECTION.KEY = VALUE in the\n"
	      "file and LATENTD_SECTION_KEY in the environment. The command line wins over the\n"
	      "environment, the environment over the file.\n",
	      f);
	for (size_t i = 0; (p = srv_param_at(i)) != NULL; i++) {
		if (new_section(i))
			fputc('\n', f);
		fprintf(f, "  --%s%s%s  [%s]\n", p->name, p->alias ? ", --" : "",
			p->alias ? p->alias : "", p->value);
		wrap(f, "        ", p->help, 90);
		if (p->type != SRV_PARAM_STR) {
			srv_param_allowed(p, text, sizeof(text));
			fprintf(f, "        Allowed: %s.\n", text);
		}
	}
}

void srv_paramdoc_conf(FILE *f)
{
	const struct srv_param *p;
	char text[512];

	fputs("# Configuration of latentd. Made by latentd --dump-config from the table in\n"
	      "# server/params.def; each line shows a default. The environment (LATENTD_SECTION_KEY)\n"
	      "# and the command line (--section.key) win over this file. See latentd.conf(5).\n",
	      f);
	for (size_t i = 0; (p = srv_param_at(i)) != NULL; i++) {
		if (new_section(i))
			fprintf(f, "\n# --- %.*s ---\n", (int)strcspn(p->name, "."), p->name);
		fputc('\n', f);
		wrap(f, "# ", p->help, 90);
		if (p->type != SRV_PARAM_STR) {
			srv_param_allowed(p, text, sizeof(text));
			fprintf(f, "# Allowed: %s.\n", text);
		}
		fprintf(f, "#%s =%s%s\n", p->name, *p->value ? " " : "", p->value);
	}
}

/* roff: a hyphen is \-, a line must not begin with a dot or quote. */
static void roff(FILE *f, const char *text)
{
	if (*text == '.' || *text == '\'')
		fputs("\\&", f);
	for (; *text; text++) {
		if (*text == '-' || *text == '\\')
			fputc('\\', f);
		fputc(*text, f);
	}
}

void srv_paramdoc_man(FILE *f)
{
	const struct srv_param *p;
	char text[512];

	for (size_t i = 0; (p = srv_param_at(i)) != NULL; i++) {
		if (new_section(i)) {
			fputs(".SS ", f);
			for (const char *c = p->name; *c != '.'; c++)
				fputc(toupper((unsigned char)*c), f);
			fputc('\n', f);
		}
		fputs(".TP\n\\fB", f);
		roff(f, p->name);
		fputs("\\fR", f);
		if (p->alias) {
			fputs(" (\\fB\\-\\-", f);
			roff(f, p->alias);
			fputs("\\fR)", f);
		}
		if (*p->value) {
			fputs(" = ", f);
			roff(f, p->value);
		}
		fputc('\n', f);
		roff(f, p->help);
		fputc('\n', f);
		if (p->type != SRV_PARAM_STR) {
			srv_param_allowed(p, text, sizeof(text));
			fputs("Allowed: ", f);
			roff(f, text);
			fputs(".\n", f);
		}
	}
}
