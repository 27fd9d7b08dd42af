//go:build dpdk && cgo && linux

#include "burst.h"

#include <rte_ethdev.h>
#include <rte_ether.h>
#include <rte_prefetch.h>

// enter reports whether the device may be touched. Its store comes before the
// load of paused for all threads (see fs_pause).
static inline int enter(struct fs_queue *q)
{
	__atomic_store_n(&q->busy, 1, __ATOMIC_SEQ_CST);
	if (likely(__atomic_load_n(&q->paused, __ATOMIC_SEQ_CST) == 0))
		return 1;
	__atomic_store_n(&q->busy, 0, __ATOMIC_RELEASE);
	return 0;
}

static inline void leave(struct fs_queue *q)
{
	__atomic_store_n(&q->busy, 0, __ATOMIC_RELEASE);
}

// single returns m as one segment of its own that may be written to, at the
// price of a copy, or NULL when no buffer is large enough; m is freed then.
static __rte_noinline struct rte_mbuf *single(struct fs_queue *q, struct rte_mbuf *m)
{
	uint32_t len = rte_pktmbuf_pkt_len(m);
	struct rte_mempool *from[2] = {q->pool, q->jumbo};
	for (int i = 0; i < 2; i++) {
		if (from[i] == NULL || len > (uint32_t)rte_pktmbuf_data_room_size(from[i]) - RTE_PKTMBUF_HEADROOM)
			continue;
		struct rte_mbuf *c = rte_pktmbuf_alloc(from[i]);
		if (c == NULL)
			continue;
		char *to = rte_pktmbuf_append(c, (uint16_t)len);
		const void *at = rte_pktmbuf_read(m, 0, len, to);
		if (at == NULL) { // lengths of the segments do not add up
			rte_pktmbuf_free(c);
			break;
		}
		if (at != to)
			memcpy(to, at, len);
		c->ol_flags = m->ol_flags & ~(uint64_t)(RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL);
		c->hash = m->hash;
		c->vlan_tci = m->vlan_tci;
		rte_pktmbuf_free(m);
		q->rx_copied++;
		return c;
	}
	rte_pktmbuf_free(m);
	q->rx_oversize++;
	return NULL;
}

// csum translates what the device says of checksums. NONE means, by the
// definition of the flag, that the sum in the frame is wrong but the data is known
// to be good: a virtual device whose sender left the sum to it.
static inline uint16_t csum(uint64_t ol, const struct rte_mbuf *m)
{
	uint64_t l4 = ol & RTE_MBUF_F_RX_L4_CKSUM_MASK, ip = ol & RTE_MBUF_F_RX_IP_CKSUM_MASK;
	if (l4 == RTE_MBUF_F_RX_L4_CKSUM_BAD || ip == RTE_MBUF_F_RX_IP_CKSUM_BAD)
		return FS_CSUM_BAD;
	if (l4 != RTE_MBUF_F_RX_L4_CKSUM_GOOD && l4 != RTE_MBUF_F_RX_L4_CKSUM_NONE)
		return 0;
	if (ip == RTE_MBUF_F_RX_IP_CKSUM_GOOD || ip == RTE_MBUF_F_RX_IP_CKSUM_NONE)
		return FS_CSUM_GOOD;
	// A device that vouches for TCP alone: enough for IPv6, whose header has no
	// sum; that of IPv4 is checked here.
	const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *);
	uint32_t len = rte_pktmbuf_data_len(m), at = 12;
	if (len >= 18 && p[12] == 0x81 && p[13] == 0)
		at = 16;
	if (len < at + 2 + 20)
		return 0;
	if (p[at] == 0x86 && p[at + 1] == 0xdd)
		return FS_CSUM_GOOD;
	if (p[at] != 0x08 || p[at + 1] != 0)
		return 0;
	const uint8_t *h = p + at + 2;
	uint32_t words = (uint32_t)(h[0] & 15) * 2, sum = 0;
	if (words < 10 || len < at + 2 + 2 * words)
		return 0;
	for (uint32_t i = 0; i < words; i++)
		sum += (uint32_t)h[2 * i] << 8 | h[2 * i + 1];
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum == 0xffff ? FS_CSUM_GOOD : FS_CSUM_BAD;
}

static inline void show(struct fs_frame *f, struct rte_mbuf *m)
{
	uint64_t ol = m->ol_flags;
	f->mbuf = (uint64_t)(uintptr_t)m;
	f->data = rte_pktmbuf_mtod(m, uint8_t *);
	f->len = rte_pktmbuf_data_len(m);
	f->cap = (uint32_t)m->buf_len - m->data_off;
	f->hash = m->hash.rss;
	f->vlan = m->vlan_tci;
	f->flags = 0;
	if (ol & (RTE_MBUF_F_RX_RSS_HASH | RTE_MBUF_F_RX_VLAN_STRIPPED | RTE_MBUF_F_RX_L4_CKSUM_MASK | RTE_MBUF_F_RX_IP_CKSUM_MASK)) {
		f->flags = csum(ol, m);
		if (ol & RTE_MBUF_F_RX_RSS_HASH)
			f->flags |= FS_HASH;
		if (ol & RTE_MBUF_F_RX_VLAN_STRIPPED)
			f->flags |= FS_VLAN;
	}
}

void fs_refill(struct fs_queue *q, uint32_t want)
{
	struct rte_mbuf *m[FS_STOCK];
	if (want > FS_STOCK)
		want = FS_STOCK;
	if (q->nstock >= want)
		return;
	uint32_t n = want - q->nstock;
	if (rte_pktmbuf_alloc_bulk(q->pool, m, n) != 0) {
		uint32_t k = 0;
		while (k < n && (m[k] = rte_pktmbuf_alloc(q->pool)) != NULL)
			k++;
		n = k;
	}
	for (uint32_t i = 0; i < n; i++) {
		struct fs_frame *f = &q->stock[q->nstock++];
		f->mbuf = (uint64_t)(uintptr_t)m[i];
		f->data = rte_pktmbuf_mtod(m[i], uint8_t *);
		f->len = 0;
		f->cap = (uint32_t)m[i]->buf_len - m[i]->data_off;
	}
}

// ask has the CPU fetch a frame that is soon to be read: its first line, and the
// second of one as long as a SYN with all its options.
static inline void ask(const struct rte_mbuf *m)
{
	const char *p = rte_pktmbuf_mtod(m, const char *);
	rte_prefetch0(p);
	if (rte_pktmbuf_data_len(m) > RTE_CACHE_LINE_SIZE)
		rte_prefetch0(p + RTE_CACHE_LINE_SIZE);
}

uint32_t fs_rx(struct fs_queue *q, uint32_t n)
{
	struct rte_mbuf **rx = q->rx;
	if (likely(enter(q))) {
		if (n < FS_BURST)
			n += rte_eth_rx_burst(q->port, q->id, rx + n, (uint16_t)(FS_BURST - n));
		leave(q);
	}
	// The driver has just written the descriptors, not necessarily touched the frames.
	for (uint32_t i = 0; i < n && i < 8; i++)
		ask(rx[i]);
	uint32_t k = 0;
	for (uint32_t i = 0; i < n; i++) {
		struct rte_mbuf *m = rx[i];
		if (i + 8 < n)
			ask(rx[i + 8]);
		if (unlikely(m->nb_segs != 1 || rte_mbuf_refcnt_read(m) != 1)) {
			m = single(q, m);
			if (m == NULL)
				continue;
		}
		show(&q->in[k++], m);
	}
	if (q->nstock < FS_BURST)
		fs_refill(q, FS_BURST);
	return k;
}

// offload prepares m for a device that completes the checksums. Only frames
// whose headers are what we write ourselves come here.
static inline void offload(struct rte_mbuf *m, const uint8_t *p)
{
	uint16_t l2 = 14;
	if (p[12] == 0x81 && p[13] == 0)
		l2 = 18;
	m->l2_len = l2;
	if ((p[l2] >> 4) == 4) {
		m->l3_len = (uint64_t)(p[l2] & 15) * 4;
		m->ol_flags |= RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM | RTE_MBUF_F_TX_TCP_CKSUM;
	} else {
		m->l3_len = 40;
		m->ol_flags |= RTE_MBUF_F_TX_IPV6 | RTE_MBUF_F_TX_TCP_CKSUM;
	}
}

uint32_t fs_settle(struct fs_queue *q, uint32_t n)
{
	uint32_t ntx = 0, ndrop = 0, sent = 0, errors = 0;
	uint16_t len[FS_BURST]; // a frame that is sent may be gone at once
	int prepare = 0;
	for (uint32_t i = 0; i < n; i++) {
		struct fs_frame *f = &q->out[i];
		struct rte_mbuf *m = (struct rte_mbuf *)(uintptr_t)f->mbuf;
		if (f->flags & FS_SEND) {
			size_t off = (size_t)(f->data - (uint8_t *)m->buf_addr);
			if (unlikely(f->len < 14 || f->len > q->max_len || off > m->buf_len || f->len > m->buf_len - off)) {
				errors++;
				q->drop[ndrop++] = m;
				continue;
			}
			m->data_off = (uint16_t)off;
			m->data_len = (uint16_t)f->len;
			m->pkt_len = f->len;
			m->ol_flags &= RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL;
			if (unlikely(f->flags & FS_TX_VLAN && !(f->data[12] == 0x81 && f->data[13] == 0))) {
				m->vlan_tci = f->vlan;
				if (rte_vlan_insert(&m) != 0) {
					errors++;
					q->drop[ndrop++] = m;
					continue;
				}
			}
			if (f->flags & FS_TX_CSUM) {
				offload(m, rte_pktmbuf_mtod(m, const uint8_t *));
				prepare = 1;
			}
			len[ntx] = m->data_len;
			q->tx[ntx++] = m;
		} else if (!(f->flags & FS_KEEP)) {
			q->drop[ndrop++] = m;
		}
	}
	if (ntx != 0 && likely(enter(q))) {
		uint32_t ready = ntx;
		if (prepare)
			ready = rte_eth_tx_prepare(q->port, q->id, q->tx, (uint16_t)ntx);
		sent = rte_eth_tx_burst(q->port, q->id, q->tx, (uint16_t)ready);
		leave(q);
		if (unlikely(ready < ntx)) {
			errors += ntx - ready;
			rte_pktmbuf_free_bulk(q->tx + ready, ntx - ready);
			ntx = ready;
		}
	}
	if (unlikely(sent < ntx)) {
		q->tx_full += ntx - sent;
		rte_pktmbuf_free_bulk(q->tx + sent, ntx - sent);
	}
	for (uint32_t i = 0; i < sent; i++)
		q->tx_bytes += len[i];
	if (ndrop != 0)
		rte_pktmbuf_free_bulk(q->drop, ndrop);
	q->tx_errors += errors;
	return sent + errors;
}

void fs_free(uint64_t mbuf) { rte_pktmbuf_free((struct rte_mbuf *)(uintptr_t)mbuf); }

void fs_unstock(struct fs_queue *q)
{
	while (q->nstock > 0)
		fs_free(q->stock[--q->nstock].mbuf);
}
