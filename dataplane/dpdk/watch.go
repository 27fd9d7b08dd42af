//go:build dpdk && cgo && linux

package dpdk

/*
#include "burst.h"
#include "ethdev.h"
*/
import "C"

import (
	"errors"
	"net"
	"syscall"
	"time"
)

const (
	watchEvery = 20 * time.Millisecond
	// A client whose server is not there tries again soon; one that was let in waits
	// for the rest of the greeting, which takes a while on a busy machine.
	retryAbsent = 300 * time.Millisecond
	retryShaken = 5 * time.Second
	statsPeriod = 5 // of watchEvery
)

// watch follows link, device and statistics until Close.
func (p *Port) watch() {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	last, n := time.Now(), 0
	for {
		select {
		case <-p.stop:
			return
		case <-tick.C:
		}
		p.mu.Lock()
		if !p.closed {
			if p.running {
				p.readLink()
			}
			if p.memifClient() {
				last = p.followServer(last)
			}
			if n++; n%statsPeriod == 0 {
				p.readStats()
				p.checkGone()
			}
		}
		p.mu.Unlock()
	}
}

// readLink reads the link. p.mu is held and the device runs.
func (p *Port) readLink() {
	var up C.int
	var mbps C.uint32_t
	C.fs_link(p.id, &up, &mbps)
	if was := p.up.Swap(up != 0); up != 0 && !was {
		p.ups.Add(1)
	}
}

// LinkUps implements dataplane.LinkCounter.
func (p *Port) LinkUps() uint64 { return p.ups.Load() }

// readStats publishes what the device counts. p.mu is held.
func (p *Port) readStats() {
	var s C.struct_fs_stats
	if C.fs_stats(p.id, &s) < 0 {
		return
	}
	p.missed.Store(uint64(s.missed - p.base.missed))
	p.noMbuf.Store(uint64(s.no_mbuf - p.base.no_mbuf))
	p.rxErrors.Store(uint64(s.rx_errors - p.base.rx_errors))
	p.txErrors.Store(uint64(s.tx_errors - p.base.tx_errors))
}

// checkGone notices a device that was unplugged, or whose interface was deleted.
func (p *Port) checkGone() {
	if C.fs_gone(p.id) != 0 {
		p.gone.Store(true)
	}
	if p.iface != "" {
		if _, err := net.InterfaceByName(p.iface); err != nil && !errors.Is(err, syscall.EMFILE) {
			p.gone.Store(true)
		}
	}
}

// followServer connects a memif client anew when it has to. last is when it was
// connected, or tried to, and so is the result.
func (p *Port) followServer(last time.Time) time.Time {
	wait := retryAbsent
	if p.running && !p.wasUp {
		wait = retryShaken
	}
	switch {
	case p.up.Load():
		p.wasUp = true
	case time.Since(last) > wait:
		p.wasUp = false
		p.reconnect()
	default:
		return last
	}
	return time.Now()
}

// reconnect starts a memif client that has lost, or never found, its server.
// Only a start connects. A server hears of a new client by itself.
func (p *Port) reconnect() {
	if p.running {
		p.pause()
	}
	ret := C.fs_restart_memif(p.id, boolInt(p.running))
	if p.running = ret == 0; p.running {
		p.restarts.Add(1)
		p.resume()
	}
	takeLog()
}

// pause keeps the workers away from the device, resume lets them back.
func (p *Port) pause() {
	for _, q := range p.queues {
		C.fs_pause(q.c)
	}
}

func (p *Port) resume() {
	for _, q := range p.queues {
		C.fs_resume(q.c)
	}
}
