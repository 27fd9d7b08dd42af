//go:build dpdk && cgo && linux

#define ALLOW_EXPERIMENTAL_API // rte_eth_dev_conf_get, stable since 23.11
#include "ethdev.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_alarm.h>
#include <rte_bus.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_eth_ring.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_ring.h>
#include <rte_version.h>

#if RTE_VERSION >= RTE_VERSION_NUM(22, 11, 0, 0)
#define DEV_NAME(d) rte_dev_name(d)
#define DEV_BUS(d) rte_bus_name(rte_dev_bus(d))
#else
#error "fastsyn needs DPDK 22.11 or newer"
#endif

int fs_match(const char *devargs, uint16_t *port)
{
	struct rte_dev_iterator it;
	uint16_t id;
	RTE_ETH_FOREACH_MATCHING_DEV(id, devargs, &it)
	{
		*port = id;
		rte_eth_iterator_cleanup(&it);
		return 0;
	}
	return -ENODEV;
}

int fs_probe(const char *devargs, uint16_t *port)
{
	int ret = rte_dev_probe(devargs);
	return ret < 0 ? ret : fs_match(devargs, port);
}

int fs_close(uint16_t port) { return rte_eth_dev_close(port); }

int fs_stop(uint16_t port) { return rte_eth_dev_stop(port); }

int fs_detach(struct rte_device *device)
{
	if (device == NULL) // rings made by hand have none
		return 0;
	int ret = rte_dev_remove(device);
	return ret == -ENOTSUP || ret == -ENOENT ? 0 : ret;
}

// job is something to do on the interrupt thread.
struct job {
	int (*fn)(uint16_t port, int runs);
	uint16_t port;
	int runs, ret, done;
	pthread_mutex_t lock;
	pthread_cond_t cond;
};

static void run_job(void *arg)
{
	struct job *j = arg;
	int ret = j->fn(j->port, j->runs);
	pthread_mutex_lock(&j->lock);
	j->ret = ret;
	j->done = 1;
	pthread_cond_signal(&j->cond);
	pthread_mutex_unlock(&j->lock);
}

static int on_interrupt_thread(int (*fn)(uint16_t, int), uint16_t port, int runs)
{
	struct job j = {.fn = fn, .port = port, .runs = runs, .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
	int ret = rte_eal_alarm_set(1, run_job, &j);
	if (ret < 0)
		return ret;
	pthread_mutex_lock(&j.lock);
	while (!j.done)
		pthread_cond_wait(&j.cond, &j.lock);
	pthread_mutex_unlock(&j.lock);
	return j.ret;
}

static int restart_memif(uint16_t port, int runs)
{
	if (runs)
		rte_eth_dev_stop(port);
	return rte_eth_dev_start(port);
}

static int end_memif(uint16_t port, int runs)
{
	if (runs)
		rte_eth_dev_stop(port);
	return rte_eth_dev_close(port);
}

int fs_restart_memif(uint16_t port, int runs) { return on_interrupt_thread(restart_memif, port, runs); }

int fs_end_memif(uint16_t port, int runs) { return on_interrupt_thread(end_memif, port, runs); }

int fs_facts(uint16_t port, struct fs_facts *f)
{
	struct rte_eth_dev_info info;
	memset(f, 0, sizeof *f);
	int ret = rte_eth_dev_info_get(port, &info);
	if (ret < 0)
		return ret;
	f->driver = info.driver_name;
	f->device = info.device;
	f->bus = "";
	if (info.device != NULL && rte_dev_bus(info.device) != NULL)
		f->bus = rte_bus_name(rte_dev_bus(info.device));
	if ((ret = rte_eth_dev_get_name_by_port(port, f->name)) < 0)
		return ret;
	struct rte_ether_addr mac;
	if (rte_eth_macaddr_get(port, &mac) == 0)
		memcpy(f->mac, mac.addr_bytes, 6);
	f->numa = rte_eth_dev_socket_id(port);
	fs_link(port, &f->link_up, &f->link_mbps);
	rte_eth_dev_get_mtu(port, &f->mtu);
	f->min_mtu = info.min_mtu;
	f->max_mtu = info.max_mtu;
	f->max_rx_queues = info.max_rx_queues;
	f->max_tx_queues = info.max_tx_queues;
	f->rx_desc_min = info.rx_desc_lim.nb_min;
	f->rx_desc_max = info.rx_desc_lim.nb_max;
	f->rx_desc_align = info.rx_desc_lim.nb_align;
	f->tx_desc_min = info.tx_desc_lim.nb_min;
	f->tx_desc_max = info.tx_desc_lim.nb_max;
	f->tx_desc_align = info.tx_desc_lim.nb_align;
	f->rss_types = info.flow_type_rss_offloads;
	f->reta_size = info.reta_size;
	f->key_size = info.hash_key_size;
	f->rx_offloads = info.rx_offload_capa;
	f->tx_offloads = info.tx_offload_capa;
	f->flags = info.dev_flags == NULL ? 0 : *info.dev_flags;
	f->rx_queues = info.nb_rx_queues;
	f->tx_queues = info.nb_tx_queues;
	struct rte_eth_conf conf;
	if (info.nb_rx_queues != 0 && rte_eth_dev_conf_get(port, &conf) == 0) {
		f->rx_on = conf.rxmode.offloads;
		f->tx_on = conf.txmode.offloads;
	}
	return 0;
}

int fs_configure(uint16_t port, const struct fs_setup *s, const char **step)
{
	struct rte_eth_conf conf;
	struct rte_eth_dev_info info;
	int ret;
	memset(&conf, 0, sizeof conf);
	*step = "reading the device";
	if ((ret = rte_eth_dev_info_get(port, &info)) < 0)
		return ret;
	conf.rxmode.offloads = s->rx_offloads;
	conf.txmode.offloads = s->tx_offloads;
	if (s->mtu != 0)
		conf.rxmode.mtu = s->mtu;
	if (s->rss_types != 0) {
		conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
		conf.rx_adv_conf.rss_conf.rss_hf = s->rss_types;
		conf.rx_adv_conf.rss_conf.rss_key = s->key;
		conf.rx_adv_conf.rss_conf.rss_key_len = s->key_len;
	}
	if (info.dev_flags != NULL && *info.dev_flags & RTE_ETH_DEV_INTR_RMV)
		conf.intr_conf.rmv = 1;
	*step = "configuring";
	if ((ret = rte_eth_dev_configure(port, s->queues, s->queues, &conf)) < 0)
		return ret;
	*step = "setting the MTU";
	if (s->mtu != 0 && (ret = rte_eth_dev_set_mtu(port, s->mtu)) < 0 && ret != -ENOTSUP)
		return ret;
	uint16_t rx = s->rx_desc, tx = s->tx_desc;
	*step = "choosing descriptors";
	if ((ret = rte_eth_dev_adjust_nb_rx_tx_desc(port, &rx, &tx)) < 0)
		return ret;
	for (uint16_t q = 0; q < s->queues; q++) {
		struct rte_eth_rxconf rxc = info.default_rxconf;
		struct rte_eth_txconf txc = info.default_txconf;
		rxc.offloads = s->rx_offloads;
		txc.offloads = s->tx_offloads;
		*step = "making a receive queue";
		if ((ret = rte_eth_rx_queue_setup(port, q, rx, (unsigned)rte_eth_dev_socket_id(port), &rxc, s->pool[q])) < 0)
			return ret;
		*step = "making a transmit queue";
		if ((ret = rte_eth_tx_queue_setup(port, q, tx, (unsigned)rte_eth_dev_socket_id(port), &txc)) < 0)
			return ret;
	}
	return 0;
}

// gone says of each port number whether its device was removed.
static int gone[RTE_MAX_ETHPORTS];

static int on_removed(uint16_t port, enum rte_eth_event_type type, void *arg, void *ret)
{
	(void)type, (void)arg, (void)ret;
	__atomic_store_n(&gone[port], 1, __ATOMIC_SEQ_CST);
	return 0;
}

int fs_watch(uint16_t port)
{
	gone[port] = 0;
	return rte_eth_dev_callback_register(port, RTE_ETH_EVENT_INTR_RMV, on_removed, NULL);
}

int fs_gone(uint16_t port) { return __atomic_load_n(&gone[port], __ATOMIC_SEQ_CST); }

int fs_start(uint16_t port, int promisc)
{
	int ret = rte_eth_dev_start(port);
	if (ret < 0)
		return ret;
	// Neighbour solicitations for addresses of ours come to multicast groups.
	// What cannot be switched on is on, on a device that filters nothing.
	if (promisc)
		ret = rte_eth_promiscuous_enable(port);
	else if (rte_eth_allmulticast_enable(port) == -ENOTSUP)
		ret = rte_eth_promiscuous_enable(port);
	return ret == -ENOTSUP ? 0 : ret;
}

int fs_link(uint16_t port, int *up, uint32_t *mbps)
{
	struct rte_eth_link link;
	memset(&link, 0, sizeof link);
	int ret = rte_eth_link_get_nowait(port, &link);
	*up = ret == 0 && link.link_status == RTE_ETH_LINK_UP;
	*mbps = link.link_speed == RTE_ETH_SPEED_NUM_UNKNOWN ? 0 : link.link_speed;
	return ret;
}

int fs_rss_key(uint16_t port, uint8_t *key, uint8_t *len, uint64_t *types)
{
	struct rte_eth_rss_conf conf = {.rss_key = key, .rss_key_len = *len};
	int ret = rte_eth_dev_rss_hash_conf_get(port, &conf);
	*len = conf.rss_key_len;
	*types = conf.rss_hf;
	return ret;
}

enum { GROUPS = 4096 / RTE_ETH_RETA_GROUP_SIZE };

int fs_reta_set(uint16_t port, const uint16_t *queue, uint16_t size)
{
	struct rte_eth_rss_reta_entry64 reta[GROUPS];
	if (size > GROUPS * RTE_ETH_RETA_GROUP_SIZE)
		return -E2BIG;
	memset(reta, 0, sizeof reta);
	for (uint16_t i = 0; i < size; i++) {
		reta[i / RTE_ETH_RETA_GROUP_SIZE].mask |= UINT64_C(1) << (i % RTE_ETH_RETA_GROUP_SIZE);
		reta[i / RTE_ETH_RETA_GROUP_SIZE].reta[i % RTE_ETH_RETA_GROUP_SIZE] = queue[i];
	}
	return rte_eth_dev_rss_reta_update(port, reta, size);
}

int fs_reta_get(uint16_t port, uint16_t *queue, uint16_t size)
{
	struct rte_eth_rss_reta_entry64 reta[GROUPS];
	if (size > GROUPS * RTE_ETH_RETA_GROUP_SIZE)
		return -E2BIG;
	memset(reta, 0, sizeof reta);
	for (uint16_t i = 0; i < size; i++)
		reta[i / RTE_ETH_RETA_GROUP_SIZE].mask |= UINT64_C(1) << (i % RTE_ETH_RETA_GROUP_SIZE);
	int ret = rte_eth_dev_rss_reta_query(port, reta, size);
	for (uint16_t i = 0; ret == 0 && i < size; i++)
		queue[i] = reta[i / RTE_ETH_RETA_GROUP_SIZE].reta[i % RTE_ETH_RETA_GROUP_SIZE];
	return ret;
}

int fs_next(int port)
{
	uint64_t id = rte_eth_find_next((uint16_t)port);
	return id >= RTE_MAX_ETHPORTS ? -1 : (int)id;
}

struct rte_mempool *fs_pool(const char *name, uint32_t n, uint32_t room, int numa, int shared)
{
	// Two thirds of the pool at most may lie in caches of threads (rte_mempool.h).
	unsigned cache = n / 8 < 256 ? n / 8 : 256;
	return rte_pktmbuf_pool_create_by_ops(name, n, cache, 0, (uint16_t)(room + RTE_PKTMBUF_HEADROOM), numa,
					      shared ? "ring_mt_rts" : NULL);
}

int fs_stats(uint16_t port, struct fs_stats *s)
{
	struct rte_eth_stats e;
	int ret = rte_eth_stats_get(port, &e);
	if (ret < 0)
		return ret;
	s->missed = e.imissed;
	s->no_mbuf = e.rx_nombuf;
	s->rx_errors = e.ierrors;
	s->tx_errors = e.oerrors;
	return 0;
}

int fs_xstats(uint16_t port, char *names, uint64_t *values, int n)
{
	int all = rte_eth_xstats_get_names(port, NULL, 0);
	if (all <= 0 || names == NULL || n < all)
		return all;
	struct rte_eth_xstat_name *name = calloc((size_t)all, sizeof *name);
	struct rte_eth_xstat *value = calloc((size_t)all, sizeof *value);
	int got = -ENOMEM;
	if (name != NULL && value != NULL && rte_eth_xstats_get_names(port, name, (unsigned)all) == all) {
		got = rte_eth_xstats_get(port, value, (unsigned)all);
		for (int i = 0; i < got && i < all; i++) {
			memcpy(names + 64 * i, name[value[i].id].name, 64);
			values[i] = value[i].value;
		}
	}
	free(name);
	free(value);
	return got > all ? all : got;
}

struct wire {
	uint16_t queues;
	struct rte_ring *ring[2][64];
};

int fs_wire(const char *name, uint16_t queues, uint32_t slots, int numa, uint16_t port[2], void **rings)
{
	char text[32];
	int ret = -ENOMEM;
	struct wire *w = calloc(1, sizeof *w);
	if (w == NULL)
		return ret;
	w->queues = queues;
	for (int end = 0; end < 2; end++)
		for (uint16_t q = 0; q < queues; q++) {
			snprintf(text, sizeof text, "fsw_%s_%d_%u", name, end, q);
			w->ring[end][q] = rte_ring_create(text, slots, numa, RING_F_SP_ENQ | RING_F_SC_DEQ);
			if (w->ring[end][q] == NULL) {
				ret = rte_errno > 0 ? -rte_errno : -ENOMEM;
				fs_wire_free(w);
				return ret;
			}
		}
	for (int end = 0; end < 2; end++) {
		snprintf(text, sizeof text, "%s_%c", name, 'a' + end);
		ret = rte_eth_from_rings(text, w->ring[end], queues, w->ring[1 - end], queues, numa < 0 ? 0 : (unsigned)numa);
		if (ret < 0) {
			ret = rte_errno > 0 ? -rte_errno : -EIO;
			if (end == 1)
				rte_eth_dev_close(port[0]);
			fs_wire_free(w);
			return ret;
		}
		port[end] = (uint16_t)ret;
	}
	*rings = w;
	return 0;
}

void fs_wire_free(void *rings)
{
	struct wire *w = rings;
	for (int end = 0; end < 2; end++)
		for (uint16_t q = 0; q < w->queues; q++) {
			struct rte_mbuf *m;
			struct rte_ring *r = w->ring[end][q];
			while (r != NULL && rte_ring_dequeue(r, (void **)&m) == 0)
				rte_pktmbuf_free(m);
			rte_ring_free(r);
		}
	free(w);
}

const char *fs_rx_offload(uint64_t bit) { return rte_eth_dev_rx_offload_name(bit); }
const char *fs_tx_offload(uint64_t bit) { return rte_eth_dev_tx_offload_name(bit); }

int fs_errno(void) { return rte_errno; }

_Bool fs_valid(uint16_t port) { return rte_eth_dev_is_valid_port(port) != 0; }

_Bool fs_started(uint16_t port)
{
	struct rte_eth_rxq_info q;
	if (rte_eth_rx_queue_info_get(port, 0, &q) == 0 && q.queue_state != RTE_ETH_QUEUE_STATE_STOPPED)
		return 1;
	// Many drivers do not keep that state, and no call says whether a port runs. This
	// one looks at it first; these drivers do not have it.
	int ret = rte_eth_dev_rx_queue_start(port, 0);
	return ret == 0 || ret == -ENOTSUP;
}

unsigned fs_room(struct rte_mempool *pool)
{
	unsigned room = rte_pktmbuf_data_room_size(pool);
	return room < RTE_PKTMBUF_HEADROOM ? 0 : room - RTE_PKTMBUF_HEADROOM;
}
