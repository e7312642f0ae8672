/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Driving the skep command from tests: a folder of its own, captures, runs, JSON.
 */
#ifndef TEST_CMD_H
#define TEST_CMD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* ---- The folder: made on first use, removed by cmd_cleanup() ---- */
const char *cmd_dir(void);
/* Path of a file in the folder, in a buffer that lives until cmd_cleanup(). */
const char *cmd_path(const char *name);
/* Writes a file in the folder and returns its path. */
const char *cmd_file(const char *name, const void *data, size_t len);
const char *cmd_text(const char *name, const char *text);
/* The repository's root, where the examples are. */
const char *cmd_root(void);
/* The folder of the build, where the command is. */
const char *cmd_build(void);
void cmd_cleanup(void);
/* The same for cmocka's groups. */
int cmd_setup(void **cmocka);
int cmd_teardown(void **cmocka);

/* ---- Runs ---- */
struct cmd_result {
	int status; /* exit status; 128 + signal if it was killed */
	char *out, *err; /* NUL-terminated; valid until the next run */
	size_t out_len;
};
/* Runs `skep WORDS`: words are split at spaces; "%s" in them takes the arguments, which are
 * one word each. */
const struct cmd_result *skep_cmd(const char *words, ...) __attribute__((format(printf, 1, 2)));
/* Starts it and lets nobody see what it says; the caller waits for it. */
pid_t skep_start(const char *words, ...) __attribute__((format(printf, 1, 2)));

/* Whether bpf(2) of the kernel may be used. */
bool cmd_kernel(void);

/* ---- Captures ---- */
struct frames;
/* Starts a pcap file (nanosecond stamps) of that name in the folder. */
struct frames *frames_open(const char *name);
void frames_add(struct frames *f, const void *data, uint32_t len, uint64_t ns);
/* An Ethernet frame of 60 bytes or more, IPv4; flags are TCP's; ports for TCP and UDP. */
void frames_ipv4(struct frames *f, uint8_t proto, uint32_t src, uint32_t dst, uint16_t sport,
		 uint16_t dport, uint8_t tcp_flags);
/* Returns the path. */
const char *frames_close(struct frames *f);
#define TCP_SYN 0x02
#define TCP_ACK 0x10

/* ---- JSON: just enough to look values up; fails the test on malformed text ---- */
struct json_value;
/* Whole text, with nothing but white space behind. Freed by cmd_cleanup() or the next parse. */
const struct json_value *json_parse(const char *text);
/* "maps.hits.0.value": members by name, elements by number ("\\." is a dot in a name). NULL if absent. */
const struct json_value *json_at(const struct json_value *v, const char *path);
/* The number at path; fails if there is none. */
double json_number(const struct json_value *v, const char *path);
const char *json_string(const struct json_value *v, const char *path);
bool json_true(const struct json_value *v, const char *path);
/* Elements of the list, or members of the object, at path. */
size_t json_count(const struct json_value *v, const char *path);

#endif
