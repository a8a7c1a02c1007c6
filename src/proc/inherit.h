/* inherit.h - taking over from an earlier server: its records, its processes, and an end to what
 * nobody was ever told of. */
#ifndef SBX_PROC_INHERIT_H
#define SBX_PROC_INHERIT_H

#include "proc/proctab.h"

/* Fills an empty table from the database, the memory that outlived the server, and the estate, of
 * which the descriptors are taken; and the limits of the host. 0, or a negative errno and err. */
int sbx_inherit(struct sbx_proctab *t, struct sbx_estate *estate, struct sbx_err *err);
/* The store has a file (again), see sbx_store_options: enters the records that only the file has,
 * and has everything else written to it. 0, or a negative errno and err: to be called again. */
int sbx_inherit_join(struct sbx_proctab *t, struct sbx_err *err);

#endif
