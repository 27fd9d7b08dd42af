//go:build dpdk && cgo && linux

package dpdk

/*
#include <stdlib.h>
#include <rte_ethdev.h>
#include "ethdev.h"
*/
import "C"

import (
	"fmt"
	"math/bits"
	"sync"
	"unsafe"
)

// wire is a pair of ring ports within the process. Frames of one end lie in the
// rings of the other, so memory goes when both ends have.
type wire struct {
	name   string
	queues int
	port   [2]C.uint16_t
	rings  unsafe.Pointer
	opened int
	ends   int // still open
	pools  []*C.struct_rte_mempool
}

var wires struct {
	sync.Mutex
	byName map[string]*wire
	made   int
}

// openWire returns an end of the wire of that name: the first of a new one, or the second.
// The first decides the number of queues.
func openWire(name string, c *Config) (*wire, C.uint16_t, error) {
	wires.Lock()
	defer wires.Unlock()
	w := wires.byName[name]
	if w == nil {
		slots := 1 << bits.Len(uint(max(c.RxDesc, c.TxDesc)-1))
		w = &wire{name: name, queues: c.Queues}
		wires.made++
		text := C.CString(fmt.Sprintf("fsw%d", wires.made))
		defer C.free(unsafe.Pointer(text))
		var ret C.int
		onMain(func() {
			ret = C.fs_wire(text, C.uint16_t(c.Queues), C.uint32_t(slots), 0, &w.port[0], &w.rings)
		})
		if ret < 0 {
			return nil, 0, refused(c.Device+": making the rings", int(ret), takeLog())
		}
		if wires.byName == nil {
			wires.byName = map[string]*wire{}
		}
		wires.byName[name] = w
	}
	switch {
	case w.opened == 2:
		return nil, 0, fmt.Errorf("dpdk: %s: both ends of the wire are in use, or one of them still is; close both, or use another name (net_ring,wire=NAME)", c.Device)
	case c.Queues != w.queues:
		return nil, 0, fmt.Errorf("dpdk: %s: queues=%d, but the end opened first has queues=%d; give both the same", c.Device, c.Queues, w.queues)
	}
	w.opened++
	w.ends++
	return w, w.port[w.opened-1], nil
}

// close ends one end, whose frames are in pools.
func (w *wire) close(pools []*C.struct_rte_mempool) {
	wires.Lock()
	defer wires.Unlock()
	w.pools = append(w.pools, pools...)
	if w.ends--; w.ends > 0 {
		return
	}
	if w.opened < 2 { // nobody came for the other end
		onMain(func() { C.rte_eth_dev_close(w.port[1]) })
	}
	C.fs_wire_free(w.rings)
	freePools(w.pools)
	if wires.byName[w.name] == w {
		delete(wires.byName, w.name)
	}
}
