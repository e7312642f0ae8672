/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects that programs make: each program is loaded and run by itself, on skep and on the kernel,
 * see test_client_objects.c. Those whose names begin with "no_" are refused.
 */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#define __kptr        __attribute__((btf_type_tag("kptr")))
#define __percpu_kptr __attribute__((btf_type_tag("percpu_kptr")))

struct bpf_refcount {
	__u32 opaque[1];
} __attribute__((aligned(4)));

struct inner {
	long n;
};
struct plain {
	long a, b;
};
struct nest {
	long a;
	struct inner __kptr *in;
};
struct shared {
	long a;
	struct bpf_refcount count;
};
struct value {
	struct plain __kptr *plain;
	struct nest __kptr *nest;
	struct shared __kptr *shared;
	struct inner __percpu_kptr *percpu;
	long rest;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, int);
	__type(value, struct value);
} array SEC(".maps");
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8);
	__type(key, int);
	__type(value, struct value);
} hash SEC(".maps");

extern void *bpf_obj_new_impl(__u64 type, void *meta) __ksym;
extern void bpf_obj_drop_impl(void *p, void *meta) __ksym;
extern void *bpf_percpu_obj_new_impl(__u64 type, void *meta) __ksym;
extern void bpf_percpu_obj_drop_impl(void *p, void *meta) __ksym;
extern void *bpf_refcount_acquire_impl(void *p, void *meta) __ksym;
extern void bpf_rcu_read_lock(void) __ksym;
extern void bpf_rcu_read_unlock(void) __ksym;

#define NEW(t)         ((t *)bpf_obj_new_impl(__builtin_btf_type_id(*(t *)0, 0), NULL))
#define NEW_PERCPU(t)  ((t *)bpf_percpu_obj_new_impl(__builtin_btf_type_id(*(t *)0, 0), NULL))
#define DROP(p)        bpf_obj_drop_impl(p, NULL)
#define SHARE(p)       bpf_refcount_acquire_impl(p, NULL)
#define XCHG(field, p) bpf_kptr_xchg(field, p)
#define PROG(name)                                                                                 \
	SEC("syscall")                                                                             \
	int name(void *ctx)

static struct value *slot(int key)
{
	return bpf_map_lookup_elem(&array, &key);
}

PROG(new_and_drop)
{
	struct plain *p = NEW(struct plain);
	long sum;

	if (!p)
		return -1;
	p->a = 40;
	p->b = 2;
	sum = p->a + p->b;
	DROP(p);
	return sum;
}

PROG(many)
{
	long sum = 0;

	for (int i = 0; i < 200; i++) {
		struct plain *p = NEW(struct plain);

		if (!p)
			return -1;
		p->a = i;
		sum += p->a;
		DROP(p);
	}
	return sum;
}

PROG(into_map_and_out)
{
	struct value *v = slot(0);
	struct plain *p, *old;
	long n = -1;

	p = NEW(struct plain);
	if (!p)
		return -1;
	p->a = 7;
	if (!v) {
		DROP(p);
		return -2;
	}
	old = XCHG(&v->plain, p);
	if (old)
		DROP(old);
	old = XCHG(&v->plain, NULL);
	if (!old)
		return -3;
	n = old->a;
	DROP(old);
	old = XCHG(&v->plain, NULL);
	if (old) {
		DROP(old);
		return -4;
	}
	return n;
}

PROG(read_in_map)
{
	struct value *v = slot(1);
	struct plain *p, *old;
	long n = -1;

	if (!v)
		return -2;
	p = NEW(struct plain);
	if (!p)
		return -1;
	p->b = 77;
	old = XCHG(&v->plain, p);
	if (old)
		DROP(old);
	bpf_rcu_read_lock();
	p = v->plain;
	if (p)
		n = p->b;
	bpf_rcu_read_unlock();
	return n;
}

PROG(nested)
{
	struct value *v = slot(0);
	struct inner *in;
	struct nest *p;
	long n = -1;

	if (!v)
		return -2;
	p = NEW(struct nest);
	if (!p)
		return -1;
	in = NEW(struct inner);
	if (!in) {
		DROP(p);
		return -1;
	}
	in->n = 5;
	in = XCHG(&p->in, in);
	if (in)
		DROP(in);
	p = XCHG(&v->nest, p);
	if (p)
		DROP(p);
	p = XCHG(&v->nest, NULL);
	if (!p)
		return -3;
	in = XCHG(&p->in, NULL);
	if (in) {
		n = in->n;
		DROP(in);
	}
	DROP(p);
	return n;
}

PROG(counted)
{
	struct shared *p = NEW(struct shared), *q;
	long n;

	if (!p)
		return -1;
	p->a = 3;
	q = SHARE(p);
	DROP(p);
	q->a += 10;
	n = q->a;
	DROP(q);
	return n;
}

PROG(counted_in_map)
{
	struct value *v = slot(2);
	struct shared *p, *q;
	long n = -3;

	if (!v)
		return -2;
	p = NEW(struct shared);
	if (!p)
		return -1;
	q = SHARE(p);
	q = XCHG(&v->shared, q);
	if (q)
		DROP(q);
	p->a = 9;
	DROP(p);
	bpf_rcu_read_lock();
	p = v->shared;
	if (p) {
		q = SHARE(p);
		if (q) {
			n = q->a;
			DROP(q);
		}
	}
	bpf_rcu_read_unlock();
	return n;
}

PROG(per_cpu)
{
	struct value *v = slot(3);
	struct inner *p, *c;
	long n = -3;

	if (!v)
		return -2;
	p = NEW_PERCPU(struct inner);
	if (!p)
		return -1;
	p = XCHG(&v->percpu, p);
	if (p)
		bpf_percpu_obj_drop_impl(p, NULL);
	bpf_rcu_read_lock();
	p = v->percpu;
	if (!p) {
		bpf_rcu_read_unlock();
		return -4;
	}
	c = bpf_this_cpu_ptr(p);
	c->n += 4;
	c->n += 5;
	n = c->n;
	c = bpf_per_cpu_ptr(p, 100000);
	if (c)
		n = -5;
	bpf_rcu_read_unlock();
	return n;
}

/* An element that owns objects is replaced, and deleted. */
PROG(in_hash)
{
	struct value zero = {.rest = 1}, *v;
	struct plain *p;
	int key = 1;
	long n = 0;

	bpf_map_update_elem(&hash, &key, &zero, BPF_ANY);
	v = bpf_map_lookup_elem(&hash, &key);
	if (!v)
		return -2;
	p = NEW(struct plain);
	if (!p)
		return -1;
	p = XCHG(&v->plain, p);
	if (p)
		DROP(p);
	bpf_map_update_elem(&hash, &key, &zero, BPF_ANY);
	v = bpf_map_lookup_elem(&hash, &key);
	if (!v)
		return -3;
	p = XCHG(&v->plain, NULL);
	if (p) {
		DROP(p);
		return -4;
	}
	n = v->rest;
	p = NEW(struct plain);
	if (!p)
		return -1;
	p = XCHG(&v->plain, p);
	if (p)
		DROP(p);
	bpf_map_delete_elem(&hash, &key);
	return n;
}

PROG(update_array)
{
	struct value zero = {.rest = 8}, *v = slot(0);
	struct plain *p;
	int key = 0;

	if (!v)
		return -2;
	p = NEW(struct plain);
	if (!p)
		return -1;
	p = XCHG(&v->plain, p);
	if (p)
		DROP(p);
	bpf_map_update_elem(&array, &key, &zero, BPF_ANY);
	p = XCHG(&v->plain, NULL);
	if (p) {
		DROP(p);
		return -4;
	}
	return v->rest;
}

/* ---- Refused ---- */

PROG(no_leak)
{
	struct plain *p = NEW(struct plain);

	return p ? 1 : 0;
}

PROG(no_check)
{
	struct plain *p = NEW(struct plain);

	p->a = 1;
	DROP(p);
	return 0;
}

PROG(no_drop_twice)
{
	struct plain *p = NEW(struct plain);

	if (!p)
		return 0;
	DROP(p);
	DROP(p);
	return 0;
}

PROG(no_use_after_drop)
{
	struct plain *p = NEW(struct plain);

	if (!p)
		return 0;
	DROP(p);
	return p->a;
}

PROG(no_beyond)
{
	struct plain *p = NEW(struct plain);
	long n;

	if (!p)
		return 0;
	n = (&p->b)[1];
	DROP(p);
	return n;
}

PROG(no_other_type)
{
	struct value *v = slot(0);
	struct inner *p;

	if (!v)
		return 0;
	p = NEW(struct inner);
	if (!p)
		return 0;
	p = XCHG(&v->plain, (void *)p);
	if (p)
		DROP(p);
	return 0;
}

PROG(no_write_field)
{
	struct nest *p = NEW(struct nest);

	if (!p)
		return 0;
	*(volatile long *)&p->in = 0;
	DROP(p);
	return 0;
}

PROG(no_drop_moved)
{
	struct plain *p = NEW(struct plain);

	if (!p)
		return 0;
	DROP(&p->b);
	return 0;
}

PROG(no_drop_borrowed)
{
	struct value *v = slot(1);
	struct plain *p;

	if (!v)
		return 0;
	bpf_rcu_read_lock();
	p = v->plain;
	if (p)
		DROP(p);
	bpf_rcu_read_unlock();
	return 0;
}

PROG(no_read_without_rcu)
{
	struct value *v = slot(1);
	struct plain *p;

	if (!v)
		return 0;
	p = v->plain;
	if (p)
		DROP(p);
	return 0;
}

PROG(no_use_behind_rcu)
{
	struct value *v = slot(1);
	struct plain *p;

	if (!v)
		return 0;
	bpf_rcu_read_lock();
	p = v->plain;
	bpf_rcu_read_unlock();
	if (p)
		p->a = 1;
	return 0;
}

PROG(no_share_uncounted)
{
	struct plain *p = NEW(struct plain), *q;

	if (!p)
		return 0;
	q = SHARE(p);
	DROP(p);
	if (q)
		DROP(q);
	return 0;
}

PROG(no_percpu_with_fields)
{
	struct nest *p = NEW_PERCPU(struct nest);

	if (p)
		bpf_percpu_obj_drop_impl(p, NULL);
	return 0;
}

PROG(no_percpu_drop_plain)
{
	struct inner *p = NEW_PERCPU(struct inner);

	if (p)
		DROP(p);
	return 0;
}

PROG(no_percpu_access)
{
	struct inner *p = NEW_PERCPU(struct inner);
	long n = 0;

	if (p) {
		n = p->n;
		bpf_percpu_obj_drop_impl(p, NULL);
	}
	return n;
}

PROG(no_type_of_int)
{
	void *p = bpf_obj_new_impl(__builtin_btf_type_id(*(int *)0, 0), NULL);

	if (p)
		DROP(p);
	return 0;
}

PROG(no_store)
{
	struct value *v = slot(0);

	if (v)
		*(volatile long *)&v->plain = 0;
	return 0;
}

char gpl[] SEC("license") = "GPL";
