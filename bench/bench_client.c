/* SPDX-License-Identifier: Apache-2.0 */
/* What a client of skep exec pays for an element of a hash of 1,024, and for being started. */
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS 5

static char build[PATH_MAX]; /* the folder */

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double median(double *v)
{
	qsort(v, ROUNDS, sizeof(*v), by_size);
	return v[ROUNDS / 2];
}

/* What the client prints: nanoseconds of a lookup and an update; false where it can't run. */
static int once(const char *front, const char *client, unsigned n, double *lookup, double *update)
{
	char line[3 * PATH_MAX];
	FILE *f;
	int got = 0;

	snprintf(line, sizeof(line), "%s%s%s/test/clients/%s bench %u 2>/dev/null",
		 *front ? build : "", front, build, client, n);
	f = popen(line, "r");
	if (f) {
		got = fscanf(f, "%lf %lf", lookup, update);
		pclose(f);
	}
	return got == 2;
}

static double start_ms(const char *front)
{
	char line[2 * PATH_MAX];
	struct timespec a, b;

	snprintf(line, sizeof(line), "%s%strue", *front ? build : "", front);
	clock_gettime(CLOCK_MONOTONIC, &a);
	if (system(line))
		return -1;
	clock_gettime(CLOCK_MONOTONIC, &b);
	return (double)(b.tv_sec - a.tv_sec) * 1e3 + (double)(b.tv_nsec - a.tv_nsec) / 1e6;
}

int main(void)
{
	static const struct {
		const char *what, *front, *client;
		unsigned n;
	} rows[] = {
		{"the kernel's bpf(2)", "", "direct_quiet", 200000},
		{"preloaded library, numbers remembered", "/skep exec -- ", "direct_quiet", 200000},
		{"preloaded library, numbers looked at", "/skep exec -- ", "direct", 200000},
		{"seccomp alone", "/skep exec --no-preload -- ", "direct_quiet", 500}};
	double lookup[4][ROUNDS], update[4][ROUNDS], plain[ROUNDS], led[ROUNDS];
	int there[4] = {0};

	if (readlink("/proc/self/exe", build, sizeof(build) - 1) < 0)
		return 1;
	strcpy(build, dirname(dirname(build)));
	for (int r = 0; r < ROUNDS; r++) {
		for (int i = 0; i < 4; i++)
			there[i] += once(rows[i].front, rows[i].client, rows[i].n, &lookup[i][r],
					 &update[i][r]);
		plain[r] = start_ms("");
		led[r] = start_ms("/skep exec -- ");
	}
	printf("client, hash of 1,024 entries          lookup     update\n");
	for (int i = 0; i < 4; i++) {
		if (there[i] == ROUNDS)
			printf("%-36s %7.0f ns %7.0f ns\n", rows[i].what, median(lookup[i]),
			       median(update[i]));
		else
			printf("%-36s not possible here\n", rows[i].what);
	}
	printf("starting `true`: %.1f ms, by skep exec %.1f ms\n", median(plain), median(led));
	return 0;
}
