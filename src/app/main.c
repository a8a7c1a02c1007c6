/* main.c - the program. Left out with -DSBX_NO_MAIN, for programs with a main() of their own. */
#include "app/sandbox_agent.h"

int main(int argc, char **argv)
{
    return sandbox_agent_main(argc, argv);
}
