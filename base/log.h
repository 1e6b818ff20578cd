/*
 * Logging to standard error: one line a message, one write a line. Under systemd (JOURNAL_STREAM
 * is set) a line begins with the journal's priority "<N>"; on a terminal with time and level.
 * Client-provided text must be passed with %s; control characters are made visible.
 */
#ifndef LT_BASE_LOG_H
#define LT_BASE_LOG_H

#include <stdbool.h>

enum lt_log_level { LT_LOG_ERROR, LT_LOG_WARN, LT_LOG_INFO, LT_LOG_DEBUG };

/* Messages above `level` are dropped. Default LT_LOG_INFO. Any thread, any time. */
void lt_log_set(enum lt_log_level level);
enum lt_log_level lt_log_get(void);

/* "error", "warn", "info", "debug" and back; false for another name. */
const char *lt_log_name(enum lt_log_level level);
bool lt_log_parse(const char *name, enum lt_log_level *level);

void lt_log(enum lt_log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
