package handshake

import (
	"math/bits"
	"unsafe"

	"github.com/fastsyn/fastsyn/cookie"
	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// Bits of fastPeer.flags.
const (
	fastPeerExp    = 1 << iota // the cookie came in the experimental option
	fastPeerTryExp             // ask in the experimental option next (TFO-017)
	fastPeerTried              // that was done, without success
)

// fastPeer is what a client remembers of one server: a cookie and what it may send
// beside it. Cookies are bound to both addresses, so a client with several has
// one for each (RFC 7413 §4.1.3.1).
type fastPeer struct {
	remote, local wire.Addr
	cookie        [16]byte
	used          uint32 // ms
	mss           uint16 // what the server and the path take
	n             uint8  // bytes of cookie; 0: none
	flags         uint8
	_             [8]byte
}

const fastWays = 4

// fastCache is a set-associative cache of them: fixed memory without pointers, and
// of each set the least recently used gives way.
type fastCache struct {
	sets [][fastWays]fastPeer
}

const _ = uint(64 - unsafe.Sizeof(fastPeer{}))

// init makes room for n servers or somewhat more.
func (c *fastCache) init(n int) {
	if n > 0 {
		c.sets = make([][fastWays]fastPeer, 1<<bits.Len(uint((n-1)/fastWays)))
	}
}

func (p *fastPeer) is(t *wire.Tuple) bool { return p.remote == t.Remote && p.local == t.Local }

// fastSet is the set of t's addresses, chosen by a keyed hash: nobody can
// aim for collisions.
func (e *Engine) fastSet(t *wire.Tuple) *[fastWays]fastPeer {
	c := cookie.Tuple{RemoteHi: t.Remote.Hi, RemoteLo: t.Remote.Lo, LocalHi: t.Local.Hi, LocalLo: t.Local.Lo}
	sets := e.fast.cache.sets
	return &sets[e.hasher.SumOne(&c).Hash&uint64(len(sets)-1)]
}

// fastPeer returns what is known of the server of t, nil if nothing is.
func (e *Engine) fastPeer(t *wire.Tuple) *fastPeer {
	set := e.fastSet(t)
	for k := range set {
		if p := &set[k]; p.is(t) {
			p.used = e.nowMS
			return p
		}
	}
	return nil
}

// ForgetFastOpen has ConnectText take the server of t for one it has never met, from our address in t.
func (e *Engine) ForgetFastOpen(t *wire.Tuple) {
	if e.fast.cache.sets == nil {
		return
	}
	if p := e.fastPeer(t); p != nil {
		*p = fastPeer{}
	}
}

// fastPeerFor is fastPeer, and makes an entry if there is none.
func (e *Engine) fastPeerFor(t *wire.Tuple) *fastPeer {
	if p := e.fastPeer(t); p != nil {
		return p
	}
	set := e.fastSet(t)
	oldest := &set[0]
	for k := range set {
		p := &set[k]
		if p.remote == (wire.Addr{}) {
			oldest = p
			break
		}
		if int32(p.used-oldest.used) < 0 {
			oldest = p
		}
	}
	*oldest = fastPeer{remote: t.Remote, local: t.Local, used: e.nowMS}
	return oldest
}
