/* pty.h - pseudo-terminals. */
#ifndef SBX_OS_PTY_H
#define SBX_OS_PTY_H

#include <stdbool.h>
#include <stdint.h>

/* A pair with the given size, UTF-8 aware line editing (IUTF8) and the kernel's other defaults.
 * The master is non-blocking. 0 or a negative errno. */
int sbx_pty_open(uint16_t cols, uint16_t rows, int *master, int *slave);

/* The slave side of a terminal once more. A descriptor or a negative errno. */
int sbx_pty_reopen_slave(int master);

/* Sets the size; the kernel sends SIGWINCH to the foreground group when it changed. */
int sbx_pty_resize(int master, uint16_t cols, uint16_t rows);
/* Reads it. 0 or a negative errno, and nothing is changed. */
int sbx_pty_size(int master, uint16_t *cols, uint16_t *rows);

/* The character that means end of file at the start of a line, and whether the terminal is in
 * canonical mode at all. 0 or a negative errno. */
int sbx_pty_eof_char(int master, uint8_t *eof_char, bool *canonical);

#endif
