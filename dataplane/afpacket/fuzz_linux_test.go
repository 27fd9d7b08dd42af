package afpacket

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fastsyn/fastsyn/rss"
)

// Whatever arrives, the program ends and names a queue that exists.
func FuzzSteer(f *testing.F) {
	for _, u := range []tuple{{peerIP, ourIP, 1, 2}, {make([]byte, 16), make([]byte, 16), 3, 4}} {
		pkt, proto := u.packet(0)
		f.Add(pkt, proto, uint8(4), true)
		f.Add(pkt[:25], proto, uint8(63), false)
		pkt, proto = u.icmpError(0)
		f.Add(pkt, proto, uint8(5), true)
	}
	f.Add([]byte{}, uint16(unix.ETH_P_ARP), uint8(0), true)
	f.Fuzz(func(t *testing.T, pkt []byte, proto uint16, queues uint8, symmetric bool) {
		n, key := 2+int(queues)%(MaxQueues-1), rss.DefaultKey
		if symmetric {
			key = rss.SymmetricKey
		}
		if got := runBPF(t, steer(key, n), pkt, proto); got >= uint32(n) {
			t.Fatalf("queue %d of %d", got, n)
		}
	})
}

// The header check agrees with a plain one and survives any frame.
func FuzzHeaderSumGood(f *testing.F) {
	for opts := range 11 {
		pkt, proto := tuple{peerIP, ourIP, 1, 2}.packet(opts)
		f.Add(ether(ourMAC, peerMAC, proto, pkt))
		pkt[8]++
		f.Add(ether(ourMAC, peerMAC, proto, pkt))
	}
	pkt, proto := tuple{make([]byte, 16), make([]byte, 16), 3, 4}.packet(0)
	f.Add(ether(ourMAC, peerMAC, proto, pkt))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, frame []byte) {
		want := false
		if len(frame) >= 34 {
			switch n := int(frame[14]&15) * 4; uint16(frame[12])<<8 | uint16(frame[13]) {
			case unix.ETH_P_IPV6:
				want = true
			case unix.ETH_P_IP:
				want = n >= 20 && n <= len(frame)-14 && sum16(frame[14:14+n], 0) == 0xffff
			}
		}
		if got := headerSumGood(frame); got != want {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}
