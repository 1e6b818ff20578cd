/*
 * latentctl: looks into checkpoints, tokenizers and templates, and runs a model without the daemon.
 * This file only finds the subcommand; each has a file of its own.
 */
#include <stdio.h>
#include <string.h>

#include "config.h"
#include "tools/ctl.h"

struct command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help;
};

static const struct command commands[] = {
	/* {"name", function, "one line"}, in the order of the manual page */
	{"inspect", ctl_inspect, "family, sizes, types and costs of a model"},
	{"tokenize", ctl_tokenize, "text to token ids and back"},
	{"template", ctl_template, "renders a chat template"},
	{"logits", ctl_logits, "next-token logits at every position of a prompt"},
	{"generate", ctl_generate, "greedy continuation of a prompt, as token ids"},
	{"chat", ctl_chat, "a conversation in the terminal"},
	{"bench", ctl_bench, "speed of prompts and decoding"},
	{NULL, NULL, NULL},
};

static void usage(FILE *out)
{
	fputs("usage: latentctl COMMAND [OPTION...]\n\n", out);
	for (const struct command *c = commands; c->name; c++)
		fprintf(out, "  %-9s %s\n", c->name, c->help);
	fputs("\n'latentctl COMMAND --help' tells each command's options; see latentctl(1).\n",
	      out);
}

int main(int argc, char **argv)
{
	if (argc >= 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
		usage(stdout);
		return 0;
	}
	if (argc >= 2 && strcmp(argv[1], "--version") == 0) {
		puts(PACKAGE_STRING);
		return 0;
	}
	for (const struct command *c = commands; argc >= 2 && c->name; c++) {
		if (strcmp(argv[1], c->name) == 0)
			return c->run(argc - 1, argv + 1);
	}
	if (argc >= 2)
		fprintf(stderr, "latentctl: no command '%s'\n", argv[1]);
	usage(stderr);
	return 2;
}
