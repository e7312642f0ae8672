/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ready tools: a row each, of what is probed, which options it takes and which columns it shows. `skep NAME` runs
 * them, and so does a link of that name to the command.
 */
#ifndef SKEP_CMD_TOOL_H
#define SKEP_CMD_TOOL_H

#include "probe.h"

/* The exit status; -1: there is no such tool. */
int tool_run(const char *name, int argc, char **argv);
/* A line for each, for `skep help`. */
void tools_list(FILE *f);

#endif
