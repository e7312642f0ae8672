/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pins: names that hold objects. Without a directory they are kept in memory and lie below
 * /sys/fs/bpf; with skep_opts.pin_dir each is a file in that directory, which that path
 * stands for too, and removing the file removes the pin.
 */
#ifndef SKEP_PIN_H
#define SKEP_PIN_H

#include "bpf/instance.h"

#define SKEP_BPFFS "/sys/fs/bpf"

/* What unlink(2) does to a pin: 0, -ENOENT. */
int skep_unpin(struct skep *skep, const char *path);

#endif
