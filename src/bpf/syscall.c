/* SPDX-License-Identifier: Apache-2.0 */
/* The entry of bpf(2): sizes, unused fields, and the table of commands. */
#include <string.h>

#include "bpf/call.h"
#include "bpf/sys.h"

/* Each command's last field: whatever lies behind it must be 0. */
#define END(field) (offsetof(union bpf_attr, field) + sizeof(((union bpf_attr *)0)->field))

static const struct {
	skep_cmd_fn *fn;
	uint32_t end;
	bool collect; /* looks first for what nobody holds any more */
} commands[] = {
	[BPF_MAP_CREATE] = {skep_cmd_map_create, END(excl_prog_hash_size), true},
	[BPF_MAP_LOOKUP_ELEM] = {skep_cmd_map_lookup, END(flags), false},
	[BPF_MAP_UPDATE_ELEM] = {skep_cmd_map_update, END(flags), false},
	[BPF_MAP_DELETE_ELEM] = {skep_cmd_map_delete, END(key), false},
	[BPF_MAP_GET_NEXT_KEY] = {skep_cmd_map_next_key, END(next_key), false},
	[BPF_PROG_LOAD] = {skep_cmd_prog_load, END(keyring_id), true},
	[BPF_OBJ_PIN] = {skep_cmd_pin, END(path_fd), true},
	[BPF_OBJ_GET] = {skep_cmd_get, END(path_fd), true},
	[BPF_PROG_ATTACH] = {skep_cmd_prog_attach, END(expected_revision), false},
	[BPF_PROG_DETACH] = {skep_cmd_prog_detach, END(expected_revision), false},
	[BPF_PROG_TEST_RUN] = {skep_cmd_test_run, END(test.batch_size), false},
	[BPF_PROG_GET_NEXT_ID] = {skep_cmd_prog_next_id, END(next_id), true},
	[BPF_MAP_GET_NEXT_ID] = {skep_cmd_map_next_id, END(next_id), true},
	[BPF_PROG_GET_FD_BY_ID] = {skep_cmd_prog_by_id, END(prog_id), true},
	[BPF_MAP_GET_FD_BY_ID] = {skep_cmd_map_by_id, END(open_flags), true},
	[BPF_OBJ_GET_INFO_BY_FD] = {skep_cmd_info, END(info.info), false},
	[BPF_PROG_QUERY] = {skep_cmd_prog_query, END(query.revision), false},
	[BPF_RAW_TRACEPOINT_OPEN] = {skep_cmd_raw_tracepoint, END(raw_tracepoint.cookie), true},
	[BPF_BTF_LOAD] = {skep_cmd_btf_load, END(btf_token_fd), true},
	[BPF_BTF_GET_FD_BY_ID] = {skep_cmd_btf_by_id, END(fd_by_id_token_fd), true},
	[BPF_TASK_FD_QUERY] = {skep_cmd_task_fd_query, END(task_fd_query.probe_addr), false},
	[BPF_MAP_LOOKUP_AND_DELETE_ELEM] = {skep_cmd_map_lookup_delete, END(flags), false},
	[BPF_MAP_FREEZE] = {skep_cmd_map_freeze, END(map_fd), false},
	[BPF_BTF_GET_NEXT_ID] = {skep_cmd_btf_next_id, END(next_id), true},
	[BPF_MAP_LOOKUP_BATCH] = {skep_cmd_lookup_batch, END(batch.flags), false},
	[BPF_MAP_LOOKUP_AND_DELETE_BATCH] = {skep_cmd_lookup_delete_batch, END(batch.flags), false},
	[BPF_MAP_UPDATE_BATCH] = {skep_cmd_update_batch, END(batch.flags), false},
	[BPF_MAP_DELETE_BATCH] = {skep_cmd_delete_batch, END(batch.flags), false},
	[BPF_LINK_CREATE] = {skep_cmd_link_create, END(link_create.uprobe_multi.pid), true},
	[BPF_LINK_UPDATE] = {skep_cmd_link_update, END(link_update.old_prog_fd), false},
	[BPF_LINK_GET_FD_BY_ID] = {skep_cmd_link_by_id, END(link_id), true},
	[BPF_LINK_GET_NEXT_ID] = {skep_cmd_link_next_id, END(next_id), true},
	[BPF_ENABLE_STATS] = {skep_cmd_enable_stats, END(enable_stats.type), true},
	[BPF_ITER_CREATE] = {skep_cmd_iter_create, END(iter_create.flags), true},
	[BPF_LINK_DETACH] = {skep_cmd_link_detach, END(link_detach.link_fd), false},
	[BPF_PROG_BIND_MAP] = {skep_cmd_bind_map, END(prog_bind_map.flags), false},
	[BPF_TOKEN_CREATE] = {skep_cmd_token_create, END(token_create.bpffs_fd), false},
	[BPF_PROG_STREAM_READ_BY_FD] = {skep_cmd_stream_read, END(prog_stream_read.prog_fd), false},
};

uint32_t skep_cmd_bytes(int cmd)
{
	return cmd >= 0 && (size_t)cmd < sizeof(commands) / sizeof(*commands) ? commands[cmd].end
									      : 0;
}

static bool tail_is_zero(const union bpf_attr *attr, uint32_t from)
{
	const uint8_t *p = (const uint8_t *)attr;

	for (uint32_t i = from; i < sizeof(*attr); i++)
		if (p[i])
			return false;
	return true;
}

long skep_bpf(struct skep *skep, int cmd, union bpf_attr *attr, unsigned int size)
{
	struct skep_call c = {.skep = skep, .user = attr};
	int err;

	skep_thread_prepare();
	err = skep_user_tail_zero((uintptr_t)attr, sizeof(*attr), size);

	if (err)
		return err;
	c.size = size < sizeof(*attr) ? size : sizeof(*attr);
	memset(&c.attr, 0, sizeof(c.attr));
	if (skep_user_read(&c.attr, (uintptr_t)attr, c.size))
		return -EFAULT;
	if (cmd < 0 || (size_t)cmd >= sizeof(commands) / sizeof(*commands) || !commands[cmd].fn)
		return -EINVAL;
	if (!tail_is_zero(&c.attr, commands[cmd].end))
		return -EINVAL;
	if (atomic_load(&skep->closed))
		return -ENOTCONN;
	if (commands[cmd].collect) {
		skep_pins_collect(skep);
		skep_collect(skep);
	}
	long ret = commands[cmd].fn(&c);
	skep_call_done(&c);
	return ret;
}
