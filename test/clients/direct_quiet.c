/* SPDX-License-Identifier: Apache-2.0 */
/* The same client without code of its own that enters the kernel: there numbers are remembered. */
#define QUIET
#include "direct.c"
