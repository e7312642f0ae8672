/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SKEP_TRACE_FILTER_H
#define SKEP_TRACE_FILTER_H

/* Installs the filter in this process: its listener, or -errno. */
int trace_filter_install(void);

#endif
