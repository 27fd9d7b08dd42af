// The hot path: one crossing to receive, one to send and return.
#ifndef FASTSYN_BURST_H
#define FASTSYN_BURST_H

#include <stdint.h>

#include <rte_mbuf.h>
#include <rte_mempool.h>

enum { FS_BURST = 64, FS_STOCK = 128 };

// Bits of fs_frame.flags on the way in. The first four are dataplane.MetaFlags.
enum {
	FS_HASH = 1 << 0,
	FS_CSUM_GOOD = 1 << 1,
	FS_CSUM_BAD = 1 << 2,
	FS_VLAN = 1 << 3,
};

// Bits of fs_frame.flags on the way out.
enum {
	FS_SEND = 1 << 0, // else free
	FS_KEEP = 1 << 1, // neither
	FS_TX_CSUM = 1 << 2,
	FS_TX_VLAN = 1 << 3, // put the tag in vlan into a frame that has none
};

// fs_frame is one frame between C and Go.
struct fs_frame {
	uint64_t mbuf; // struct rte_mbuf *
	uint8_t *data; // first byte of the Ethernet header
	uint32_t len;
	uint32_t cap; // bytes from data to the end of the buffer
	uint32_t hash;
	uint16_t vlan;
	uint16_t flags;
};

// fs_queue belongs to the thread that polls the queue, but for paused, busy
// and what is constant.
struct fs_queue {
	uint16_t port, id;
	uint32_t max_len; // longest frame sent
	struct rte_mempool *pool, *jumbo;

	uint32_t paused; // not 0: touch nothing of the device; set by other threads
	uint32_t busy;	 // set while inside the device's functions

	uint32_t nstock;
	uint64_t rx_copied;   // frames of several segments, or shared, copied into one
	uint64_t rx_oversize; // longer than any buffer, or no buffer to copy to
	uint64_t tx_full, tx_errors, tx_bytes;

	struct fs_frame in[FS_BURST];	  // received
	struct fs_frame out[FS_BURST];	  // to settle
	struct fs_frame stock[FS_STOCK];  // empty frames, the next one last
	struct rte_mbuf *rx[FS_BURST], *tx[FS_BURST], *drop[FS_BURST];
};

// fs_rx makes n frames in q->rx, put there by the caller, and what the device
// has received, up to FS_BURST together, visible in q->in. It returns their number, and tops up the stock.
uint32_t fs_rx(struct fs_queue *q, uint32_t n);

// fs_settle sends, frees and keeps the first n frames of q->out. It returns the
// number of those to be sent that did not find the ring full.
uint32_t fs_settle(struct fs_queue *q, uint32_t n);

// fs_refill fills the stock up to want frames, if the pool has them.
void fs_refill(struct fs_queue *q, uint32_t want);

// fs_free frees one frame that is in no batch.
void fs_free(uint64_t mbuf);

// fs_unstock frees the stock.
void fs_unstock(struct fs_queue *q);

// fs_pause keeps the datapath away from the device until fs_resume. It returns
// when nobody is inside. Pauses add up.
void fs_pause(struct fs_queue *q);
void fs_resume(struct fs_queue *q);

// fs_track has q paused while DPDK's interrupt thread handles events, until
// fs_untrack: for drivers that change under the datapath. -1 when there are too many.
int fs_track(struct fs_queue *q);
void fs_untrack(struct fs_queue *q);

#endif
