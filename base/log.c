/*
 * Logging. The level is one atomic, a message is one write(2): threads need no lock.
 */
#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/utf8.h"

static _Atomic int current = LT_LOG_INFO;
static const char *const names[] = {"error", "warn", "info", "debug"};
static const int priorities[] = {3, 4, 6, 7};

void lt_log_set(enum lt_log_level level)
{
	atomic_store(&current, (int)level);
}

enum lt_log_level lt_log_get(void)
{
	return (enum lt_log_level)atomic_load(&current);
}

const char *lt_log_name(enum lt_log_level level)
{
	return names[level];
}

bool lt_log_parse(const char *name, enum lt_log_level *level)
{
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(name, names[i]) == 0) {
			*level = (enum lt_log_level)i;
			return true;
		}
	}
	return false;
}

static size_t prefix(char *line, size_t size, enum lt_log_level level)
{
	struct timespec now;
	struct tm tm;
	size_t n;

	if (getenv("JOURNAL_STREAM"))
		return (size_t)snprintf(line, size, "<%d>", priorities[level]);
	clock_gettime(CLOCK_REALTIME, &now);
	localtime_r(&now.tv_sec, &tm);
	n = strftime(line, size, "%H:%M:%S", &tm);
	return n + (size_t)snprintf(line + n, size - n, ".%03ld %-5s ", now.tv_nsec / 1000000,
				    names[level]);
}

void lt_log(enum lt_log_level level, const char *fmt, ...)
{
	char line[2048];
	size_t head, n;
	va_list ap;
	int len;

	if ((int)level > atomic_load(&current))
		return;
	head = prefix(line, sizeof(line), level);
	va_start(ap, fmt);
	len = vsnprintf(line + head, sizeof(line) - head - 1, fmt, ap);
	va_end(ap);
	if (len < 0)
		return;
	n = head + (size_t)len;
	if (n > sizeof(line) - 2)
		n = lt_utf8_complete(line, sizeof(line) - 2);
	for (size_t i = head; i < n; i++) {
		if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
			line[i] = '?';
	}
	line[n++] = '\n';
	/* Nothing can be done about a full or closed standard error. */
	if (write(STDERR_FILENO, line, n) < 0)
		return;
}
