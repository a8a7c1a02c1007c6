/* tls.h - which TLS library this build has. Each choice is a file with the same functions:
 * tls_none.c is the build without one. */
#ifndef SBX_NET_TLS_H
#define SBX_NET_TLS_H

/* "none", for --version. */
const char *sbx_tls_backend(void);

#endif
