/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SKEP_TRACE_FILTER_H
#define SKEP_TRACE_FILTER_H

#include <stdbool.h>
#include <stdint.h>

/* Installs the filter in this process: its listener, or -errno. With size, the supervisor is asked about
 * every system call that does not come from [agent, agent + size); with exits, about exit_group. */
int trace_filter_install(uint64_t agent, uint32_t size, bool exits);

#endif
