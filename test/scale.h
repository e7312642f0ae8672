/* SPDX-License-Identifier: Apache-2.0 */
/* SKEP_TEST_SCALE=N in the environment makes the long tests N times as long. */
#ifndef SKEP_TEST_SCALE_H
#define SKEP_TEST_SCALE_H

#include <stdlib.h>

static inline unsigned long scaled(unsigned long n)
{
	const char *s = getenv("SKEP_TEST_SCALE");
	double scale = s ? atof(s) : 1;

	return scale > 0 && n * scale >= 1 ? (unsigned long)((double)n * scale) : 1;
}

#endif
