/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The preprocessor runs always: its output, the compiler's version and the flags are the cache's
 * key, and it tells what the source needs that today's headers lack (struct bpf_map_def,
 * vmlinux.h).
 *
 * Compilers emit a symbol for each section, so a function or variable in a section of its own name
 * is "already defined". Such a source goes through the compiler's own intermediate form, where the
 * section gets a longer name, which is cut again in the object (see own_section()).
 */
#include "client/compile.h"

#include <bpf/btf.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "btf/btf.h"
#include "client/object.h"
#include "client/tool.h"

#define NEWEST_CLANG 40
#define OLDEST_CLANG 14
#define SUFFIX       "~skep"

#if defined(__x86_64__)
#define HOST_ARCH "x86"
#define HOST_CPU  "x86_64"
#elif defined(__aarch64__)
#define HOST_ARCH "arm64"
#define HOST_CPU  "aarch64"
#else
#error "which __TARGET_ARCH_* is this?"
#endif

/* Where Debian keeps headers that differ by machine. */
static const char multiarch_dir[] = "/usr/include/" HOST_CPU "-linux-gnu";

/* What libbpf's headers dropped in 1.0, for sources that use it and do not define it. */
static const char compat_header[] = "struct bpf_map_def {\n"
				    "	unsigned int type;\n"
				    "	unsigned int key_size;\n"
				    "	unsigned int value_size;\n"
				    "	unsigned int max_entries;\n"
				    "	unsigned int map_flags;\n"
				    "};\n";

struct job {
	const char *source;
	const struct skep_compile_opts *opts;
	struct skep_error *err;
	char cc[512]; /* found compiler */
	char *version;
	bool gcc;
	char cache[512]; /* folder, "" if there is none */
	char tmp[64]; /* folder of this run, "" until made */
	char types_dir[600]; /* holds vmlinux.h, "" if not needed */
	char compat[128]; /* header to include first, "" if not needed */
	char *diagnostics;
};

static const char install_clang[] =
	"Install clang (apt install clang) or name a compiler with --cc.";

bool skep_compile_is_source(const char *path)
{
	size_t n = strlen(path);

	return n > 2 && !strcmp(path + n - 2, ".c");
}

/* ---- Files ---- */

static int make_dirs(const char *path)
{
	char buf[512];

	if ((size_t)snprintf(buf, sizeof(buf), "%s", path) >= sizeof(buf))
		return -ENAMETOOLONG;
	for (char *p = buf + 1;; p++) {
		char c = *p;

		if (c != '/' && c)
			continue;
		*p = 0;
		if (mkdir(buf, 0777) < 0 && errno != EEXIST)
			return -errno;
		*p = c;
		if (!c)
			return 0;
	}
}

/* The cache is a convenience: where it can't be, work goes on without it. */
static void find_cache(struct job *j)
{
	const char *x = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
	int n;

	if (j->opts->no_cache)
		return;
	if (x && x[0] == '/')
		n = snprintf(j->cache, sizeof(j->cache), "%s/skep", x);
	else if (home && home[0] == '/')
		n = snprintf(j->cache, sizeof(j->cache), "%s/.cache/skep", home);
	else
		return;
	if ((size_t)n >= sizeof(j->cache) || make_dirs(j->cache) || access(j->cache, W_OK))
		j->cache[0] = 0;
}

static int make_tmp(struct job *j)
{
	const char *t = getenv("TMPDIR");

	if (j->tmp[0])
		return 0;
	if ((size_t)snprintf(j->tmp, sizeof(j->tmp), "%s/skep-XXXXXX", t && t[0] ? t : "/tmp") >=
	    sizeof(j->tmp))
		snprintf(j->tmp, sizeof(j->tmp), "/tmp/skep-XXXXXX");
	if (!mkdtemp(j->tmp)) {
		int e = -errno;

		skep_fail(j->err, e, "Set TMPDIR to a folder that can be written.",
			  "no temporary folder can be made in %s: %s", t && t[0] ? t : "/tmp",
			  strerror(-e));
		j->tmp[0] = 0;
		return e;
	}
	return 0;
}

static void remove_tmp(struct job *j)
{
	static const char *const names[] = {"out.o", "in.ll", "in.s", "compat.h", "vmlinux.h"};
	char path[128];

	if (!j->tmp[0])
		return;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", j->tmp, names[i]);
		unlink(path);
	}
	rmdir(j->tmp);
}

/* Whole or not at all: written beside, then renamed. */
static int write_file(const char *path, const void *data, size_t len)
{
	char tmp[700];
	const uint8_t *p = data;
	int fd, err = 0;

	if ((size_t)snprintf(tmp, sizeof(tmp), "%s.%d.tmp", path, getpid()) >= sizeof(tmp))
		return -ENAMETOOLONG;
	fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd < 0)
		return -errno;
	while (len && !err) {
		ssize_t n = write(fd, p, len);

		if (n < 0) {
			err = -errno;
			break;
		}
		p += n;
		len -= (size_t)n;
	}
	if (close(fd) < 0 && !err)
		err = -errno;
	if (!err && rename(tmp, path) < 0)
		err = -errno;
	if (err)
		unlink(tmp);
	return err;
}

/* ---- Compiler ---- */

static int find_compiler(struct job *j)
{
	struct skep_args args = {{"", "--version"}, 2};
	char name[32];
	int r;

	if (j->opts->cc) {
		if (skep_tool_find(j->opts->cc, j->cc, sizeof(j->cc)))
			return skep_fail(j->err, -ENOENT, install_clang, "%s: no such compiler",
					 j->opts->cc);
	} else {
		int v = NEWEST_CLANG;

		for (; v >= OLDEST_CLANG; v--) {
			snprintf(name, sizeof(name), "clang-%d", v);
			if (!skep_tool_find(name, j->cc, sizeof(j->cc)))
				break;
		}
		if (v < OLDEST_CLANG && skep_tool_find("clang", j->cc, sizeof(j->cc)))
			return skep_fail(j->err, -ENOENT, install_clang,
					 "%s is C source, and no clang was found to compile it",
					 j->source);
	}
	args.v[0] = j->cc;
	r = skep_tool_run(&args, &j->version, NULL, NULL);
	if (r || !j->version)
		return skep_fail(j->err, -ENOEXEC, install_clang, "%s --version fails", j->cc);
	j->gcc = !strstr(j->version, "clang");
	return 0;
}

static void add(struct skep_args *a, const char *arg)
{
	if (a->n < (int)(sizeof(a->v) / sizeof(a->v[0])) - 1) {
		a->v[a->n++] = arg;
		a->v[a->n] = NULL;
	}
}

static void add_all(struct skep_args *a, const char *const *args)
{
	for (; args && *args; args++)
		add(a, *args);
}

/* Flags that shape the program; the compiler's driver and files come from elsewhere. */
static void add_flags(struct job *j, struct skep_args *a)
{
	/* __HOST_CPU__: BPF's data model is that of the 64-bit host, and libc's headers, which
	 * beginners include, want to know one. */
	static const char *const clang[] = {
		"-O2", "-g", "-target", "bpf", "-mcpu=v3", "-Wno-unknown-warning-option", NULL};
	/* At -O2 this gcc calls helpers through a pointer it does not see through. */
	static const char *const gcc[] = {"-O1", "-gbtf", "-mcpu=v3", "-mco-re", NULL};
	static const char *const both[] = {"-D__TARGET_ARCH_" HOST_ARCH, "-D__" HOST_CPU "__",
					   "-fno-stack-protector", NULL};
	/* The last one is for sources that include "bpf_helpers.h", as they did before libbpf had a
	 * folder of its own. */
	const char *const dirs[] = {"-idirafter", multiarch_dir, "-idirafter", "/usr/include/bpf",
				    NULL};

	add_all(a, j->gcc ? gcc : clang);
	add_all(a, both);
	add_all(a, j->opts->flags);
	if (j->compat[0]) {
		add(a, "-include");
		add(a, j->compat);
	}
	if (j->types_dir[0]) {
		add(a, "-idirafter");
		add(a, j->types_dir);
	}
	if (j->gcc) {
		add(a, "-idirafter");
		add(a, "/usr/include");
	}
	add_all(a, dirs);
	if (j->opts->color)
		add(a, "-fdiagnostics-color=always");
}

/* ---- vmlinux.h ---- */

struct text {
	char *p;
	size_t len, cap;
	bool failed;
};

static void text_add(struct text *t, const char *s, size_t n)
{
	if (t->failed)
		return;
	if (!t->p || t->len + n + 1 > t->cap) {
		size_t cap = (t->len + n + 1) * 2;
		char *q = realloc(t->p, cap);

		if (!q) {
			t->failed = true;
			return;
		}
		t->p = q;
		t->cap = cap;
	}
	memcpy(t->p + t->len, s, n);
	t->len += n;
	t->p[t->len] = 0;
}

__attribute__((format(printf, 2, 0))) static void text_print(void *arg, const char *fmt, va_list ap)
{
	char *s;
	int n = vasprintf(&s, fmt, ap);

	if (n < 0) {
		((struct text *)arg)->failed = true;
		return;
	}
	text_add(arg, s, (size_t)n);
	free(s);
}

static int load_types(struct job *j, struct btf **out)
{
	struct skep_btf *own;
	int err;

	if (j->opts->types) {
		*out = btf__parse(j->opts->types, NULL);
		return *out ? 0 : -errno;
	}
	err = skep_btf_vmlinux(&own);
	if (err)
		return err;
	*out = btf__new(own->data, own->data_size);
	err = *out ? 0 : -errno;
	skep_btf_put(own);
	return err;
}

static int dump_types(const struct btf *btf, struct text *t)
{
	static const char head[] =
		"#ifndef __VMLINUX_H__\n#define __VMLINUX_H__\n"
		"#ifndef BPF_NO_PRESERVE_ACCESS_INDEX\n"
		"#pragma clang attribute push (__attribute__((preserve_access_index)), apply_to = "
		"record)\n#endif\n";
	static const char tail[] =
		"#ifndef BPF_NO_PRESERVE_ACCESS_INDEX\n#pragma clang attribute pop\n"
		"#endif\n#endif\n";
	struct btf_dump *d = btf_dump__new(btf, text_print, t, NULL);
	int err = 0;

	if (!d)
		return -errno;
	text_add(t, head, sizeof(head) - 1);
	for (uint32_t id = 1; !err && id < btf__type_cnt(btf); id++)
		err = btf_dump__dump_type(d, id);
	text_add(t, tail, sizeof(tail) - 1);
	btf_dump__free(d);
	return err ? err : t->failed ? -ENOMEM : 0;
}

/* Puts vmlinux.h into the cache (or this run's folder) and sets types_dir. */
static int make_types(struct job *j)
{
	struct skep_digest d;
	struct text t = {0};
	struct btf *btf = NULL;
	char path[700], key[33];
	uint32_t len;
	const void *raw;
	int err = load_types(j, &btf);

	if (err)
		return skep_fail(j->err, err, NULL, "vmlinux.h can't be made: %s", strerror(-err));
	raw = btf__raw_data(btf, &len);
	skep_digest_init(&d);
	skep_digest_add(&d, raw, raw ? len : 0);
	skep_digest_text(&d, key);
	if (j->cache[0]) {
		snprintf(j->types_dir, sizeof(j->types_dir), "%s/types-%s", j->cache, key);
		err = make_dirs(j->types_dir);
	} else {
		err = make_tmp(j);
		snprintf(j->types_dir, sizeof(j->types_dir), "%s", j->tmp);
	}
	snprintf(path, sizeof(path), "%s/vmlinux.h", j->types_dir);
	if (!err && access(path, R_OK)) {
		err = dump_types(btf, &t);
		if (!err)
			err = write_file(path, t.p, t.len);
	}
	if (err)
		skep_fail(j->err, err, NULL, "vmlinux.h can't be made: %s", strerror(-err));
	free(t.p);
	btf__free(btf);
	return err;
}

/* ---- Preprocessing ---- */

static bool word_at(const char *text, const char *p, size_t n)
{
	return (p == text || !(isalnum((unsigned char)p[-1]) || p[-1] == '_')) &&
	       !(isalnum((unsigned char)p[n]) || p[n] == '_');
}

/* Whether the preprocessed text uses struct bpf_map_def without defining it. */
static bool lacks_map_def(const char *text)
{
	static const char name[] = "bpf_map_def";
	bool used = false;

	for (const char *p = text; (p = strstr(p, name)); p += sizeof(name) - 1) {
		const char *next = p + sizeof(name) - 1;

		if (!word_at(text, p, sizeof(name) - 1))
			continue;
		while (isspace((unsigned char)*next))
			next++;
		if (*next == '{')
			return false;
		used = true;
	}
	return used;
}

static int need_compat(struct job *j)
{
	int err;

	if (j->cache[0]) {
		snprintf(j->compat, sizeof(j->compat), "%.100s/bpf_map_def.h", j->cache);
		if (strlen(j->cache) <= 100 &&
		    (!access(j->compat, R_OK) ||
		     !write_file(j->compat, compat_header, sizeof(compat_header) - 1)))
			return 0;
	}
	err = make_tmp(j);
	if (err)
		return err;
	snprintf(j->compat, sizeof(j->compat), "%s/compat.h", j->tmp);
	err = write_file(j->compat, compat_header, sizeof(compat_header) - 1);
	return err ? skep_fail(j->err, err, NULL, "%s: %s", j->compat, strerror(-err)) : 0;
}

/* A directive without its #, which compilers take for a type: the line that it is in. */
static const char *lost_directive(const char *diagnostics, char *buf, size_t size)
{
	static const char *const words[] = {"include", "define", "ifdef", "ifndef",
					    "endif",   "pragma", "undef"};
	static const char mark[] = "unknown type name '";

	for (const char *p = diagnostics; p && (p = strstr(p, mark)); p++) {
		const char *word = p + sizeof(mark) - 1, *line = p;
		unsigned number = 0;

		while (line > diagnostics && line[-1] != '\n')
			line--;
		for (const char *c = line; c < p && !number; c++)
			if (*c == ':')
				number = (unsigned)strtoul(c + 1, NULL, 10);
		for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
			size_t n = strlen(words[i]);

			if (strncmp(word, words[i], n) != 0 || word[n] != '\'')
				continue;
			snprintf(buf, size,
				 "Line %u: directives of the preprocessor begin with #: write "
				 "#%s.",
				 number, words[i]);
			return buf;
		}
	}
	return NULL;
}

static int compiler_failed(struct job *j, int status)
{
	char hint[128];

	if (status < 0)
		return skep_fail(j->err, status, install_clang, "%s can't be started: %s", j->cc,
				 strerror(-status));
	if (status > 128)
		return skep_fail(j->err, -EINVAL, NULL, "%s was ended by signal %d", j->cc,
				 status - 128);
	return skep_fail(j->err, -EINVAL, lost_directive(j->diagnostics, hint, sizeof(hint)),
			 "%s does not compile", j->source);
}

static int preprocess_once(struct job *j, char **text, size_t *len)
{
	struct skep_args a = {{NULL}, 0};
	int status;

	add(&a, j->cc);
	add_flags(j, &a);
	add(&a, "-E");
	add(&a, j->source);
	free(j->diagnostics);
	status = skep_tool_run(&a, text, len, &j->diagnostics);
	return status ? compiler_failed(j, status) : 0;
}

static int preprocess(struct job *j, char **text, size_t *len)
{
	int err = preprocess_once(j, text, len);

	if (err && j->diagnostics && strstr(j->diagnostics, "vmlinux.h") && !j->types_dir[0]) {
		free(*text);
		*text = NULL;
		err = make_types(j);
		if (!err)
			err = preprocess_once(j, text, len);
	}
	if (!err && *text && lacks_map_def(*text)) {
		free(*text);
		*text = NULL;
		err = need_compat(j);
		if (!err)
			err = preprocess_once(j, text, len);
	}
	return err;
}

static void cache_key(struct job *j, const char *text, size_t len, char key[33])
{
	struct skep_args a = {{NULL}, 0};
	struct skep_digest d;
	char cwd[512];

	skep_digest_init(&d);
	add_flags(j, &a);
	for (int i = 0; i < a.n; i++)
		skep_digest_add(&d, a.v[i], strlen(a.v[i]));
	skep_digest_add(&d, SKEP_VERSION, strlen(SKEP_VERSION));
	skep_digest_add(&d, j->cc, strlen(j->cc));
	skep_digest_add(&d, j->version, strlen(j->version));
	/* Names of files and of the folder stand in the object's line information. */
	skep_digest_add(&d, j->source, strlen(j->source));
	if (getcwd(cwd, sizeof(cwd)))
		skep_digest_add(&d, cwd, strlen(cwd));
	skep_digest_add(&d, text, len);
	skep_digest_text(&d, key);
}

/* ---- Sections that bear the name of what they hold ---- */

/* Collects names from diagnostics: "symbol 'NAME' is already defined", with gas's `NAME'. */
struct names {
	char v[32][128];
	int n;
};

static void clashes(const char *diag, struct names *out)
{
	for (const char *p = diag; (p = strstr(p, "symbol ")); p++) {
		const char *s = p + 7, *e;
		size_t n;
		int i;

		if (*s != '\'' && *s != '`')
			continue;
		e = strchr(++s, '\'');
		if (!e || strncmp(e, "' is already defined", 20) != 0)
			continue;
		n = (size_t)(e - s);
		for (i = 0; i < out->n; i++)
			if (!strncmp(out->v[i], s, n) && !out->v[i][n])
				break;
		if (i < out->n || n >= sizeof(out->v[0]) || out->n == 32)
			continue;
		memcpy(out->v[out->n], s, n);
		out->v[out->n++][n] = 0;
	}
}

/* Renames the section NAME to NAME~skep in LLVM IR (section "NAME") or assembly (.section NAME,). */
static void rename_sections(const char *in, const struct names *names, bool gcc, struct text *out)
{
	const char *mark = gcc ? ".section\t" : "section \"", *p;
	char end = gcc ? ',' : '"';

	for (; (p = strstr(in, mark)); in = p) {
		const char *e;

		p += strlen(mark);
		text_add(out, in, (size_t)(p - in));
		e = strchr(p, end);
		for (int i = 0; e && i < names->n; i++) {
			size_t n = strlen(names->v[i]);

			if ((size_t)(e - p) != n || strncmp(p, names->v[i], n) != 0)
				continue;
			if (gcc)
				text_add(out, "\"", 1);
			text_add(out, p, n);
			text_add(out, SUFFIX, sizeof(SUFFIX) - 1);
			if (gcc)
				text_add(out, "\"", 1);
			p = e;
			break;
		}
	}
	text_add(out, in, strlen(in));
}

/* Cuts the suffix off wherever it ends a string: in section names, and in BTF, whose names of
 * sections must agree. What is left behind the NUL is unused space of the string table. */
static void cut_suffix(uint8_t *image, size_t size)
{
	for (size_t i = 0; i + sizeof(SUFFIX) <= size; i++)
		if (image[i] == SUFFIX[0] && !memcmp(image + i, SUFFIX, sizeof(SUFFIX)))
			image[i] = 0;
}

static int own_section(struct job *j, const struct names *names, const char *object)
{
	struct skep_args to = {{NULL}, 0}, from = {{NULL}, 0};
	struct text t = {0};
	char *ir = NULL, *diag = NULL;
	char path[96];
	int r;

	snprintf(path, sizeof(path), "%s/%s", j->tmp, j->gcc ? "in.s" : "in.ll");
	add(&to, j->cc);
	add_flags(j, &to);
	if (!j->gcc) {
		/* The passes run once, on the way from IR to the object. */
		add(&to, "-emit-llvm");
		add(&to, "-Xclang");
		add(&to, "-disable-llvm-passes");
	}
	add(&to, "-S");
	add(&to, "-o");
	add(&to, "-");
	add(&to, j->source);
	free(j->diagnostics);
	r = skep_tool_run(&to, &ir, NULL, &j->diagnostics);
	if (r) {
		r = compiler_failed(j, r);
		goto out;
	}
	rename_sections(ir, names, j->gcc, &t);
	r = t.failed ? -ENOMEM : write_file(path, t.p, t.len);
	if (r) {
		skep_fail(j->err, r, NULL, "%s: %s", path, strerror(-r));
		goto out;
	}
	add(&from, j->cc);
	if (j->gcc) {
		add(&from, "-mcpu=v3");
	} else {
		add(&from, "-O2");
		add(&from, "-target");
		add(&from, "bpf");
		add(&from, "-mcpu=v3");
	}
	add(&from, "-c");
	add(&from, "-o");
	add(&from, object);
	add(&from, path);
	r = skep_tool_run(&from, NULL, NULL, &diag);
	if (r) {
		free(j->diagnostics);
		j->diagnostics = diag;
		diag = NULL;
		r = compiler_failed(j, r);
	}
out:
	free(ir);
	free(diag);
	free(t.p);
	return r;
}

static int compile(struct job *j, struct skep_compiled *out)
{
	struct skep_args a = {{NULL}, 0};
	struct names names = {.n = 0};
	char object[96];
	int r = make_tmp(j);

	if (r)
		return r;
	snprintf(object, sizeof(object), "%s/out.o", j->tmp);
	add(&a, j->cc);
	add_flags(j, &a);
	add(&a, "-c");
	add(&a, "-o");
	add(&a, object);
	add(&a, j->source);
	free(j->diagnostics);
	r = skep_tool_run(&a, NULL, NULL, &j->diagnostics);
	if (r > 0 && j->diagnostics)
		clashes(j->diagnostics, &names);
	r = names.n ? own_section(j, &names, object) : r ? compiler_failed(j, r) : 0;
	if (r)
		return r;
	r = skep_client_read(object, &out->image, &out->size, j->err);
	if (!r && names.n)
		cut_suffix(out->image, out->size);
	return r;
}

/* ---- All of it ---- */

static bool from_cache(struct job *j, const char *key, struct skep_compiled *out)
{
	char path[600];
	size_t len;

	if (!j->cache[0])
		return false;
	snprintf(path, sizeof(path), "%s/%s.o", j->cache, key);
	if (skep_client_read(path, &out->image, &out->size, NULL))
		return false;
	snprintf(path, sizeof(path), "%s/%s.txt", j->cache, key);
	if (!access(path, R_OK)) {
		void *text;

		if (!skep_client_read(path, &text, &len, NULL)) {
			free(j->diagnostics);
			j->diagnostics = strndup(text, len);
			free(text);
		}
	}
	out->cached = true;
	return true;
}

static void to_cache(struct job *j, const char *key, const struct skep_compiled *out)
{
	char path[600];

	if (!j->cache[0])
		return;
	if (j->diagnostics && j->diagnostics[0]) {
		snprintf(path, sizeof(path), "%s/%s.txt", j->cache, key);
		if (write_file(path, j->diagnostics, strlen(j->diagnostics)))
			return;
	}
	snprintf(path, sizeof(path), "%s/%s.o", j->cache, key);
	/* A cache that can't be written is no reason to fail. */
	(void)write_file(path, out->image, out->size);
}

int skep_compile(const char *source, const struct skep_compile_opts *opts,
		 struct skep_compiled *out, struct skep_error *err)
{
	struct job j = {.source = source, .opts = opts, .err = err};
	char *text = NULL, key[33];
	size_t len = 0;
	void *probe;
	int r;

	memset(out, 0, sizeof(*out));
	/* What can't be read is said here, in our words. */
	r = skep_client_read(source, &probe, &len, err);
	if (r)
		return r;
	free(probe);
	find_cache(&j);
	r = find_compiler(&j);
	if (!r)
		r = preprocess(&j, &text, &len);
	if (!r) {
		cache_key(&j, text, len, key);
		if (!from_cache(&j, key, out)) {
			r = compile(&j, out);
			if (!r)
				to_cache(&j, key, out);
		}
	}
	out->diagnostics = j.diagnostics;
	remove_tmp(&j);
	free(text);
	free(j.version);
	return r;
}

void skep_compiled_free(struct skep_compiled *out)
{
	free(out->image);
	free(out->diagnostics);
	memset(out, 0, sizeof(*out));
}
