package dpdk

import "unsafe"

// Adoption is an ethdev that another part of the program has configured and
// started, with an EAL that it started too.
type Adoption struct {
	Port   uint16 // DPDK's number
	Queues int    // receive and transmit queues 0 to Queues-1 are ours from now on
	// Pools are struct rte_mempool pointers, the pool of each queue, for the frames that
	// fastsyn starts. The same pool may stand for several queues. At least 2048
	// bytes of room behind the headroom.
	Pools []unsafe.Pointer
	// TrustRSS is as in Config.
	TrustRSS bool
}
