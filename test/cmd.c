/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "bpf/uapi.h"

#define MAX_WORDS 64

static struct {
	char dir[64];
	char root[PATH_MAX], build[PATH_MAX], skep[PATH_MAX + 8];
	char *paths[1024];
	int npaths;
	struct cmd_result result;
} state;

static void find_self(void)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	assert_true(n > 0);
	self[n] = 0;
	/* BUILD/test/NAME -> BUILD/skep */
	for (int i = 0; i < 2; i++) {
		slash = strrchr(self, '/');
		assert_non_null(slash);
		*slash = 0;
	}
	strcpy(state.build, self);
	snprintf(state.skep, sizeof(state.skep), "%s/skep", self);
	/* The root is the nearest folder above that holds examples/. */
	while ((slash = strrchr(self, '/'))) {
		char probe[PATH_MAX + 16];

		*slash = 0;
		snprintf(probe, sizeof(probe), "%s/examples", self);
		if (!access(probe, X_OK))
			break;
	}
	snprintf(state.root, sizeof(state.root), "%s", self);
}

const char *cmd_dir(void)
{
	char cache[128];

	if (state.dir[0])
		return state.dir;
	strcpy(state.dir, "/tmp/skep-test-XXXXXX");
	assert_non_null(mkdtemp(state.dir));
	snprintf(cache, sizeof(cache), "%s/cache", state.dir);
	setenv("XDG_CACHE_HOME", cache, 1);
	/* Clients, and of a sanitizer build the command too, are run with LD_PRELOAD: a library before
	 * the sanitizer's is as it should be. */
	setenv("ASAN_OPTIONS", "verify_asan_link_order=0", 0);
	find_self();
	return state.dir;
}

const char *cmd_root(void)
{
	cmd_dir();
	return state.root;
}

const char *cmd_build(void)
{
	cmd_dir();
	return state.build;
}

int cmd_setup(void **cmocka)
{
	cmd_dir();
	return 0;
}

int cmd_teardown(void **cmocka)
{
	cmd_cleanup();
	return 0;
}

const char *cmd_path(const char *name)
{
	char *p;

	assert_true(state.npaths < (int)(sizeof(state.paths) / sizeof(state.paths[0])));
	assert_true(asprintf(&p, "%s/%s", cmd_dir(), name) > 0);
	state.paths[state.npaths++] = p;
	return p;
}

const char *cmd_file(const char *name, const void *data, size_t len)
{
	const char *path = cmd_path(name);
	FILE *f = fopen(path, "wb");

	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
	return path;
}

const char *cmd_text(const char *name, const char *text)
{
	return cmd_file(name, text, strlen(text));
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	return remove(path);
}

static void json_free_all(void);

void cmd_cleanup(void)
{
	if (state.dir[0])
		nftw(state.dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	for (int i = 0; i < state.npaths; i++)
		free(state.paths[i]);
	free(state.result.out);
	free(state.result.err);
	json_free_all();
	memset(&state, 0, sizeof(state));
}

/* ---- Runs ---- */

static char *slurp(int fd, size_t *len)
{
	struct stat st;
	char *p;

	assert_int_equal(fstat(fd, &st), 0);
	p = malloc((size_t)st.st_size + 1);
	assert_non_null(p);
	assert_int_equal(pread(fd, p, (size_t)st.st_size, 0), st.st_size);
	p[st.st_size] = 0;
	if (len)
		*len = (size_t)st.st_size;
	close(fd);
	return p;
}

static pid_t start(int out, int err, const char *words, va_list ap)
{
	char *text = strdup(words), *argv[MAX_WORDS + 2], *save = NULL;
	int n = 0;
	pid_t pid;

	cmd_dir();
	argv[n++] = state.skep;
	for (char *w = strtok_r(text, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
		assert_true(n < MAX_WORDS);
		argv[n++] = !strcmp(w, "%s") ? va_arg(ap, char *) : w;
	}
	argv[n] = NULL;
	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		dup2(out, 1);
		dup2(err, 2);
		execv(state.skep, argv);
		_exit(127);
	}
	free(text);
	return pid;
}

const struct cmd_result *skep_cmd(const char *words, ...)
{
	int out = memfd_create("out", MFD_CLOEXEC), err = memfd_create("err", MFD_CLOEXEC), status;
	va_list ap;
	pid_t pid;

	assert_true(out >= 0 && err >= 0);
	va_start(ap, words);
	pid = start(out, err, words, ap);
	va_end(ap);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	free(state.result.out);
	free(state.result.err);
	state.result.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	state.result.out = slurp(out, &state.result.out_len);
	state.result.err = slurp(err, NULL);
	if (getenv("SKEP_TEST_VERBOSE"))
		printf("$ skep %s -> %d\n%s%s", words, state.result.status, state.result.out,
		       state.result.err);
	return &state.result;
}

pid_t skep_start(const char *words, ...)
{
	int out = memfd_create("out", MFD_CLOEXEC);
	va_list ap;
	pid_t pid;

	assert_true(out >= 0);
	va_start(ap, words);
	pid = start(out, out, words, ap);
	va_end(ap);
	close(out);
	return pid;
}

bool cmd_kernel(void)
{
	union bpf_attr attr;
	int fd;

	memset(&attr, 0, sizeof(attr));
	attr.map_type = BPF_MAP_TYPE_ARRAY;
	attr.key_size = attr.value_size = 4;
	attr.max_entries = 1;
	fd = (int)syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof(attr));
	if (fd < 0)
		return false;
	close(fd);
	return true;
}

/* ---- Captures ---- */

struct frames {
	FILE *f;
	const char *path;
	uint64_t ns;
};

struct frames *frames_open(const char *name)
{
	const uint32_t head[] = {0xa1b23c4d, 2 | 4 << 16, 0, 0, 65535, 1};
	struct frames *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->path = cmd_path(name);
	f->f = fopen(f->path, "wb");
	assert_non_null(f->f);
	assert_int_equal(fwrite(head, sizeof(head), 1, f->f), 1);
	f->ns = 1700000000000000000ull;
	return f;
}

void frames_add(struct frames *f, const void *data, uint32_t len, uint64_t ns)
{
	const uint32_t head[] = {(uint32_t)(ns / 1000000000), (uint32_t)(ns % 1000000000), len,
				 len};

	assert_int_equal(fwrite(head, sizeof(head), 1, f->f), 1);
	if (len)
		assert_int_equal(fwrite(data, len, 1, f->f), 1);
}

static void be16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void be32(uint8_t *p, uint32_t v)
{
	be16(p, v >> 16);
	be16(p + 2, v & 0xffff);
}

static uint16_t checksum(const uint8_t *p, size_t n, uint32_t sum)
{
	for (size_t i = 0; i + 1 < n; i += 2)
		sum += (uint32_t)p[i] << 8 | p[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

void frames_ipv4(struct frames *f, uint8_t proto, uint32_t src, uint32_t dst, uint16_t sport,
		 uint16_t dport, uint8_t tcp_flags)
{
	uint8_t p[60] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0};
	uint8_t *ip = p + 14, *l4 = ip + 20;
	uint32_t l4len = proto == 6 ? 20 : 16, pseudo;

	ip[0] = 0x45;
	be16(ip + 2, 20 + l4len);
	ip[8] = 64;
	ip[9] = proto;
	be32(ip + 12, src);
	be32(ip + 16, dst);
	be16(ip + 10, checksum(ip, 20, 0));
	be16(l4, sport);
	be16(l4 + 2, dport);
	pseudo = (src >> 16) + (src & 0xffff) + (dst >> 16) + (dst & 0xffff) + proto + l4len;
	if (proto == 6) {
		l4[12] = 0x50;
		l4[13] = tcp_flags;
		be16(l4 + 14, 8192);
		be16(l4 + 16, checksum(l4, l4len, pseudo));
	} else if (proto == 17) {
		be16(l4 + 4, l4len);
		be16(l4 + 6, checksum(l4, l4len, pseudo));
	}
	f->ns += 1234567;
	frames_add(f, p, sizeof(p), f->ns);
}

const char *frames_close(struct frames *f)
{
	const char *path = f->path;

	assert_int_equal(fclose(f->f), 0);
	free(f);
	return path;
}

/* ---- JSON ---- */

struct json_value {
	char kind; /* '{' '[' '"' '0' 't' 'f' 'n' */
	char *name, *text;
	double number;
	struct json_value *first, *next;
};

static struct {
	struct json_value *all[1 << 16];
	int n;
} pool;

static void json_free_all(void)
{
	for (int i = 0; i < pool.n; i++) {
		free(pool.all[i]->name);
		free(pool.all[i]->text);
		free(pool.all[i]);
	}
	pool.n = 0;
}

static const char *blank(const char *p)
{
	return p + strspn(p, " \t\r\n");
}

static const char *parse_string(const char *p, char **out)
{
	char *s = malloc(strlen(p) + 1);
	size_t n = 0;

	assert_non_null(s);
	assert_int_equal(*p, '"');
	for (p++; *p != '"'; p++) {
		unsigned v = 0;

		assert_true((unsigned char)*p >= 0x20);
		if (*p != '\\') {
			s[n++] = *p;
			continue;
		}
		p++;
		if (*p == 'u') {
			assert_int_equal(sscanf(p + 1, "%4x", &v), 1);
			s[n++] = (char)v;
			p += 4;
		} else {
			assert_non_null(strchr("\"\\/bfnrt", *p));
			s[n++] = *p == 'n' ? '\n' : *p == 't' ? '\t' : *p;
		}
	}
	s[n] = 0;
	*out = s;
	return p + 1;
}

static const char *parse_value(const char *p, struct json_value **out)
{
	struct json_value *v = calloc(1, sizeof(*v)), **tail = &v->first;
	char *end;

	assert_non_null(v);
	assert_true(pool.n < (int)(sizeof(pool.all) / sizeof(pool.all[0])));
	pool.all[pool.n++] = v;
	*out = v;
	p = blank(p);
	v->kind = *p;
	if (*p == '{' || *p == '[') {
		char close = *p == '{' ? '}' : ']';

		p = blank(p + 1);
		while (*p != close) {
			char *name = NULL;

			if (close == '}') {
				p = blank(parse_string(p, &name));
				assert_int_equal(*p, ':');
				p++;
			}
			p = blank(parse_value(p, tail));
			(*tail)->name = name;
			tail = &(*tail)->next;
			if (*p == ',') {
				p = blank(p + 1);
				assert_int_not_equal(*p, close);
			} else {
				assert_int_equal(*p, close);
			}
		}
		return p + 1;
	}
	if (*p == '"')
		return parse_string(p, &v->text);
	if (!strncmp(p, "true", 4) || !strncmp(p, "null", 4))
		return p + 4;
	if (!strncmp(p, "false", 5))
		return p + 5;
	v->kind = '0';
	v->number = strtod(p, &end);
	assert_ptr_not_equal(end, p);
	return end;
}

const struct json_value *json_parse(const char *text)
{
	struct json_value *v;

	json_free_all();
	text = blank(parse_value(text, &v));
	assert_int_equal(*text, 0);
	return v;
}

const struct json_value *json_at(const struct json_value *v, const char *path)
{
	while (v && *path) {
		char part[128];
		size_t n = 0;
		const struct json_value *c;
		unsigned long k = 0, index;

		for (; *path && *path != '.'; path++) {
			if (*path == '\\')
				path++;
			part[n++] = *path;
		}
		part[n] = 0;
		path += *path == '.';
		index = strtoul(part, NULL, 10);
		for (c = v->first; c; c = c->next, k++)
			if (v->kind == '{' ? !strcmp(c->name, part) : k == index)
				break;
		v = c;
	}
	return v;
}

double json_number(const struct json_value *v, const char *path)
{
	v = json_at(v, path);
	if (!v || v->kind != '0')
		fail_msg("no number at %s", path);
	return v->number;
}

const char *json_string(const struct json_value *v, const char *path)
{
	v = json_at(v, path);
	if (!v || v->kind != '"')
		fail_msg("no string at %s", path);
	return v->text;
}

bool json_true(const struct json_value *v, const char *path)
{
	v = json_at(v, path);
	if (!v || (v->kind != 't' && v->kind != 'f'))
		fail_msg("no truth value at %s", path);
	return v->kind == 't';
}

size_t json_count(const struct json_value *v, const char *path)
{
	size_t n = 0;

	v = json_at(v, path);
	if (!v || (v->kind != '{' && v->kind != '['))
		fail_msg("no list at %s", path);
	for (v = v->first; v; v = v->next)
		n++;
	return n;
}
