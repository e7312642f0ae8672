/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Global functions: verified once for any arguments that match their BTF.
 */
#include "verifier/state.h"

#include "btf/btf.h"

int skep_v_sub_args(struct venv *env, uint32_t sub)
{
	return skep_v_refuse(env, EINVAL, W_CALL, -1, "func#%u: arguments of global functions\n",
			     sub);
}

int skep_v_pass_args(struct venv *env, uint32_t sub)
{
	return skep_v_sub_args(env, sub);
}

int skep_v_take_args(struct venv *env, uint32_t sub)
{
	return skep_v_sub_args(env, sub);
}
