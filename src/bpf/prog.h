/* SPDX-License-Identifier: Apache-2.0 */
/* Programs as bpf(2) handles them. */
#ifndef SKEP_BPF_PROG_H
#define SKEP_BPF_PROG_H

#include "bpf/instance.h"

/* The program holds the map from now on (once): 0 or -ENOMEM. Not for running programs'
 * tables of relocations, whose order stays. */
int skep_prog_add_map(struct skep_prog *prog, struct skep_map *map);

#endif
