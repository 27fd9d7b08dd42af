//go:build dpdk && cgo && linux

package dpdk

/*
#include <stdlib.h>
#include "ethdev.h"
*/
import "C"

import (
	"fmt"
	"unsafe"

	"github.com/fastsyn/fastsyn/dataplane/steer"
	"github.com/fastsyn/fastsyn/rss"
)

// Adopt makes a port of a device that others own: it is used as it was
// configured, and Close neither stops nor closes it. The workers' threads may or
// may not be threads of the EAL. Nobody else may use the queues until Close.
func Adopt(a Adoption) (_ *Port, err error) {
	name := fmt.Sprintf("port %d", a.Port)
	if !bool(C.fs_valid(C.uint16_t(a.Port))) {
		return nil, fmt.Errorf("dpdk: %s: there is no such port; DPDK numbers its ports from 0", name)
	}
	f, err := facts(C.uint16_t(a.Port))
	if err != nil {
		return nil, err
	}
	switch {
	case a.Queues < 1:
		return nil, fmt.Errorf("dpdk: %s: %d queues: want at least 1", name, a.Queues)
	case f.rx_queues == 0 || !bool(C.fs_started(C.uint16_t(a.Port))):
		return nil, fmt.Errorf("dpdk: %s: the port must be configured and started first", name)
	case a.Queues > min(int(f.rx_queues), int(f.tx_queues)):
		return nil, fmt.Errorf("dpdk: %s: %d queues, but it was configured with %d receive and %d transmit queues", name, a.Queues, f.rx_queues, f.tx_queues)
	case len(a.Pools) != a.Queues:
		return nil, fmt.Errorf("dpdk: %s: %d pools for %d queues: want one for each, they may be the same", name, len(a.Pools), a.Queues)
	}
	room := maxRoom
	for i, m := range a.Pools {
		r := 0
		if m != nil {
			r = int(C.fs_room((*C.struct_rte_mempool)(m)))
		}
		if r < minRoom {
			return nil, fmt.Errorf("dpdk: %s: pool %d: frames need %d bytes of room behind the headroom, and have %d", name, i, minRoom, r)
		}
		room = min(room, r)
	}
	// What fastsyn sends has to fit the frames of these pools, whatever the device takes.
	cfg := Config{Device: name, Queues: a.Queues, TrustRSS: a.TrustRSS, MTU: min(int(f.mtu), room-etherHdr-vlanTag, maxMTU)}
	if err := cfg.normalize(); err != nil {
		return nil, err
	}
	p := &Port{cfg: cfg, id: C.uint16_t(a.Port), driver: C.GoString(f.driver), foreign: true, running: true, stop: make(chan struct{})}
	for _, m := range a.Pools {
		p.pools = append(p.pools, (*C.struct_rte_mempool)(m))
	}
	if p.jumbo, err = p.makeJumbo(int(f.numa)); err != nil {
		return nil, err
	}
	for i := range a.Queues {
		q, err := newQueue(p, i, f, uint64(f.rx_on), uint64(f.tx_on))
		if err != nil {
			return nil, p.giveUp(err)
		}
		p.queues = append(p.queues, q)
	}
	p.describe(f)
	if err := p.readSpread(f); err != nil {
		return nil, p.giveUp(err)
	}
	p.begin()
	return p, nil
}

// readSpread finds out how an adopted port spreads frames.
func (p *Port) readSpread(f *ethFacts) error {
	if p.cfg.Queues == 1 {
		return nil
	}
	key, reta, err := p.readRSS(f)
	if err != nil {
		if p.cfg.TrustRSS {
			return fmt.Errorf("dpdk: %s: the device does not tell how it spreads flows, so it cannot be trusted: %w", p.cfg.Device, err)
		}
		key = rss.SymmetricKey
		if reta, err = rss.NewRETA(assumedRETA, p.cfg.Queues); err != nil {
			return err
		}
	} else {
		p.rss = "device"
	}
	p.info.RSSKey, p.info.RETA = key[:], reta
	if !p.cfg.TrustRSS {
		p.steer(steer.New(key, reta))
	}
	return nil
}

// readRSS reads key and table, as they are, for queues that are all ours.
func (p *Port) readRSS(f *ethFacts) (key rss.Key, reta rss.RETA, err error) {
	buf := (*[64]byte)(C.calloc(64, 1))
	defer C.free(unsafe.Pointer(buf))
	n, types := C.uint8_t(64), C.uint64_t(0)
	if f.key_size != 0 {
		n = f.key_size
	}
	if ret := C.fs_rss_key(p.id, (*C.uint8_t)(unsafe.Pointer(buf)), &n, &types); ret < 0 {
		return key, nil, p.fail("reading the RSS key", ret)
	}
	if uint64(types)&tcpTypes == 0 {
		return key, nil, fmt.Errorf("dpdk: %s: it does not hash TCP (it hashes %v)", p.cfg.Device, rssNames(uint64(types)))
	}
	if key, err = rss.NewKey(buf[:min(int(n), 52)]); err != nil {
		return key, nil, fmt.Errorf("dpdk: %s: %w", p.cfg.Device, err)
	}
	reta = make(rss.RETA, f.reta_size)
	if len(reta) == 0 {
		return key, nil, fmt.Errorf("dpdk: %s: it has no redirection table", p.cfg.Device)
	}
	if ret := C.fs_reta_get(p.id, (*C.uint16_t)(unsafe.Pointer(&reta[0])), C.uint16_t(len(reta))); ret < 0 {
		return key, nil, p.fail("reading the redirection table", ret)
	}
	if err := reta.Validate(p.cfg.Queues); err != nil {
		return key, nil, fmt.Errorf("dpdk: %s: %w", p.cfg.Device, err)
	}
	return key, reta, nil
}
