/* SPDX-License-Identifier: Apache-2.0 */
/* Keys. A reference is a name here: nothing is done with a key that would have to hold it. */
#include "exec/heap.h"
#include "helper/kern_ctx.h"
#include "helper/kfn.h"
#include "os/caller.h"
#include "os/os.h"

#define LOOKUP_CREATE   0x01u
#define LOOKUP_ALL      0x03u
#define SYSTEM_KEY_LAST 2 /* the built-in, secondary and platform keyrings */

struct held {
	struct skep_view_bpf_key ref;
	struct skep_view_key key;
};

static uint64_t hold(struct skep_env *env, int32_t serial)
{
	struct held *h = skep_heap_alloc(env->skep, sizeof(*h));

	if (!h)
		return 0;
	h->key.serial = serial;
	h->ref = (struct skep_view_bpf_key){.key = &h->key, .has_ref = true};
	return ADDR(h);
}

KFUNC(bpf_lookup_user_key)
{
	int32_t serial = (int32_t)r1;

	if (r2 & ~(uint64_t)LOOKUP_ALL)
		return 0;
	/* The special ones are those of the thread that asks, which can't be found from here
	 * if it is another process's. */
	if (serial <= 0 && skep_caller_current())
		return 0;
	serial = skep_key_find(serial, r2 & LOOKUP_CREATE);
	return serial > 0 ? hold(env, serial) : 0;
}

/* The kernel has such a key's number where the pointer would be. */
KFUNC(bpf_lookup_system_key)
{
	struct held *h;

	if (r1 > SYSTEM_KEY_LAST)
		return 0;
	h = skep_heap_alloc(env->skep, sizeof(*h));
	if (!h)
		return 0;
	h->ref.key = PTR(r1);
	return ADDR(h);
}

KFUNC(bpf_key_put)
{
	skep_heap_free(env->skep, PTR(r1));
	return 0;
}
