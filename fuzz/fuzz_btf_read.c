// SPDX-License-Identifier: Apache-2.0
/* BTF that passes the checks is read and printed through the accessors. */
#include <stdlib.h>
#include <string.h>

#include "btf/btf.h"
#include "fuzz.h"
#include "map/map.h"

static void count(void *arg, const char *text, size_t len)
{
	size_t *n = arg;

	for (size_t i = 0; i < len; i++)
		*n += (unsigned char)text[i];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char text[4096];
	static const uint8_t value[256];
	uint32_t level = size & 7, true_size;
	struct skep_log log;
	struct skep_btf *btf;
	size_t n = 0;
	struct skep_btf_sink sink = {count, &n};
	bool logged = level && !skep_log_init(&log, level, text, sizeof(text));

	if (!skep_btf_parse(data, (uint32_t)size, logged ? &log : NULL, &btf)) {
		for (uint32_t id = 0; id < btf->ntypes && id < 2000; id++) {
			int64_t bytes = skep_btf_size(btf, id);
			struct skep_fields fields;

			skep_btf_name(btf, id);
			skep_btf_skip_mods(btf, id, NULL);
			skep_btf_fields(btf, NULL, id, &fields);
			if (bytes >= 0 && bytes <= (int64_t)sizeof(value)) {
				skep_btf_check_map(btf, id % 36, id, id, (uint32_t)bytes,
						   (uint32_t)bytes);
				skep_btf_print(btf, id, value, (size_t)bytes, id % 4, &sink);
			}
		}
		skep_btf_put(btf);
	}
	if (logged)
		skep_log_finish(&log, &true_size);
	return 0;
}
