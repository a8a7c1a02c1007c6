/* cli.h - the command line. */
#ifndef SBX_APP_CLI_H
#define SBX_APP_CLI_H

/* Runs the program; returns its exit status: 0, 1 for what failed, 2 for a wrong command line. */
int sbx_cli_main(int argc, char **argv);

#endif
