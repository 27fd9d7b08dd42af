//go:build dpdk && cgo && linux

// Some drivers change under the datapath. memif unmaps the rings it shares with
// its peer from DPDK's interrupt thread at the moment the peer dies, while the
// worker may be reading them: a crash that dpdk-testpmd has as well. It marks the
// device as disconnected first, so it is enough that unmapping waits until every
// queue has been outside of its driver once. RCU users will know the pattern.

#define _GNU_SOURCE
#include "burst.h"

#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MAX_QUEUES = 1024 };

static struct {
	pthread_mutex_t lock;
	struct fs_queue *queue[MAX_QUEUES];
	int high; // one above the highest slot ever used
} all = {.lock = PTHREAD_MUTEX_INITIALIZER};

int fs_track(struct fs_queue *q)
{
	int done = -1;
	pthread_mutex_lock(&all.lock);
	for (int i = 0; i < MAX_QUEUES && done < 0; i++) {
		if (all.queue[i] == NULL) {
			__atomic_store_n(&all.queue[i], q, __ATOMIC_SEQ_CST);
			if (i >= all.high)
				__atomic_store_n(&all.high, i + 1, __ATOMIC_SEQ_CST);
			done = 0;
		}
	}
	pthread_mutex_unlock(&all.lock);
	return done;
}

void fs_untrack(struct fs_queue *q)
{
	pthread_mutex_lock(&all.lock);
	for (int i = 0; i < all.high; i++)
		if (all.queue[i] == q)
			__atomic_store_n(&all.queue[i], NULL, __ATOMIC_SEQ_CST);
	pthread_mutex_unlock(&all.lock);
}

__thread struct fs_queue *fs_inside;

static void until_outside(struct fs_queue *q)
{
	while (__atomic_load_n(&q->busy, __ATOMIC_SEQ_CST) != 0)
		sched_yield();
}

// munmap takes the place of the C library's for DPDK and its drivers, which are
// linked against this program.
__attribute__((visibility("default"))) int munmap(void *addr, size_t len)
{
	if (fs_inside == NULL && __atomic_load_n(&all.high, __ATOMIC_SEQ_CST) != 0) {
		pthread_mutex_lock(&all.lock);
		for (int i = 0; i < all.high; i++)
			if (all.queue[i] != NULL)
				until_outside(all.queue[i]);
		pthread_mutex_unlock(&all.lock);
	}
	return (int)syscall(SYS_munmap, addr, len);
}

void fs_pause(struct fs_queue *q)
{
	__atomic_store_n(&q->paused, 1, __ATOMIC_SEQ_CST);
	until_outside(q);
}

void fs_resume(struct fs_queue *q) { __atomic_store_n(&q->paused, 0, __ATOMIC_SEQ_CST); }
