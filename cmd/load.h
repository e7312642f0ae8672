/* SPDX-License-Identifier: Apache-2.0 */
/* Between the two halves of a session: opening (session.c) and loading (load.c). */
#ifndef SKEP_CMD_LOAD_H
#define SKEP_CMD_LOAD_H

#include "cmd.h"

/* The instance's explain callback; arg is the session. */
void load_explain(void *arg, const struct skep_explanation *why);
/* The object anew, for another load: 0 or -errno. */
int session_reopen(struct session *s);
/* Frees what loading kept. */
void load_end(struct session *s);

#endif
