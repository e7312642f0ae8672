/* SPDX-License-Identifier: Apache-2.0 */
/* Network devices. */
#include <errno.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "os/os.h"

int skep_device_mtu(uint32_t ifindex, uint32_t *mtu)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), err = 0;
	struct ifreq r = {.ifr_ifindex = (int)ifindex};

	if (fd < 0)
		return -errno;
	if (ioctl(fd, SIOCGIFNAME, &r) || ioctl(fd, SIOCGIFMTU, &r))
		err = errno == ENXIO ? -ENODEV : -errno;
	else
		*mtu = (uint32_t)r.ifr_mtu;
	close(fd);
	return err;
}
