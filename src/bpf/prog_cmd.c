/* SPDX-License-Identifier: Apache-2.0 */
/* Commands on loaded programs. */
#include <stdlib.h>

#include "bpf/call.h"
#include "bpf/prog.h"
#include "bpf/sys.h"
#include "prog/type.h"

long skep_cmd_test_run(struct skep_call *c)
{
	const union bpf_attr *a = &c->attr;
	struct skep_prog *prog;

	if (!a->test.ctx_size_in != !a->test.ctx_in || !a->test.ctx_size_out != !a->test.ctx_out)
		return -EINVAL;
	int err = skep_get_prog(c->skep, a->test.prog_fd, &prog);
	if (err)
		return err;
	err = prog->ops->test_run ? prog->ops->test_run(prog, a, c->user) : -SKEP_ENOTSUPP;
	skep_object_put(&prog->obj);
	return err;
}

long skep_cmd_bind_map(struct skep_call *c)
{
	struct skep_prog *prog;
	struct skep_map *map;
	struct skep_sys *sys = skep_sys(c->skep);

	if (!sys)
		return -ENOMEM;
	if (c->attr.prog_bind_map.flags)
		return -EINVAL;
	int err = skep_get_prog(c->skep, c->attr.prog_bind_map.prog_fd, &prog);
	if (err)
		return err;
	err = skep_get_map(c->skep, c->attr.prog_bind_map.map_fd, &map, NULL, NULL);
	if (!err) {
		pthread_mutex_lock(&sys->lock);
		err = skep_prog_add_map(prog, map);
		pthread_mutex_unlock(&sys->lock);
		skep_object_put(&map->obj);
	}
	skep_object_put(&prog->obj);
	return err;
}

/* A program's text streams: nothing writes to them, so they are always empty. */
long skep_cmd_stream_read(struct skep_call *c)
{
	struct skep_prog *prog;
	uint32_t id = c->attr.prog_stream_read.stream_id;
	int err = skep_get_prog(c->skep, c->attr.prog_stream_read.prog_fd, &prog);

	if (err)
		return err;
	skep_object_put(&prog->obj);
	return id == BPF_STDOUT || id == BPF_STDERR ? 0 : -ENOENT;
}
