/* SPDX-License-Identifier: Apache-2.0 */
#include "out.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BAR_WIDTH  40
#define SHOW_AFTER 2000000000ull /* ns */
#define SHOW_EVERY 100000000ull

struct shown show_count(uint64_t v)
{
	struct shown out;
	char digits[24];
	int n = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)v), k = 0;

	for (int i = 0; i < n; i++) {
		if (i && (n - i) % 3 == 0)
			out.s[k++] = ',';
		out.s[k++] = digits[i];
	}
	out.s[k] = 0;
	return out;
}

struct shown show_rate(double v)
{
	static const char *const units[] = {"", " k", " M", " G", " T"};
	struct shown out;
	int u = 0;

	while (v >= 1000 && u < 4) {
		v /= 1000;
		u++;
	}
	snprintf(out.s, sizeof(out.s), u ? "%.3g%s" : "%.0f%s", v, units[u]);
	return out;
}

struct shown show_time(uint64_t ns)
{
	static const struct {
		double ns;
		const char *unit;
	} units[] = {{1e9, "s"}, {1e6, "ms"}, {1e3, "us"}, {1, "ns"}};
	struct shown out;
	int u = 0;

	while (u < 3 && (double)ns < units[u].ns)
		u++;
	snprintf(out.s, sizeof(out.s), "%.3g %s", (double)ns / units[u].ns, units[u].unit);
	return out;
}

struct shown show_ns(double ns)
{
	struct shown out;

	snprintf(out.s, sizeof(out.s), ns < 100 ? "%.1f" : "%.0f", ns);
	return out;
}

bool color_on(FILE *f)
{
	const char *term = getenv("TERM"), *no = getenv("NO_COLOR");

	return isatty(fileno(f)) && term && strcmp(term, "dumb") != 0 && !(no && no[0]);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

void progress_start(struct progress *p, bool wanted)
{
	memset(p, 0, sizeof(*p));
	p->on = wanted && isatty(STDERR_FILENO);
	p->from = p->last = now_ns();
}

void progress_step(struct progress *p, uint64_t done, uint64_t total)
{
	uint64_t now;
	int fill;

	if (!p->on || !total)
		return;
	now = now_ns();
	if (now - p->from < SHOW_AFTER || now - p->last < SHOW_EVERY)
		return;
	p->last = now;
	p->shown = true;
	fill = (int)((double)done / (double)total * BAR_WIDTH);
	fprintf(stderr, "\r[%.*s%*s] %3d %%", fill, "########################################",
		BAR_WIDTH - fill, "", (int)((double)done / (double)total * 100));
	fflush(stderr);
}

void progress_end(struct progress *p)
{
	if (p->shown)
		fprintf(stderr, "\r%*s\r", BAR_WIDTH + 10, "");
}
