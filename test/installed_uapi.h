/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SKEP_TEST_INSTALLED_UAPI_H
#define SKEP_TEST_INSTALLED_UAPI_H

/* The value of a constant, or "struct.member" and its offset. */
struct installed_fact {
	const char *name;
	long long value;
};
extern const struct installed_fact installed_facts[];
extern const unsigned installed_nfacts;

#endif
