/* SPDX-License-Identifier: Apache-2.0 */
/* Running a trace: load, attach, enter processes, show what comes, leave. */
#include "trace.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "events.h"
#include "maps.h"
#include "out.h"
#include "set.h"
#include "tracepipe.h"
#include "trace/trace.h"

#define STEP_MS 20

static volatile sig_atomic_t stop;

static void on_signal(int sig)
{
	(void)sig;
	stop = 1;
}

/* bpf_printk goes where it does not mix with JSON. */
static void on_printk(void *arg, const char *text, size_t len)
{
	struct trace_cmd *c = arg;
	FILE *f = c->json ? stderr : stdout;

	fwrite(text, 1, len, f);
	if (!len || text[len - 1] != '\n')
		fputc('\n', f);
}

static void on_notice(void *arg, const char *text)
{
	(void)arg;
	complain("%s", text);
}

static int set_elements(struct trace_cmd *c)
{
	struct skep_error why = {{0}, {0}};
	int err = 0;

	for (uint32_t i = 0; i < c->nsets && !err; i++)
		err = set_element(c->s.obj, c->sets[i], &why);
	if (err)
		complain_error(&why);
	return err;
}

/* Addresses become names while their process is there. */
static void on_leaving(void *arg, pid_t pid)
{
	struct trace_cmd *c = arg;

	(void)pid;
	records_take(c->records);
}

static int load(struct trace_cmd *c)
{
	bool told = false;
	char why[1024];
	int err;

	c->s.keep = true;
	err = session_load(&c->s);
	if (!err)
		return set_elements(c);
	for (uint32_t i = 0; i < c->s.nverdicts; i++) {
		const struct verdict *v = &c->s.verdicts[i];

		if (!v->tried || v->accepted)
			continue;
		complain("program %s is refused:", v->name);
		print_refusal(stderr, &c->s, v, color_on(stderr));
		told = true;
	}
	if (!told) {
		session_warnings(why, sizeof(why), err);
		complain("%s can't be loaded: %s", c->s.path, why);
	}
	return err;
}

/* ---- The kernel's runtime: libbpf attaches, to all processes ---- */

static int attach_kernel(struct trace_cmd *c)
{
	char why[1024];

	c->links = calloc(c->s.nverdicts, sizeof(struct bpf_link *));
	if (!c->links)
		return -ENOMEM;
	for (uint32_t i = 0; i < c->s.nverdicts; i++) {
		c->links[i] = bpf_program__attach(session_program(&c->s, i));
		if (!c->links[i]) {
			int e = -errno;

			session_warnings(why, sizeof(why), e);
			complain("program %s can't be attached: %s", c->s.verdicts[i].name, why);
			return e;
		}
	}
	if (tracepipe_wanted(c->s.obj) && tracepipe_open(&c->pipe, true, on_printk, c))
		complain("bpf_printk is not shown: the kernel's trace can't be read");
	return 0;
}

static int start_kernel(struct trace_cmd *c, pid_t *pid)
{
	*pid = fork();
	if (!*pid) {
		execvp(c->command[0], c->command);
		complain("%s: %s", c->command[0], strerror(errno));
		_exit(errno == ENOENT ? 127 : 126);
	}
	return *pid < 0 ? -errno : 0;
}

static int serve_kernel(struct trace_cmd *c, pid_t pid, int *status)
{
	struct timespec ts = {0, STEP_MS * 1000000L};

	tracepipe_take(c->pipe);
	if (pid > 0 && waitpid(pid, status, WNOHANG) == pid)
		return -ECHILD;
	nanosleep(&ts, NULL);
	return 0;
}

static void detach_kernel(struct trace_cmd *c)
{
	for (uint32_t i = 0; c->links && i < c->s.nverdicts; i++)
		bpf_link__destroy(c->links[i]);
	free(c->links);
	c->links = NULL;
	tracepipe_take(c->pipe);
}

/* ---- skep's own ---- */

static int attach(struct trace_cmd *c)
{
	struct skep_trace_opts opts = {.notice = on_notice,
				       .leaving = c->probes.stack ? on_leaving : NULL,
				       .notice_arg = c};
	struct skep_error err = {{0}, {0}};
	int e = skep_trace_open(&c->trace, c->s.skep, &opts, &err);

	if (!e && c->probes.nspecs)
		e = probes_attach(&c->probes, c->trace, c->s.obj, &err);
	for (uint32_t i = 0; i < c->s.nverdicts && !e && !c->probes.nspecs; i++) {
		struct bpf_program *prog = session_program(&c->s, i);
		const char *section = c->s.verdicts[i].section;
		int n;

		if (!strncmp(section, "usdt/", 5))
			n = skep_trace_usdt(
				c->trace, bpf_program__fd(prog),
				bpf_object__find_map_fd_by_name(c->s.obj, "__bpf_usdt_specs"),
				section + 5, &err);
		else
			n = skep_trace_section(c->trace, bpf_program__fd(prog), section, &err);

		e = n < 0 ? n : 0;
	}
	if (e)
		complain_error(&err);
	return e;
}

static void show(struct trace_cmd *c)
{
	struct maps_opts m = {.names = c->nmaps ? c->maps : NULL,
			      .records = c->records,
			      .color = !c->json && color_on(stdout)};
	uint64_t missed = c->trace ? skep_trace_missed(c->trace) : 0;
	struct json j;

	if (c->probes.nspecs)
		missed += probes_lost(&c->probes);
	if (!c->json && c->probes.nspecs) {
		probes_text(&c->probes, stdout);
	} else if (!c->json) {
		maps_text(stdout, c->s.obj, &m);
	} else {
		json_begin(&j, stdout);
		j.line = true;
		json_open(&j, '{');
		json_key(&j, "maps");
		if (c->probes.nspecs) {
			json_open(&j, '{');
			json_close(&j, '}');
			probes_json(&c->probes, &j);
		} else {
			maps_json(&j, c->s.obj, &m);
		}
		json_key(&j, "missed");
		json_u64(&j, missed);
		json_close(&j, '}');
		json_end(&j);
	}
	if (missed)
		complain("%llu events were missed", (unsigned long long)missed);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static bool any_alive(const struct trace_cmd *c)
{
	for (uint32_t i = 0; i < c->npids; i++)
		if (!kill(c->pids[i], 0) || errno == EPERM)
			return true;
	return false;
}

static void on_record(void *arg, const struct bpf_map *map, const void *data, uint32_t len)
{
	struct trace_cmd *c = arg;

	if (c->probes.nspecs)
		probes_event(&c->probes, data, len);
	else
		event_write(c->s.obj, map, data, len, c->json);
}

static int run(struct trace_cmd *c)
{
	struct sigaction sa = {.sa_handler = on_signal};
	struct skep_error err = {{0}, {0}};
	uint64_t start;
	int e = 0, status = 0;
	pid_t pid = 0;

	records_live(c->records, on_record, c);
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	if (c->command)
		e = c->s.kernel ? start_kernel(c, &pid)
				: skep_trace_start(c->trace, c->command, &pid, &err);
	for (uint32_t i = 0; i < c->npids && !e && !c->s.kernel; i++)
		e = skep_trace_enter(c->trace, c->pids[i], &err);
	if (e) {
		complain_error(&err);
		return EXIT_REFUSED;
	}
	start = now_ns(); /* entering may take long */
	/* The terminal's Ctrl-C reaches the command as well: its end is the end. */
	while (!e && (c->command || !stop)) {
		e = c->s.kernel ? serve_kernel(c, pid, &status)
				: skep_trace_serve(c->trace, STEP_MS, &status);
		records_take(c->records);
		probes_tick(&c->probes, false);
		fflush(stdout);
		if (c->duration_ns && now_ns() - start > c->duration_ns)
			break;
		if (c->npids && !any_alive(c))
			break;
	}
	if (c->s.kernel)
		detach_kernel(c);
	else
		skep_trace_detach(c->trace);
	records_take(c->records);
	probes_tick(&c->probes, true);
	show(c);
	if (!c->command || e != -ECHILD)
		return EXIT_OK;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int trace_main(struct trace_cmd *c)
{
	int status = EXIT_REFUSED, e;

	c->s.printk = on_printk;
	c->s.printk_arg = c;
	if (c->probes.nspecs) {
		c->s.path = "probe.bpf.o";
		c->s.builtin = skep_bpf_object_probe;
		c->s.builtin_size =
			(uintptr_t)skep_bpf_object_probe_end - (uintptr_t)skep_bpf_object_probe;
	}
	if (!session_open(&c->s) && !load(c)) {
		e = records_open(&c->records, c->s.obj);
		if (e)
			complain("the ring buffers can't be mapped: %s", strerror(-e));
		else if (!(c->s.kernel ? attach_kernel(c) : attach(c)))
			status = run(c);
	}
	skep_trace_close(c->trace);
	detach_kernel(c);
	tracepipe_close(c->pipe);
	records_close(c->records);
	probes_free(&c->probes);
	session_close(&c->s);
	return status;
}
