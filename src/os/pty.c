/* pty.c - see pty.h. */
#include "os/pty.h"
#include "os/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

static int pty_open_slave(int master)
{
#ifdef TIOCGPTPEER
    /* Needs no path, so it also works where /dev/pts is not mounted at its usual place. */
    int peer = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (peer >= 0)
        return peer;
#endif
    {
        /* The static buffer is safe: one thread. */
        const char *name = ptsname(master);
        int fd = name == NULL ? -1 : open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
        return fd < 0 ? -errno : fd;
    }
}

static void pty_set_modes(int slave)
{
#ifdef IUTF8
    struct termios t;
    if (tcgetattr(slave, &t) < 0)
        return;
    t.c_iflag |= IUTF8;
    (void)tcsetattr(slave, TCSANOW, &t);
#else
    (void)slave;
#endif
}

int sbx_pty_reopen_slave(int master)
{
    return pty_open_slave(master);
}

int sbx_pty_open(uint16_t cols, uint16_t rows, int *master, int *slave)
{
    int m = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    int s = -1, rc;
    if (m < 0)
        return -errno;
    if (grantpt(m) < 0 || unlockpt(m) < 0) {
        rc = -errno;
        goto fail;
    }
    s = pty_open_slave(m);
    rc = s;
    if (rc < 0)
        goto fail;
    (void)sbx_fd_set_cloexec(m);
    rc = sbx_fd_set_nonblock(m);
    if (rc < 0)
        goto fail;
    pty_set_modes(s);
    rc = sbx_pty_resize(m, cols, rows);
    if (rc < 0)
        goto fail;
    *master = m;
    *slave = s;
    return 0;
fail:
    sbx_fd_close(&m);
    sbx_fd_close(&s);
    return rc;
}

int sbx_pty_resize(int master, uint16_t cols, uint16_t rows)
{
    struct winsize ws = {.ws_col = cols, .ws_row = rows};
    return ioctl(master, TIOCSWINSZ, &ws) < 0 ? -errno : 0;
}

int sbx_pty_size(int master, uint16_t *cols, uint16_t *rows)
{
    struct winsize ws;
    if (ioctl(master, TIOCGWINSZ, &ws) < 0)
        return -errno;
    *cols = ws.ws_col;
    *rows = ws.ws_row;
    return 0;
}

int sbx_pty_eof_char(int master, uint8_t *eof_char, bool *canonical)
{
    struct termios t;
    if (tcgetattr(master, &t) < 0)
        return -errno;
    *eof_char = t.c_cc[VEOF];
    *canonical = (t.c_lflag & ICANON) != 0;
    return 0;
}
