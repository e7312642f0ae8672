// SPDX-License-Identifier: Apache-2.0
/* Runs a command in a mount namespace of its own in which "/" is a mount, also in a plain chroot,
 * where `unshare -m` and whatever else makes its mounts private would fail. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/mounts.h"

int main(int argc, char **argv)
{
	int err = argc < 2 ? -22 : skep_mounts_unshare();

	if (err) {
		fprintf(stderr, "rooted: %s\n", strerror(-err));
		return 125;
	}
	execvp(argv[1], argv + 1);
	perror(argv[1]);
	return 127;
}
