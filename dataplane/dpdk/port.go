//go:build dpdk && cgo && linux

package dpdk

/*
#include <stdlib.h>
#include <string.h>
#include <rte_ethdev.h>
#include <rte_malloc.h>
#include "burst.h"
#include "ethdev.h"
#include "eal.h"
*/
import "C"

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/rss"
)

const (
	etherHdr = 14
	vlanTag  = 4
	minRoom  = 2048 // bytes of a frame behind the headroom
	maxRoom  = 65535 - C.RTE_PKTMBUF_HEADROOM
	// Frames longer than a buffer, from a peer with segmentation offload, are
	// copied into these.
	jumboCount = 64
	replyRoom  = 256
	mbufBytes  = C.sizeof_struct_rte_mbuf + 64 // of bookkeeping per frame
)

// ErrDeviceGone is wrapped by Err of a queue whose device was removed.
var ErrDeviceGone = errors.New("device is gone")

// Port is an opened ethdev.
type Port struct {
	cfg     Config
	id      C.uint16_t
	info    dataplane.Info
	driver  string
	device  *C.struct_rte_device // nil: made by hand
	iface   string               // the kernel interface below, whose end is the end of the device
	queues  []*queue
	pools   []*C.struct_rte_mempool
	jumbo   *C.struct_rte_mempool
	steerer *steerer // nil: one queue, or RSS is trusted
	rss     string   // "device" when the device spreads the frames by our key and table
	wire    *wire    // nil: not a wire within the process
	foreign bool     // adopted: configured and owned by others

	mu       sync.Mutex // guards control calls against Close
	running  bool       // started: memif clients are not before they are connected
	closed   bool
	wasUp    bool // a memif client was connected since it was started
	up       atomic.Bool
	ups      atomic.Uint64 // times it came up, after Open
	gone     atomic.Bool
	base     C.struct_fs_stats // at Open
	missed   atomic.Uint64
	noMbuf   atomic.Uint64
	rxErrors atomic.Uint64
	txErrors atomic.Uint64
	restarts atomic.Uint64
	stop     chan struct{}
	watching sync.WaitGroup
}

var (
	_ dataplane.Port            = (*Port)(nil)
	_ dataplane.DropReporter    = (*Port)(nil)
	_ dataplane.CounterReporter = (*Port)(nil)
)

// ports counts what is open, for Shutdown, and gives each pool a name of its own.
var ports struct {
	sync.Mutex
	open, made int
	ours       map[C.uint16_t]bool
}

// own notes which of DPDK's ports are in use by ports of ours.
func own(id C.uint16_t, yes bool) {
	ports.Lock()
	defer ports.Unlock()
	if ports.ours == nil {
		ports.ours = map[C.uint16_t]bool{}
	}
	ports.ours[id] = yes
}

func owned(id C.uint16_t) bool {
	ports.Lock()
	defer ports.Unlock()
	return ports.ours[id]
}

func openPorts() int {
	ports.Lock()
	defer ports.Unlock()
	return ports.open
}

// Open attaches and starts a device. Whatever fails, it is given back.
func Open(cfg Config) (_ *Port, err error) {
	if err := cfg.normalize(); err != nil {
		return nil, err
	}
	if err := startEAL(cfg.EAL, cfg.memory()); err != nil {
		return nil, err
	}
	p := &Port{cfg: cfg, stop: make(chan struct{})}
	if name, ok := wireName(cfg.Device); ok {
		if p.wire, p.id, err = openWire(name, &p.cfg); err != nil {
			return nil, err
		}
	} else {
		if err := clearSocket(cfg.Device); err != nil {
			return nil, err
		}
		if p.id, err = probe(cfg.Device); err != nil {
			return nil, err
		}
	}
	if err := p.setup(); err != nil {
		return nil, p.giveUp(err)
	}
	p.begin()
	return p, nil
}

// giveUp gives back what was opened before err.
func (p *Port) giveUp(err error) error { return errors.Join(err, p.release()) }

// memory is about what the port takes of huge pages.
func (c *Config) memory() int64 {
	room := int64(c.room() + C.RTE_PKTMBUF_HEADROOM + mbufBytes)
	return int64(c.Queues*c.Mbufs)*room + jumboCount*(1<<16+mbufBytes) + 4<<20
}

// room is the space of a frame.
func (c *Config) room() int { return max(minRoom, c.MTU+etherHdr+vlanTag) }

func (p *Port) fail(what string, ret C.int) error {
	return refused(p.cfg.Device+": "+what, int(ret), takeLog())
}

// setup configures and starts the device.
func (p *Port) setup() error {
	f, err := facts(p.id)
	if err != nil {
		return err
	}
	p.driver, p.device = C.GoString(f.driver), f.device
	if err := p.checkLimits(f); err != nil {
		return err
	}
	if err := p.makePools(int(f.numa)); err != nil {
		return err
	}
	if err := p.configure(f); err != nil {
		return err
	}
	for i := range p.cfg.Queues {
		rx, tx := p.wanted(f)
		q, err := newQueue(p, i, f, rx, tx)
		if err != nil {
			return err
		}
		p.queues = append(p.queues, q)
	}
	if err := p.start(); err != nil {
		return err
	}
	if f, err = facts(p.id); err != nil { // names and addresses may be known only now
		return err
	}
	p.describe(f)
	return p.spread(f)
}

func (p *Port) checkLimits(f *ethFacts) error {
	if m := p.cfg.MTU; m != 0 && (m > int(f.max_mtu) || m < int(f.min_mtu)) {
		return fmt.Errorf("dpdk: %s: mtu=%d: the device (%s) takes %d to %d bytes", p.cfg.Device, m, p.driver, f.min_mtu, f.max_mtu)
	}
	if n := min(int(f.max_rx_queues), int(f.max_tx_queues)); p.cfg.Queues > n {
		hint := ""
		switch p.driver {
		case "net_af_packet":
			hint = fmt.Sprintf("; the device argument decides: qpairs=%d", p.cfg.Queues)
		case "net_af_xdp":
			hint = fmt.Sprintf("; the device argument decides: queue_count=%d, and ethtool -L the interface", p.cfg.Queues)
		case "net_tap", "net_pcap", "net_virtio_user", "net_vhost":
			hint = "; the device arguments decide (queues=, rx_iface= several times)"
		}
		return fmt.Errorf("dpdk: %s: %d queues, but the device has %d (%d receive, %d transmit): use queues=%d%s",
			p.cfg.Device, p.cfg.Queues, n, f.max_rx_queues, f.max_tx_queues, max(n, 1), hint)
	}
	return nil
}

// makePools makes the frames: a pool for each queue on the device's NUMA node,
// and one of long ones for what does not fit.
func (p *Port) makePools(numa int) (err error) {
	for range p.cfg.Queues {
		pool, err := p.makePool(p.cfg.Mbufs, p.cfg.room(), numa)
		if err != nil {
			return err
		}
		p.pools = append(p.pools, pool)
	}
	p.jumbo, err = p.makeJumbo(numa)
	return err
}

func (p *Port) makeJumbo(numa int) (*C.struct_rte_mempool, error) {
	return p.makePool(jumboCount, maxRoom, numa)
}

func (p *Port) makePool(count, room, numa int) (*C.struct_rte_mempool, error) {
	ports.Lock()
	ports.made++
	name := C.CString(fmt.Sprintf("fastsyn%d", ports.made))
	ports.Unlock()
	defer C.free(unsafe.Pointer(name))
	pool := C.fs_pool(name, C.uint32_t(count), C.uint32_t(room), C.int(numa), boolInt(p.cfg.Queues > 1))
	if pool == nil {
		return nil, fmt.Errorf("dpdk: %s: no memory for %d frames of %d bytes on NUMA node %d: %w: %s: fewer frames (mbufs=%d) or queues, or more memory: sudo fastsyn hugepages reserve, memory=; fastsyn hugepages shows what is free",
			p.cfg.Device, count, room, numa, syscall.ENOMEM, explain(takeLog()), max(minMbufs, count/2))
	}
	return pool, nil
}

// wanted are the offloads that are used when the device has them.
func (p *Port) wanted(f *ethFacts) (rx, tx uint64) {
	c := &p.cfg
	if !c.NoRxCsum {
		rx |= uint64(f.rx_offloads) & (C.RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | C.RTE_ETH_RX_OFFLOAD_TCP_CKSUM)
	}
	if !c.NoVLANStrip {
		rx |= uint64(f.rx_offloads) & C.RTE_ETH_RX_OFFLOAD_VLAN_STRIP
	}
	if !c.NoRSSHash && c.Queues > 1 && c.RSS != Off {
		rx |= uint64(f.rx_offloads) & C.RTE_ETH_RX_OFFLOAD_RSS_HASH
	}
	if c.MTU+etherHdr+vlanTag > minRoom {
		rx |= uint64(f.rx_offloads) & C.RTE_ETH_RX_OFFLOAD_SCATTER
	}
	if !c.NoTxCsum && uint64(f.tx_offloads)&txSums == txSums {
		tx |= txSums
	}
	return rx, tx
}

const txSums = C.RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | C.RTE_ETH_TX_OFFLOAD_TCP_CKSUM

const tcpTypes = C.RTE_ETH_RSS_NONFRAG_IPV4_TCP | C.RTE_ETH_RSS_NONFRAG_IPV6_TCP

// configure sets queues, offloads and RSS. A device that refuses RSS although it
// offers it is configured without, unless rss=on.
func (p *Port) configure(f *ethFacts) error {
	c := &p.cfg
	rx, tx := p.wanted(f)
	s := (*C.struct_fs_setup)(C.calloc(1, C.sizeof_struct_fs_setup))
	pools := (**C.struct_rte_mempool)(C.calloc(C.size_t(c.Queues), C.size_t(unsafe.Sizeof(p.pools[0]))))
	key := (*C.uint8_t)(C.calloc(64, 1))
	defer func() {
		C.free(unsafe.Pointer(s))
		C.free(unsafe.Pointer(pools))
		C.free(unsafe.Pointer(key))
	}()
	copy(unsafe.Slice(pools, c.Queues), p.pools)
	s.queues, s.rx_desc, s.tx_desc, s.mtu = C.uint16_t(c.Queues), C.uint16_t(c.RxDesc), C.uint16_t(c.TxDesc), C.uint16_t(c.MTU)
	s.rx_offloads, s.tx_offloads, s.pool = C.uint64_t(rx), C.uint64_t(tx), pools
	can := c.Queues > 1 && uint64(f.rss_types)&tcpTypes != 0
	if c.RSS == On && !can {
		return fmt.Errorf("dpdk: %s: rss=on, but %s: leave rss=on out, and flows are steered to their workers in software", c.Device, p.noRSS(f))
	}
	if can && c.RSS != Off {
		types := uint64(tcpTypes)
		if p.driver == "net_mana" { // which takes TCP without IP for nothing at all
			types |= C.RTE_ETH_RSS_IPV4 | C.RTE_ETH_RSS_IPV6
		}
		s.rss_types = C.uint64_t(uint64(f.rss_types) & types)
		if s.key_len = f.key_size; s.key_len == 0 {
			s.key_len = C.uint8_t(rss.KeySize)
		}
		s.key_len = min(s.key_len, 64)
		p.writeKey(unsafe.Slice(key, int(s.key_len)))
		s.key = key
		p.rss = "device"
	}
	if s.rss_types == 0 {
		s.rx_offloads &^= C.RTE_ETH_RX_OFFLOAD_RSS_HASH
	}
	ret, step := p.tryConfigure(s)
	if ret < 0 && s.rss_types != 0 && c.RSS == Auto && (ret == -C.ENOTSUP || ret == -C.EINVAL) {
		s.rss_types, p.rss = 0, ""
		s.rx_offloads &^= C.RTE_ETH_RX_OFFLOAD_RSS_HASH
		ret, step = p.tryConfigure(s)
	}
	if ret < 0 {
		return p.fail(step, ret)
	}
	return nil
}

func (p *Port) tryConfigure(s *C.struct_fs_setup) (ret C.int, step string) {
	var at *C.char
	onMain(func() { ret = C.fs_configure(p.id, s, &at) })
	return ret, C.GoString(at)
}

// writeKey fills the device's key. A symmetric one goes on as it began; beyond what
// TCP over IPv6 needs the rest does not matter (RSS-002).
func (p *Port) writeKey(key []C.uint8_t) {
	for i := range key {
		switch {
		case i < rss.KeySize:
			key[i] = C.uint8_t(p.cfg.RSSKey[i])
		case p.cfg.RSSKey.Symmetric():
			key[i] = key[i-2]
		}
	}
}

func (p *Port) noRSS(f *ethFacts) string {
	if p.cfg.Queues == 1 {
		return "there is one queue"
	}
	return fmt.Sprintf("the device (%s) cannot hash TCP (it offers: %s)", p.driver, strings.Join(append(rssNames(uint64(f.rss_types)), "nothing else"), ", "))
}

// start starts the device. A memif client whose server is not there yet stays
// down and tries again (watch).
func (p *Port) start() error {
	takeLog()
	ret := C.fs_start(p.id, boolInt(p.cfg.Promisc))
	if ret < 0 && p.memifClient() {
		takeLog()
		p.pause() // until it runs
		return nil
	}
	if ret < 0 {
		return p.fail("starting", ret)
	}
	p.running = true
	return nil
}

func (p *Port) isMemif() bool { return p.driver == "net_memif" }

// memifClient reports whether the device connects to somebody.
func (p *Port) memifClient() bool {
	a, ok := parseMemif(p.cfg.Device)
	return ok && a.client
}

func boolInt(b bool) C.int {
	if b {
		return 1
	}
	return 0
}

// describe fills Info.
func (p *Port) describe(f *ethFacts) {
	mac := hardwareAddr(f)
	if p.wire != nil || slices.Equal(mac, make(net.HardwareAddr, 6)) {
		pid := os.Getpid()
		mac = net.HardwareAddr{0x02, 0x66, byte(pid >> 16), byte(pid >> 8), byte(pid), byte(p.id)} // locally administered
	}
	mtu := int(f.mtu)
	p.info = dataplane.Info{
		Driver: "dpdk", Name: deviceName(f), MAC: mac, MTU: min(mtu, p.cfg.room()-etherHdr-vlanTag), Queues: p.cfg.Queues,
		CPUs:   slices.Clone(p.cfg.EAL.LCores),
		Kernel: slices.Contains([]string{"net_af_packet", "net_af_xdp", "net_pcap", "net_tap"}, p.driver),
	}
	for _, arg := range strings.Split(p.cfg.Device, ",")[1:] {
		if v, ok := strings.CutPrefix(arg, "iface="); ok && (p.driver == "net_af_packet" || p.driver == "net_af_xdp") {
			p.iface = v
		}
	}
	for _, q := range p.queues {
		q.c.max_len = C.uint32_t(p.info.MTU + etherHdr + vlanTag)
		q.caps.FrameRoom = p.cfg.room()
	}
	p.up.Store(f.link_up != 0)
	C.fs_watch(p.id)
	C.fs_stats(p.id, &p.base)
}

// begin counts the port as open and watches it.
func (p *Port) begin() {
	ports.Lock()
	ports.open++
	ports.Unlock()
	own(p.id, true)
	p.watching.Go(p.watch)
}

// Info describes the port. Safe from any goroutine.
func (p *Port) Info() dataplane.Info {
	i := p.info
	i.MAC, i.RSSKey, i.RETA, i.CPUs = slices.Clone(i.MAC), slices.Clone(i.RSSKey), slices.Clone(i.RETA), slices.Clone(i.CPUs)
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed && p.running {
		p.readLink()
	}
	i.Up = p.up.Load()
	return i
}

// Queue returns queue i.
func (p *Port) Queue(i int) dataplane.Queue { return p.queues[i] }

// Close stops the device and gives it back. Frames kept by the application stay
// readable, at the price of their pool, which is then never freed. Calling it again does nothing.
func (p *Port) Close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	p.readStats()
	p.closed = true
	p.mu.Unlock()
	close(p.stop)
	p.watching.Wait()
	err := p.release()
	own(p.id, false)
	ports.Lock()
	ports.open--
	ports.Unlock()
	return err
}

// release undoes what Open did, as far as it came.
func (p *Port) release() error {
	p.pause()
	for _, q := range p.queues {
		q.release()
	}
	var err error
	onMain(func() {
		if p.foreign {
			return
		}
		takeLog()
		if ret := p.end(); ret < 0 && ret != -C.ENODEV {
			err = p.fail("closing", ret)
		}
	})
	p.up.Store(false)
	for _, q := range p.queues {
		q.free()
	}
	pools := p.pools
	if p.foreign {
		pools = nil
	}
	if p.jumbo != nil {
		pools = append(pools, p.jumbo)
	}
	if p.wire != nil { // frames may be with the other end
		p.wire.close(pools)
		return err
	}
	freePools(pools)
	return err
}

// end stops and closes the device, and gives it back. On the main thread.
func (p *Port) end() C.int {
	runs := boolInt(p.running)
	var ret C.int
	if p.isMemif() {
		ret = C.fs_end_memif(p.id, runs)
	} else {
		if p.running {
			C.fs_stop(p.id)
		}
		ret = C.fs_close(p.id)
	}
	if e := C.fs_detach(p.device); ret == 0 {
		ret = e
	}
	return ret
}

// freePools frees the pools that have all their frames.
func freePools(pools []*C.struct_rte_mempool) {
	for _, m := range pools {
		if C.rte_mempool_avail_count(m) == m.size {
			C.rte_mempool_free(m)
		}
	}
}

// Mbufs returns how many frames of the port are at home, and how many there
// are. They are equal after the last Settle of all workers and Close, unless the
// application keeps some; the difference while running is what device, batches and stock hold.
func (p *Port) Mbufs() (free, all int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	pools := append(slices.Clone(p.pools), p.jumbo)
	slices.SortFunc(pools, func(a, b *C.struct_rte_mempool) int {
		return cmp.Compare(uintptr(unsafe.Pointer(a)), uintptr(unsafe.Pointer(b)))
	})
	for _, m := range slices.Compact(pools) {
		if m != nil && !p.closed {
			free += int(C.rte_mempool_avail_count(m))
			all += int(m.size)
		}
	}
	return free, all
}
