/* SPDX-License-Identifier: Apache-2.0 */
/* A program with USDT probes: arguments in registers, in memory, constant. */
#define _SDT_HAS_SEMAPHORES 1
#include <stdio.h>
#include <stdlib.h>
#include <sys/sdt.h>
#include <sys/wait.h>
#include <unistd.h>

#define SEMAPHORE(name) unsigned short name __attribute__((section(".probes")))

SEMAPHORE(victim_step_semaphore);
SEMAPHORE(victim_gated_semaphore);

SEMAPHORE(victim_global_semaphore);

struct memory {
	signed char small;
	unsigned short wide;
	long large;
};
static volatile struct memory global;

int main(int argc, char **argv)
{
	long rounds = argc > 1 ? atol(argv[1]) : 1;
	char texts[2][8] = {"even", "odd"};
	volatile struct memory memory;

	for (long i = 0; i < rounds; i++) {
		memory.small = (signed char)-(i % 100);
		memory.wide = (unsigned short)(60000 + i % 1000);
		memory.large = i << 33;
		STAP_PROBE6(victim, step, (int)-i, texts[i % 2], memory.small, memory.wide,
			    memory.large, 77);
		if (victim_gated_semaphore) {
			STAP_PROBE1(victim, gated, i);
			global.large = 1000 + i;
		}
		global.wide = memory.wide;
		STAP_PROBE2(victim, global, global.wide, global.large);
	}
	printf("gated %u\n", victim_gated_semaphore);
	fflush(stdout);
	if (!fork()) {
		printf("child %u\n", victim_gated_semaphore);
		fflush(stdout);
		STAP_PROBE6(victim, step, 1, texts[0], 0, 0, 0, 77);
		_exit(0);
	}
	wait(NULL);
	if (argc > 2) { /* until it is told to stop, then what is left of its semaphore */
		char c;

		while (read(0, &c, 1) == 1)
			;
		printf("at the end %u\n", victim_gated_semaphore);
	}
	return 0;
}
