package godpdk

import (
	"fmt"
	"slices"
	"unsafe"

	"github.com/yerden/go-dpdk/ethdev"
	"github.com/yerden/go-dpdk/mempool"

	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/dpdk"
)

// RoomSize is the smallest data room, in bytes and with the headroom, of a pool for
// Port: what CreateMbufPool takes as dataRoomSize.
const RoomSize = headroom + 2048

// headroom is RTE_PKTMBUF_HEADROOM, unless DPDK was built with another.
const headroom = 128

// mbufPrivate is the size of struct rte_pktmbuf_pool_private, by which a pool of
// mbufs is told from another.
const mbufPrivate = 8

// Adoption is a port of go-dpdk's for fastsyn to use.
type Adoption struct {
	// Port was configured, its queues set up, and started.
	Port ethdev.Port
	// Queues is how many receive and transmit queues fastsyn gets, from queue 0
	// on, each with a worker of its own.
	Queues int
	// Pools are where frames that fastsyn starts come from: SYNs, retransmissions, ARP.
	// One for each queue, preferably that of RxqSetup, or one for all. Made by
	// CreateMbufPool, RoomSize or more. A worker holds up to 192 frames: a burst
	// received, one to send, one in stock.
	Pools []*mempool.Mempool
	// TrustRSS leaves frames on the queue they come to, for devices that are known to spread
	// flows by the key and the table they report. Otherwise each frame is looked at,
	// and moved when it belongs to another queue. Matters with several queues only.
	TrustRSS bool
}

// Open hands the port to fastsyn; see the package about who owns it meanwhile. The result
// is a *dpdk.Port, with its counters (dataplane.CounterReporter).
func (a Adoption) Open() (dataplane.Port, error) {
	if err := dpdk.Available(); err != nil {
		return nil, fmt.Errorf("godpdk: port %d: add -tags dpdk to the build: %w", a.Port, err)
	}
	pools := a.Pools
	if len(pools) == 1 && a.Queues > 1 && a.Queues <= dpdk.MaxQueues {
		pools = slices.Repeat(pools, a.Queues)
	}
	b := dpdk.Adoption{Port: uint16(a.Port), Queues: a.Queues, TrustRSS: a.TrustRSS}
	for i, m := range pools {
		if m == nil {
			return nil, fmt.Errorf("godpdk: port %d: pool %d is nil", a.Port, i)
		}
		if len(m.PrivBytes()) < mbufPrivate {
			return nil, fmt.Errorf("godpdk: port %d: pool %d is no pool of mbufs: make it with mempool.CreateMbufPool", a.Port, i)
		}
		b.Pools = append(b.Pools, unsafe.Pointer(m))
	}
	p, err := dpdk.Adopt(b)
	if err != nil {
		return nil, fmt.Errorf("godpdk: %w", err)
	}
	return p, nil
}

// Port hands queues 0 to queues-1 of a port to fastsyn, with a pool for each queue
// or one for all. Close of the result ends that, and leaves the port as it is. It is Open
// of an Adoption without more.
//
// It fails when the port does not exist, is not started or has fewer queues, when the
// number of pools is neither 1 nor queues, or a pool's frames are too small.
func Port(pid ethdev.Port, queues int, pools ...*mempool.Mempool) (dataplane.Port, error) {
	return Adoption{Port: pid, Queues: queues, Pools: pools}.Open()
}
