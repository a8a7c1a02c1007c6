/* sig.h - signals as bytes on a pipe, so that they are handled in the loop like all else. */
#ifndef SBX_OS_SIG_H
#define SBX_OS_SIG_H

#include <signal.h>

/* Catches CHLD, TERM, INT, USR2 and HUP (HUP only when it was not ignored at start: nohup),
 * ignores PIPE and XFSZ. Returns the descriptor to poll, or a negative errno. *child_reset gets
 * the signals whose disposition a child must put back to default: all that are caught, plus all
 * that are ignored, by us or by whoever started us. */
int sbx_sig_open(sigset_t *child_reset);
void sbx_sig_close(void);

/* In a forked child that is to open for itself: closes, and what is caught is default again, so
 * that it finds what we found. Signals stay blocked where they are. */
void sbx_sig_reset(void);

/* Next caught signal number out of the pipe, 0 when there is none left. */
int sbx_sig_next(void);

/* "SIGTERM" for 15; "SIG34" for one without a name. The text is static or in buf. */
const char *sbx_sig_name(int sig, char buf[16]);

#endif
