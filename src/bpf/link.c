/* SPDX-License-Identifier: Apache-2.0 */
/* Links: their life, and the table of hooks. */
#include "bpf/link.h"

#include <stdlib.h>
#include <string.h>

#include "bpf/call.h"
#include "bpf/link_cmd.h"
#include "bpf/sys.h"

struct skep_hook_entry {
	struct skep_hook_entry *next;
	uint32_t attach_type, ifindex;
	const struct skep_hook *hook;
	void *arg;
};

/* ---- Hooks ---- */

static struct skep_hook_entry **find(struct skep_sys *sys, uint32_t attach_type, uint32_t ifindex)
{
	struct skep_hook_entry **at = &sys->hooks;

	while (*at && ((*at)->attach_type != attach_type || (*at)->ifindex != ifindex))
		at = &(*at)->next;
	return at;
}

int skep_hook_register(struct skep *skep, uint32_t attach_type, uint32_t ifindex,
		       const struct skep_hook *hook, void *arg)
{
	struct skep_sys *sys = skep_sys(skep);
	struct skep_hook_entry *e = calloc(1, sizeof(*e));
	int err = -ENOMEM;

	if (!sys || !e)
		goto out;
	*e = (struct skep_hook_entry){NULL, attach_type, ifindex, hook, arg};
	pthread_mutex_lock(&sys->lock);
	err = *find(sys, attach_type, ifindex) ? -EEXIST : 0;
	if (!err) {
		e->next = sys->hooks;
		sys->hooks = e;
		e = NULL;
	}
	pthread_mutex_unlock(&sys->lock);
out:
	free(e);
	return err;
}

static void link_detach(struct skep_link *link)
{
	pthread_mutex_lock(&link->lock);
	struct skep_prog *prog = link->prog;
	if (link->attached)
		link->hook->detach(link);
	link->attached = false;
	link->prog = NULL;
	pthread_mutex_unlock(&link->lock);
	if (prog)
		skep_object_put(&prog->obj);
}

void skep_hook_unregister(struct skep *skep, uint32_t attach_type, uint32_t ifindex)
{
	struct skep_sys *sys = skep_sys(skep);
	struct skep_hook_entry *e = NULL;

	if (!sys)
		return;
	pthread_mutex_lock(&sys->lock);
	struct skep_hook_entry **at = find(sys, attach_type, ifindex);
	if (*at) {
		e = *at;
		*at = e->next;
	}
	pthread_mutex_unlock(&sys->lock);
	if (!e)
		return;
	for (uint32_t id = 0; (id = skep_object_next_id(skep, SKEP_KIND_LINK, id));) {
		struct skep_object *obj = skep_object_by_id(skep, SKEP_KIND_LINK, id);
		struct skep_link *link = (struct skep_link *)obj;
		if (obj && link->hook == e->hook && link->arg == e->arg &&
		    link->attach_type == attach_type)
			link_detach(link);
		skep_object_put(obj);
	}
	free(e);
}

void skep_hooks_drop(struct skep_sys *sys)
{
	while (sys->hooks) {
		struct skep_hook_entry *e = sys->hooks;
		sys->hooks = e->next;
		free(e);
	}
}

/* ---- Links ---- */

static void link_destroy(struct skep_object *obj)
{
	struct skep_link *link = (struct skep_link *)obj;

	link_detach(link);
	pthread_mutex_destroy(&link->lock);
	free(link);
}

bool skep_link_hook(struct skep *skep, uint32_t attach_type, uint32_t ifindex,
		    const struct skep_hook **hook, void **arg)
{
	struct skep_sys *sys = skep_sys(skep);

	if (!sys)
		return false;
	pthread_mutex_lock(&sys->lock);
	struct skep_hook_entry *e = *find(sys, attach_type, ifindex);
	if (!e && ifindex)
		e = *find(sys, attach_type, 0);
	if (e) {
		*hook = e->hook;
		*arg = e->arg;
	}
	pthread_mutex_unlock(&sys->lock);
	return e;
}

long skep_link_make(struct skep_call *c, struct skep_prog *prog, uint32_t attach_type,
		    uint32_t ifindex, const struct skep_hook *hook, void *arg, uint64_t cookie)
{
	struct skep_link *link = calloc(1, sizeof(*link));

	if (!link)
		return -ENOMEM;
	pthread_mutex_init(&link->lock, NULL);
	link->obj.destroy = link_destroy;
	link->type = hook->link_type;
	link->attach_type = attach_type;
	link->ifindex = ifindex;
	link->cookie = cookie;
	link->hook = hook;
	link->arg = arg;
	int err = skep_object_add(c->skep, &link->obj, SKEP_KIND_LINK, -1);
	if (err) {
		pthread_mutex_destroy(&link->lock);
		free(link);
		return err;
	}
	pthread_mutex_lock(&link->lock);
	link->prog = prog;
	err = hook->attach(link, &c->attr);
	link->attached = !err;
	if (err)
		link->prog = NULL;
	else
		skep_object_ref(&prog->obj);
	pthread_mutex_unlock(&link->lock);
	if (err) {
		skep_object_put(&link->obj);
		return err;
	}
	return skep_give_fd(&link->obj, 0);
}

struct skep_prog *skep_link_prog(struct skep_link *link)
{
	pthread_mutex_lock(&link->lock);
	struct skep_prog *prog = link->prog;
	if (prog)
		skep_object_ref(&prog->obj);
	pthread_mutex_unlock(&link->lock);
	return prog;
}

int skep_link_info(struct skep_link *link, struct bpf_link_info *info)
{
	int err = 0;

	pthread_mutex_lock(&link->lock);
	if (link->hook->info) {
		err = link->hook->info(link, info);
	} else if (link->type == BPF_LINK_TYPE_XDP) {
		info->xdp.ifindex = link->attached ? link->ifindex : 0;
	} else if (link->type == BPF_LINK_TYPE_TCX || link->type == BPF_LINK_TYPE_NETKIT) {
		info->tcx.ifindex = link->attached ? link->ifindex : 0;
		info->tcx.attach_type = link->attach_type;
	}
	pthread_mutex_unlock(&link->lock);
	return err;
}

int skep_link_replace(struct skep_link *link, struct skep_prog *next, struct skep_prog *old,
		      uint32_t flags)
{
	int err = 0;

	pthread_mutex_lock(&link->lock);
	struct skep_prog *was = link->prog;
	if (!link->hook->update)
		err = -EINVAL;
	else if (!link->attached)
		err = -ENOLINK;
	else if (old && old != was)
		err = -EPERM;
	else if (next->type != was->type || next->attach_type != was->attach_type)
		err = -EINVAL;
	else if (next != was)
		err = link->hook->update(link, next, flags);
	if (!err && next != was) {
		skep_object_ref(&next->obj);
		link->prog = next;
	} else {
		was = NULL;
	}
	pthread_mutex_unlock(&link->lock);
	if (was)
		skep_object_put(&was->obj);
	return err;
}

int skep_link_stop(struct skep_link *link)
{
	if (!link->hook->can_detach)
		return -EOPNOTSUPP;
	link_detach(link);
	return 0;
}
