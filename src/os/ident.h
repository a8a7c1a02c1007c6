/* ident.h - knowing a process again after its pid may have been given to somebody else: boot and
 * start time. */
#ifndef SBX_OS_IDENT_H
#define SBX_OS_IDENT_H

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define SBX_BOOT_ID_MAX 96

/* A text that differs from boot to boot, and from one pid namespace (a container) to another: where
 * it is the same, pid and start name one process. Empty where the system tells none. */
void sbx_ident_boot(char text[SBX_BOOT_ID_MAX]);

/* Microseconds on the clock that the system stamps process starts with. */
uint64_t sbx_ident_now_us(void);

/* When that process was started, on the same clock and rounded down to one of the system's ticks;
 * 0 where it cannot be told. */
uint64_t sbx_ident_started_us(pid_t pid);

/* Is this the process that was started at about that time (a reading of the clock above, taken just
 * before the start), and does it still run? A zombie does not. No where it cannot be told. */
bool sbx_ident_runs(pid_t pid, uint64_t started_us);
/* Has it ended? A zombie has. No where that cannot be told. */
bool sbx_ident_has_ended(pid_t pid, uint64_t started_us);

/* Appends its arguments as the system shows them, each with its NUL. false, and nothing, where it
 * shows none (a zombie, for instance); what is out of memory sticks in `out`. */
bool sbx_ident_arguments(pid_t pid, struct sbx_buf *out);

#endif
