/*
 * latentctl's subcommands. Each takes its own arguments (argv[0] is the subcommand's name), parses
 * them with getopt_long, prints a usage for --help and returns the exit status: 0, 1 for a failure
 * (said on standard error), 2 for wrong usage. A subcommand comes with its row in latentctl.c.
 */
#ifndef LT_TOOLS_CTL_H
#define LT_TOOLS_CTL_H

int ctl_inspect(int argc, char **argv);
int ctl_tokenize(int argc, char **argv);
int ctl_template(int argc, char **argv);
int ctl_logits(int argc, char **argv);
int ctl_generate(int argc, char **argv);
int ctl_chat(int argc, char **argv);
int ctl_bench(int argc, char **argv);

#endif
