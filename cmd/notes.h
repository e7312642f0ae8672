/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What no verifier refuses and still can't do what was meant: told beside the verdicts.
 */
#ifndef SKEP_CMD_NOTES_H
#define SKEP_CMD_NOTES_H

#include "cmd.h"
#include "out.h"

#define NOTES_MAX 16

struct notes {
	struct note {
		char what[1024]; /* begins with file and line where they are known */
		char text[256]; /* that line, or "" */
		char hint[512];
	} note[NOTES_MAX];
	uint32_t n;
};

/* After session_load() with session.keep. */
void notes_gather(const struct session *s, struct notes *n);
void notes_text(FILE *f, const struct notes *n);
void notes_json(struct json *j, const struct notes *n);

#endif
