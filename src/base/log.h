/* log.h - one event a line on stderr: time, level, then key=value text. base, kv, quant and kernels never log.
 * Any thread. The level is the one global that options set. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/base.h"

typedef enum { LOG_NONE = -1, LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG } LogLevel;

void log_set_level(LogLevel level);
LogLevel log_level(void);
void log_line(LogLevel level, const char *fmt, ...) PRINTF_LIKE(2, 3);
#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)

#endif
