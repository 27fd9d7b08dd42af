//go:build dpdk && cgo && linux

// Some drivers change under the datapath. memif unmaps the rings it shares with
// its peer from DPDK's interrupt thread at the moment the peer dies, while a
// worker may be reading them: a crash that dpdk-testpmd has as well. So the
// datapath stays outside of such drivers while that thread handles events. These
// are rare, and the worker sees an idle device for some microseconds.

#define _GNU_SOURCE
#include "burst.h"

#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MAX_QUEUES = 1024 };

static struct {
	pthread_mutex_t lock;
	struct fs_queue *queue[MAX_QUEUES];
	int handling; // the interrupt thread is not waiting for events
} fragile = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void pause_queue(struct fs_queue *q)
{
	__atomic_add_fetch(&q->paused, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&q->busy, __ATOMIC_SEQ_CST) != 0)
		sched_yield();
}

void fs_pause(struct fs_queue *q) { pause_queue(q); }

void fs_resume(struct fs_queue *q) { __atomic_sub_fetch(&q->paused, 1, __ATOMIC_SEQ_CST); }

int fs_track(struct fs_queue *q)
{
	int done = -1;
	pthread_mutex_lock(&fragile.lock);
	for (int i = 0; i < MAX_QUEUES && done < 0; i++)
		if (fragile.queue[i] == NULL) {
			fragile.queue[i] = q;
			if (fragile.handling)
				pause_queue(q);
			done = 0;
		}
	pthread_mutex_unlock(&fragile.lock);
	return done;
}

void fs_untrack(struct fs_queue *q)
{
	pthread_mutex_lock(&fragile.lock);
	for (int i = 0; i < MAX_QUEUES; i++)
		if (fragile.queue[i] == q)
			fragile.queue[i] = NULL;
	pthread_mutex_unlock(&fragile.lock);
}

static void handling(int on)
{
	pthread_mutex_lock(&fragile.lock);
	if (fragile.handling != on) {
		fragile.handling = on;
		for (int i = 0; i < MAX_QUEUES; i++)
			if (fragile.queue[i] != NULL) {
				if (on)
					pause_queue(fragile.queue[i]);
				else
					fs_resume(fragile.queue[i]);
			}
	}
	pthread_mutex_unlock(&fragile.lock);
}

// is_interrupt_thread knows the thread by its name, eal-intr-thread in 22.11 and
// dpdk-intr since 23.11.
static int is_interrupt_thread(void)
{
	static __thread int is = -1;
	char name[16];
	if (is < 0)
		is = pthread_getname_np(pthread_self(), name, sizeof name) == 0 &&
		     (strcmp(name, "eal-intr-thread") == 0 || strcmp(name, "dpdk-intr") == 0);
	return is;
}

// epoll_wait takes the place of the C library's for DPDK, which is linked
// against this program: its interrupt thread waits here for the next events,
// and has handled the last ones when it comes back.
__attribute__((visibility("default"))) int epoll_wait(int fd, struct epoll_event *events, int max, int timeout)
{
	if (!is_interrupt_thread())
		return (int)syscall(SYS_epoll_wait, fd, events, max, timeout);
	handling(0);
	int n = (int)syscall(SYS_epoll_wait, fd, events, max, timeout);
	if (n > 0)
		handling(1);
	return n;
}
