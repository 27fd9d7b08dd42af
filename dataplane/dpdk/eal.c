//go:build dpdk && cgo && linux

#define _GNU_SOURCE
#include "eal.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_log.h>

// What DPDK logs goes here instead of to standard error, so that an error can
// say why, and nothing else is printed over the output of a command.
static struct {
	pthread_mutex_t lock;
	size_t len;
	char text[16 << 10];
} kept = {.lock = PTHREAD_MUTEX_INITIALIZER};

static ssize_t keep(void *cookie, const char *buf, size_t n)
{
	(void)cookie;
	size_t all = n;
	pthread_mutex_lock(&kept.lock);
	if (n > sizeof kept.text) {
		buf += n - sizeof kept.text;
		n = sizeof kept.text;
	}
	if (kept.len + n > sizeof kept.text) {
		size_t drop = kept.len + n - sizeof kept.text;
		memmove(kept.text, kept.text + drop, kept.len - drop);
		kept.len -= drop;
	}
	memcpy(kept.text + kept.len, buf, n);
	kept.len += n;
	pthread_mutex_unlock(&kept.lock);
	return (ssize_t)all;
}

size_t fs_log_take(char *dst, size_t n)
{
	pthread_mutex_lock(&kept.lock);
	size_t skip = kept.len > n - 1 ? kept.len - (n - 1) : 0;
	size_t len = kept.len - skip;
	memcpy(dst, kept.text + skip, len);
	dst[len] = 0;
	kept.len = 0;
	pthread_mutex_unlock(&kept.lock);
	return len;
}

int fs_eal_init(int argc, char **argv)
{
	FILE *f = fopencookie(NULL, "w", (cookie_io_functions_t){.write = keep});
	if (f != NULL) {
		setvbuf(f, NULL, _IOLBF, 0);
		rte_openlog_stream(f);
	}
	if (rte_eal_init(argc, argv) < 0)
		return rte_errno > 0 ? -rte_errno : -EIO;
	return 0;
}
