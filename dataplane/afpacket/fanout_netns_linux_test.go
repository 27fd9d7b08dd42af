package afpacket

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/rss"
)

// Where a fanout program's offset 0 is: the network header, not the Ethernet one.
func TestFanoutOffsets(t *testing.T) {
	l := newLab(t)
	p := l.open(Config{Queues: 2})
	peer := l.peer(false)
	probe := []unix.SockFilter{
		ins(unix.BPF_LD|unix.BPF_B|unix.BPF_ABS, 0),
		jump(unix.BPF_JEQ, 0x45, 0, 1),
		ins(unix.BPF_RET|unix.BPF_K, 1), // the IP header
		ins(unix.BPF_RET|unix.BPF_K, 0),
	}
	require.NoError(t, unix.SetsockoptSockFprog(p.queues[0].rx.fd, unix.SOL_PACKET, unix.PACKET_FANOUT_DATA,
		&unix.SockFprog{Len: uint16(len(probe)), Filter: &probe[0]}))
	pkt, proto := tuple{peerIP, ourIP, 1, 2}.packet(0)
	peer.send(ether(ourMAC, peerMAC, proto, pkt))
	collect(t, p.Queue(1), 1, isIPv4)
	peer.send(ether(ourMAC, peerMAC, proto, pkt, 9)) // the tag is off already
	collect(t, p.Queue(1), 1, isIPv4)
}

// arrivals sends segments and returns the queue each came in on.
func arrivals(t *testing.T, p *Port, peer *peer, tuples []tuple, tags ...uint16) []int {
	t.Helper()
	return arrivalsOf(t, p, peer, tuple.packet, tuples, tags...)
}

// arrivalsOf is arrivals for packets that build makes, with options or without. They
// are known by their number, which rides in the TCP sequence field at the end.
func arrivalsOf(t *testing.T, p *Port, peer *peer, build func(tuple, int) ([]byte, uint16), tuples []tuple, tags ...uint16) []int {
	t.Helper()
	for n, u := range tuples {
		pkt, proto := build(u, n%11)
		binary.BigEndian.PutUint32(pkt[len(pkt)-16:], uint32(n))
		peer.send(ether(ourMAC, peerMAC, proto, pkt, tags...))
	}
	at := make([]int, len(tuples))
	for i := range at {
		at[i] = -1
	}
	b := dataplane.NewBatch()
	for seen, end := 0, time.Now().Add(deadline); seen < len(tuples); {
		require.True(t, time.Now().Before(end), "%d of %d segments arrived", seen, len(tuples))
		for i := range p.Info().Queues {
			q := p.Queue(i)
			for k := range q.Rx(b) {
				f := b.Data[k]
				if et := binary.BigEndian.Uint16(f[12:]); et != unix.ETH_P_IP && et != unix.ETH_P_IPV6 {
					continue
				}
				n := binary.BigEndian.Uint32(f[len(f)-16:])
				require.Equal(t, -1, at[n], "segment %d came twice", n)
				at[n] = i
				seen++
			}
			q.Settle(b)
		}
	}
	return at
}

func predict(p *Port, tuples []tuple) []int {
	i := p.Info()
	toe, reta := rss.New(rss.Key(i.RSSKey)), rss.RETA(i.RETA)
	at := make([]int, len(tuples))
	for n, u := range tuples {
		at[n] = int(reta.Queue(u.hash(toe)))
	}
	return at
}

func TestRSS_008_FanoutEqualsPrediction(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	var tuples []tuple
	for n := range 200 {
		u := randomTuple(r, n%3 == 0)
		tuples = append(tuples, u)
	}
	for _, queues := range []int{2, 4, 5} {
		for name, key := range map[string]rss.Key{"symmetric": {}, "microsoft": rss.DefaultKey} {
			t.Run(fmt.Sprintf("queues=%d/key=%s", queues, name), func(t *testing.T) {
				l := newLab(t)
				ring := RingV2
				if queues == 4 {
					ring = RingV3
				}
				p := l.open(Config{Queues: queues, RSSKey: key, Ring: ring})
				peer := l.peer(false)
				require.Len(t, p.Info().RETA, retaSize)
				want := predict(p, tuples)
				require.Equal(t, want, arrivals(t, p, peer, tuples))
				require.Equal(t, want, arrivals(t, p, peer, tuples, 42), "VLAN-tagged")
				require.Equal(t, want, arrivalsOf(t, p, peer, tuple.icmpError, tuples), "ICMP errors")
				require.Equal(t, want, arrivalsOf(t, p, peer, tuple.icmpError, tuples, 42), "VLAN-tagged ICMP errors")
				used := map[int]bool{}
				for _, q := range want {
					used[q] = true
				}
				require.Len(t, used, queues)

				// Whatever is neither goes to queue 0.
				icmp, _ := tuples[1].packet(0)
				icmp[9] = unix.IPPROTO_ICMP
				arp := make([]byte, 46)
				for n := range 40 {
					binary.BigEndian.PutUint32(arp, uint32(n))
					peer.send(ether(net.HardwareAddr{255, 255, 255, 255, 255, 255}, peerMAC, unix.ETH_P_ARP, arp))
					icmp[15] = byte(n)
					peer.send(ether(ourMAC, peerMAC, unix.ETH_P_IP, icmp))
				}
				collect(t, p.Queue(0), 80, func(f []byte) bool { return !isTest(f) })

				// Down and up again: the kernel takes the sockets out of the
				// group and puts them back, which must not renumber them.
				l.ourIP("link", "set", l.If, "down")
				require.False(t, p.Info().Up)
				l.ourIP("link", "set", l.If, "up")
				require.True(t, p.Info().Up)
				require.Equal(t, want, arrivals(t, p, peer, tuples), "after down and up")
			})
		}
	}
}

// With the symmetric default key a reply's tuple lands on the queue of the original.
func TestRSS_004_BothDirectionsOneQueue(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	var there, back []tuple
	for n := range 60 {
		u := randomTuple(r, n%2 == 0)
		there = append(there, u)
		back = append(back, tuple{u.dst, u.src, u.dstPort, u.srcPort})
	}
	l := newLab(t)
	p, peer := l.open(Config{Queues: 4}), l.peer(false)
	require.Equal(t, arrivals(t, p, peer, there), arrivals(t, p, peer, back))
}

// Two ports on one interface: each has a group of its own and sees every frame.
func TestFanoutGroupsDoNotCollide(t *testing.T) {
	l := newLab(t)
	a, b := l.open(Config{Queues: 2}), l.open(Config{Queues: 3})
	peer := l.peer(false)
	var tuples []tuple
	r := rand.New(rand.NewPCG(11, 12))
	for range 50 {
		tuples = append(tuples, randomTuple(r, false))
	}
	require.Equal(t, predict(a, tuples), arrivals(t, a, peer, tuples))
	for i := range 3 { // b has them as well
		q := b.queues[i]
		batch := dataplane.NewBatch()
		for q.Rx(batch) > 0 {
			q.Settle(batch)
		}
	}
	require.Equal(t, predict(b, tuples), arrivals(t, b, peer, tuples))
}
