package bench

import (
	"cmp"
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/fastsyn/fastsyn/dataplane"
)

// Addresses of the two ends of a wire in this process: the benchmark prefixes of
// RFC 2544 and RFC 5180, and the pool that a flood comes from.
var (
	serverAddrs = []string{"198.18.0.1/16", "2001:2::1/64"}
	clientAddrs = []string{"198.18.1.1/16", "2001:2::1:1/64"}
)

const (
	server4, server6 = "198.18.0.1", "2001:2::1"
	spoof4, spoof6   = "198.19.0.0/16", "2001:2:0:1::/112"
	// On the link, so that the server finds them: for more flows than an address has ports.
	pool4, pool6 = "198.18.2.0/24", "2001:2::2:0/120"
)

var wires atomic.Uint64

func param(list []dataplane.Param, key string) (string, bool) {
	for _, p := range list {
		if p.Key == key {
			return p.Value, true
		}
	}
	return "", false
}

// setDefault adds key to list unless it is there.
func setDefault(list []dataplane.Param, key string, v int) []dataplane.Param {
	if _, ok := param(list, key); ok {
		return list
	}
	return append(list, dataplane.Param{Key: key, Value: strconv.Itoa(v)})
}

// shape is how the wires of a driver are named, and made long enough.
type shape struct {
	// named returns target with a name in it, fresh if it has none.
	named func(target, fresh string) string
	// sizes are the parameters for queues whose rings hold ring frames, a power of two.
	sizes func(queues, ring int) []size
}

type size struct {
	key   string
	value int
}

var shapes = map[string]shape{
	"loop": {
		named: func(target, fresh string) string { return cmp.Or(target, fresh) },
		sizes: func(queues, ring int) []size {
			frames := min(2*ring, 1<<(bits.Len(uint(1<<18/queues))-1))
			return []size{{"ring", min(ring, 1<<16)}, {"frames", max(frames, 2*dataplane.BatchSize)}}
		},
	},
	"dpdk": {
		named: func(target, fresh string) string {
			if !strings.Contains(target, ",") {
				target += ",wire=" + fresh
			}
			return target
		},
		// The ring of the other end holds frames of this one, besides those lent and
		// those in the caches of pools.
		sizes: func(_, ring int) []size {
			desc := min(max(ring, 32), 32768)
			return []size{{"rx-desc", desc}, {"tx-desc", desc}, {"mbufs", max(8192, 4*desc)}}
		},
	},
}

// bothEnds returns the specs of the client's and the server's end of one wire.
// A wire without a name gets one of its own. Its rings are as long as it takes
// for nothing to be lost: each flow in flight has at most three frames on the
// wire, the end of the flow before it in that place and its own SYN.
func bothEnds(sp dataplane.Spec, workers, concurrency int) (client, server dataplane.Spec) {
	sp.Params = setDefault(slices.Clone(sp.Params), "queues", workers)
	if s, ok := shapes[sp.Driver]; ok {
		sp.Target = s.named(sp.Target, fmt.Sprintf("bench-%d", wires.Add(1)))
		perQueue := (concurrency + workers - 1) / workers
		// Flows are dealt to queues exactly, so no slack for skew.
		ring := 1 << bits.Len(uint(4*perQueue+dataplane.BatchSize-1))
		for _, z := range s.sizes(workers, ring) {
			sp.Params = setDefault(sp.Params, z.key, z.value)
		}
	}
	client, server = sp, sp
	server.Decorators = make([]dataplane.Decoration, len(sp.Decorators))
	for i, d := range sp.Decorators {
		server.Decorators[i] = dataplane.Decoration{Name: d.Name, Params: otherEnd(d)}
	}
	return client, server
}

// otherEnd are the parameters of a decorator for the second end: the ends must
// not decide alike, and only the first writes the capture, which sees both ways.
func otherEnd(d dataplane.Decoration) []dataplane.Param {
	if d.Name != "impair" {
		return d.Params
	}
	var out []dataplane.Param
	seed := uint64(1)
	for _, p := range d.Params {
		switch p.Key {
		case "pcap":
			continue
		case "seed":
			n, err := strconv.ParseUint(p.Value, 0, 64)
			if err != nil {
				out = append(out, p) // impair says what is wrong with it
				continue
			}
			seed = n
		default:
			out = append(out, p)
		}
	}
	return append(out, dataplane.Param{Key: "seed", Value: strconv.FormatUint(seed+1, 10)})
}

// unwrap returns the port under all decorators.
func unwrap(p dataplane.Port) dataplane.Port {
	for {
		u, ok := p.(interface{ Unwrap() dataplane.Port })
		if !ok {
			return p
		}
		p = u.Unwrap()
	}
}
