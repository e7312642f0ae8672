/* SPDX-License-Identifier: Apache-2.0 */
#include "host.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/tracefs.h"
#include "cmd.h"
#include "net/hook.h"

int host_option(struct host *h, int option, const char *arg)
{
	switch (option) {
	case HOST_O_INTERPRET:
		h->opts.flags |= SKEP_F_INTERPRET;
		return 0;
	case HOST_O_UNPRIVILEGED:
		h->opts.flags |= SKEP_F_UNPRIVILEGED;
		return 0;
	case HOST_O_PORT:
		if (h->nports == HOST_PORTS)
			return -E2BIG;
		h->ports[h->nports++] = arg;
		return 0;
	}
	return -EINVAL;
}

static int open_port(struct host *h, const char *port)
{
	char why[256] = "";
	const char *b = strchr(port, ',');
	char *a = strndup(port, strcspn(port, ","));
	int err = a ? skep_net_hook_open(&h->hooks[h->nhooks], h->skep, a, b ? b + 1 : NULL, why,
					 sizeof(why))
		    : -ENOMEM;

	free(a);
	if (!err) {
		h->nhooks++;
		return 0;
	}
	complain("%s", why);
	if (err == -EPERM)
		fprintf(stderr, "Run as root, or in a network namespace of your own.\n");
	return err;
}

int host_open(struct host *h, const struct skep_start *view)
{
	int err;

	h->opts.sz = sizeof(h->opts);
	if (view->mounts.pins >= 0)
		h->opts.pin_dir = view->pin_dir;
	if (view->mounts.trace >= 0 && !skep_tracefs_open(&h->trace, view->mounts.trace)) {
		h->opts.printk = skep_tracefs_print;
		h->opts.printk_arg = h->trace;
	}
	err = skep_open(&h->skep, &h->opts);
	if (err)
		complain("no instance: %s", strerror(-err));
	for (unsigned i = 0; i < h->nports && !err; i++)
		err = open_port(h, h->ports[i]);
	if (err)
		host_close(h);
	return err;
}

void host_close(struct host *h)
{
	while (h->nhooks)
		skep_net_hook_close(h->hooks[--h->nhooks]);
	skep_close(h->skep);
	h->skep = NULL;
	skep_tracefs_close(h->trace);
	h->trace = NULL;
}

void host_no_view(int err)
{
	complain("no view of /sys and /proc for clients alone: %s: they see the machine's "
		 "(--no-view: without this message)",
		 strerror(-err));
}
