/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which stack slots may still be read.
 */
#include "verifier/state.h"

int skep_v_live_init(struct venv *env)
{
	(void)env;
	return 0;
}

void skep_v_live_free(struct venv *env)
{
	(void)env;
}

int skep_v_live_read(struct venv *env, uint32_t frame, uint64_t slots)
{
	(void)env;
	(void)frame;
	(void)slots;
	return 0;
}

int skep_v_live_write(struct venv *env, uint32_t frame, uint64_t slots)
{
	(void)env;
	(void)frame;
	(void)slots;
	return 0;
}

int skep_v_live_commit(struct venv *env)
{
	(void)env;
	return 0;
}

int skep_v_live_update(struct venv *env)
{
	(void)env;
	return 0;
}

uint64_t skep_v_live_slots(struct venv *env, const struct vstate *st, uint32_t frame)
{
	(void)env;
	(void)st;
	(void)frame;
	return ~0ull;
}
