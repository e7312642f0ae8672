/* SPDX-License-Identifier: Apache-2.0 */
/* Object files: checked, translated, opened by libbpf, loaded into an instance. */
#include <bpf/libbpf.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "client/libbpf.h"
#include "client/object.h"
#include "skep.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void quiet(void *arg, const char *text, size_t len) {}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct skep_opts opts = {.sz = sizeof(opts), .printk = quiet};
	struct bpf_object *obj;
	struct skep_error err;
	static struct skep *skep;
	struct skep *was;

	/* One instance for all: what a run leaves behind would show in the next ones. */
	if (!skep && skep_open(&skep, &opts))
		abort();
	was = skep_client_enter(skep);
	if (!skep_client_open(&obj, data, size, "fuzz", &err)) {
		bpf_object__load(obj);
		bpf_object__close(obj);
	}
	skep_client_leave(was);
	return 0;
}
