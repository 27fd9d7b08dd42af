//go:build dpdk && cgo && linux

package dpdk

/*
#include <stdlib.h>
#include "ethdev.h"
*/
import "C"

import (
	"bytes"
	"errors"
	"fmt"
	"syscall"
	"unsafe"

	"github.com/fastsyn/fastsyn/dataplane/steer"
	"github.com/fastsyn/fastsyn/rss"
)

const assumedRETA = 128 // where the device has none

// spread programs the redirection table, reads key and table back, and decides
// who puts frames onto their queues. Info tells where frames belong either way.
func (p *Port) spread(f *ethFacts) error {
	c := &p.cfg
	if c.Queues == 1 {
		return nil
	}
	// Without a table to write, a device cannot be told where flows go (net_tap).
	// Some know its size only now (vmxnet3).
	if p.rss != "" && f.reta_size == 0 {
		if c.RSS == On {
			return fmt.Errorf("dpdk: %s: rss=on, but the device (%s) has no redirection table: leave rss=on out, and flows are steered to their workers in software", c.Device, p.driver)
		}
		p.rss = ""
	}
	key, size := c.RSSKey, int(f.reta_size)
	if p.rss == "" || size == 0 || size > rss.MaxRETA {
		size = assumedRETA
	}
	if len(c.RETA) > size {
		return fmt.Errorf("dpdk: %s: reta names %d entries, the device's table has %d: %w", c.Device, len(c.RETA), size, syscall.EINVAL)
	}
	reta, err := rss.NewRETA(size, c.Queues)
	if err != nil {
		return fmt.Errorf("dpdk: %s: %w", c.Device, err)
	}
	if len(c.RETA) > 0 {
		for i := range reta {
			reta[i] = c.RETA[i%len(c.RETA)]
		}
	}
	if p.rss != "" {
		if err := p.program(f, key, reta); err != nil {
			if c.RSS == On {
				return err
			}
			p.rss = "" // the device decides for itself; we move what it gets wrong
		}
	}
	p.info.RSSKey, p.info.RETA = key[:], reta
	if c.TrustRSS {
		if p.rss == "" {
			return fmt.Errorf("dpdk: %s: steer=off, but the device does not spread flows as fastsyn needs it: %w; leave steer=off out", c.Device, errors.ErrUnsupported)
		}
		return nil
	}
	p.steer(steer.New(key, reta))
	return nil
}

// steer has all queues look where flows belong.
func (p *Port) steer(table *steer.Table) {
	p.steerer = newSteerer(table, p.cfg.Queues, p.rss != "")
	for i, q := range p.queues {
		q.lane = p.steerer.lanes[i]
	}
}

// program writes the table and reads back what the device then has.
func (p *Port) program(f *ethFacts, key rss.Key, reta rss.RETA) error {
	if ret := C.fs_reta_set(p.id, (*C.uint16_t)(unsafe.Pointer(&reta[0])), C.uint16_t(len(reta))); ret < 0 {
		return p.fail("setting the redirection table", ret)
	}
	got := make([]uint16, len(reta))
	switch ret := C.fs_reta_get(p.id, (*C.uint16_t)(unsafe.Pointer(&got[0])), C.uint16_t(len(got))); {
	case ret == -C.ENOTSUP: // cannot be read: the counters show whether it holds
	case ret < 0:
		return p.fail("reading the redirection table", ret)
	default:
		for i := range got {
			if got[i] != reta[i] {
				return fmt.Errorf("dpdk: %s: entry %d of the redirection table reads queue %d after queue %d was written", p.cfg.Device, i, got[i], reta[i])
			}
		}
	}
	buf := (*[64]byte)(C.calloc(64, 1))
	defer C.free(unsafe.Pointer(buf))
	n, types := C.uint8_t(64), C.uint64_t(0)
	if f.key_size != 0 {
		n = f.key_size
	}
	switch ret := C.fs_rss_key(p.id, (*C.uint8_t)(unsafe.Pointer(buf)), &n, &types); {
	case ret == -C.ENOTSUP:
	case ret < 0:
		return p.fail("reading the RSS key", ret)
	case int(n) >= rss.KeySize && !bytes.Equal(buf[:rss.KeySize], key[:]) && *buf != [64]byte{}:
		return fmt.Errorf("dpdk: %s: the device has another RSS key than the one written; rss-key= cannot be set on it", p.cfg.Device)
	case uint64(types)&tcpTypes == 0 && types != 0:
		return fmt.Errorf("dpdk: %s: the device has turned hashing of TCP off (it hashes %v)", p.cfg.Device, rssNames(uint64(types)))
	}
	return nil
}
