// Set-up of ethdevs: thin functions that take and fill plain structs, so that
// Go sees neither bit fields nor unions.
#ifndef FASTSYN_ETHDEV_H
#define FASTSYN_ETHDEV_H

#include <stdint.h>

#include <rte_mempool.h>

// fs_facts is what rte_eth_dev_info_get, rte_eth_link_get and others say.
struct fs_facts {
	const char *driver, *bus;
	char name[64];
	uint8_t mac[6];
	int numa;
	int link_up;
	uint32_t link_mbps;
	uint16_t mtu, min_mtu, max_mtu;
	uint16_t max_rx_queues, max_tx_queues;
	uint16_t rx_desc_min, rx_desc_max, rx_desc_align;
	uint16_t tx_desc_min, tx_desc_max, tx_desc_align;
	uint64_t rss_types;
	uint16_t reta_size;
	uint8_t key_size;
	uint64_t rx_offloads, tx_offloads;
	uint32_t flags; // device flags
	struct rte_device *device;
	// What the running device is configured to, 0 before.
	uint16_t rx_queues, tx_queues;
	uint64_t rx_on, tx_on;
};

// fs_setup says what fs_configure configures.
struct fs_setup {
	uint16_t queues, rx_desc, tx_desc, mtu; // mtu 0: as it is
	uint64_t rx_offloads, tx_offloads;
	uint64_t rss_types; // 0: no RSS
	uint8_t *key;
	uint8_t key_len;
	struct rte_mempool **pool; // one per queue
};

// All functions return 0, or a negative errno.
int fs_probe(const char *devargs, uint16_t *port); // attaches a device
int fs_match(const char *devargs, uint16_t *port); // finds one that is attached
int fs_detach(struct rte_device *device);          // gives a device back whose ports are closed
int fs_facts(uint16_t port, struct fs_facts *f);
int fs_configure(uint16_t port, const struct fs_setup *s, const char **step);
int fs_watch(uint16_t port); // has fs_gone say when the device was removed
int fs_gone(uint16_t port);
int fs_start(uint16_t port, int promisc);
int fs_stop(uint16_t port);
int fs_close(uint16_t port);

// fs_restart_memif stops a device that runs and starts it. Like all of memif's
// control it is done on the interrupt thread of DPDK, where its driver handles
// what the peer says, without a lock against other threads.
int fs_restart_memif(uint16_t port, int runs);
int fs_end_memif(uint16_t port, int runs); // stops and closes it
int fs_link(uint16_t port, int *up, uint32_t *mbps);
int fs_rss_key(uint16_t port, uint8_t *key, uint8_t *len, uint64_t *types);
int fs_reta_set(uint16_t port, const uint16_t *queue, uint16_t size);
int fs_reta_get(uint16_t port, uint16_t *queue, uint16_t size);

// fs_next returns the first port at or above port, or -1.
int fs_next(int port);

// fs_pool makes a pool of n frames with room bytes behind the headroom. In one that
// threads share, none waits for another that the kernel has interrupted inside the
// ring: without isolated CPUs workers stood still for seconds at a time.
struct rte_mempool *fs_pool(const char *name, uint32_t n, uint32_t room, int numa, int shared);

// fs_stats are those of rte_eth_stats_get.
struct fs_stats {
	uint64_t missed, no_mbuf, rx_errors, tx_errors;
};
int fs_stats(uint16_t port, struct fs_stats *s);

// Extended statistics: names are 64 bytes each; returns their number, or the number needed.
int fs_xstats(uint16_t port, char *names, uint64_t *values, int n);

// fs_wire makes two ports that are the two ends of a wire of rings.
int fs_wire(const char *name, uint16_t queues, uint32_t slots, int numa, uint16_t port[2], void **rings);
void fs_wire_free(void *rings);

_Bool fs_valid(uint16_t port);
_Bool fs_started(uint16_t port);
unsigned fs_room(struct rte_mempool *pool); // of a frame, behind the headroom

int fs_errno(void); // rte_errno of the calling thread

const char *fs_rx_offload(uint64_t bit);
const char *fs_tx_offload(uint64_t bit);

#endif
