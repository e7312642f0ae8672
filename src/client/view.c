/* SPDX-License-Identifier: Apache-2.0 */
#include "client/view.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "btf/btf.h"

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL)

static int write_all(int fd, const uint8_t *at, size_t left)
{
	while (left) {
		ssize_t n = write(fd, at, left);

		if (n < 0)
			return -errno;
		at += n;
		left -= (size_t)n;
	}
	return 0;
}

static int view(const void *data, size_t len)
{
	int fd = memfd_create("skep-view", MFD_CLOEXEC | MFD_ALLOW_SEALING), err;

	if (fd < 0)
		return -errno;
	err = write_all(fd, data, len);
	if (!err && (fcntl(fd, F_ADD_SEALS, SEALS) || lseek(fd, 0, SEEK_SET) < 0))
		err = -errno;
	if (err)
		close(fd);
	return err ? err : fd;
}

int skep_view_text(const char *text, size_t len)
{
	return view(text, len);
}

int skep_view_open(struct skep *skep)
{
	const struct skep_btf *btf = NULL;
	int err = skep ? skep_btf_presented(skep, &btf) : 0;

	return err ? err : view(btf ? btf->data : NULL, btf ? btf->data_size : 0);
}
