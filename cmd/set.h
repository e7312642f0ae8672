/* SPDX-License-Identifier: Apache-2.0 */
/* Elements of maps from the command line. */
#ifndef SKEP_CMD_SET_H
#define SKEP_CMD_SET_H

#include "client/error.h"

struct bpf_object;

/* "MAP[KEY]=VALUE", read by the types that the object's BTF tells: 0 or -errno. */
int set_element(struct bpf_object *obj, const char *text, struct skep_error *err);

#endif
