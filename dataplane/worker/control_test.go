package worker

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/cookie"
	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/dptest"
	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/handshake"
)

var (
	own4   = wire.Addr4(0x0a000002)
	peer4  = wire.Addr4(0x0a000009)
	own6   = wire.Addr{Hi: 0x20010db8 << 32, Lo: 2}
	peer6  = wire.Addr{Hi: 0x20010db8 << 32, Lo: 9}
	peerHW = [6]byte{2, 0, 0, 0, 0, 9}
)

// rig is one worker on a scripted port, stepped by hand.
type rig struct {
	*Worker
	port *dptest.Port
	hw   [6]byte
	now  int64
}

func newRig(t *testing.T, engine handshake.Config) *rig {
	t.Helper()
	return newRigOn(t, dptest.PortConfig{}, Config{Engine: engine})
}

// newRigOn is newRig with a port of some shape, and what c says about the worker.
func newRigOn(t *testing.T, port dptest.PortConfig, c Config) *rig {
	t.Helper()
	r := &rig{port: dptest.NewPort(t, port), now: 1_700_000_000_000_000_000}
	r.hw = [6]byte(r.port.Info().MAC)
	net, err := NewNet(r.hw, prefixes("10.0.0.2/24", "2001:db8::2/64"), nil, []netip.Addr{netip.MustParseAddr("10.0.0.254")})
	require.NoError(t, err)
	secret, err := cookie.NewSecret([]byte("0123456789abcdef0123456789abcdef"))
	require.NoError(t, err)
	ring, err := cookie.NewRing(secret, time.Unix(0, r.now), cookie.RingConfig{})
	require.NoError(t, err)
	h, err := secret.Hasher()
	require.NoError(t, err)
	c.Port, c.Net, c.Hasher, c.Ring, c.Clock, c.CPU = r.port, net, h, ring, func() int64 { return r.now }, -1
	r.Worker, err = New(c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Free()) })
	return r
}

// send injects a frame, runs a round and returns the frames that came out.
func (r *rig) send(t *testing.T, frame []byte) [][]byte {
	t.Helper()
	r.port.Inject(0, frame, dataplane.Meta{})
	return r.step(t, 1000)
}

func (r *rig) step(t *testing.T, ns int64) [][]byte {
	t.Helper()
	r.now += ns
	r.round()
	s := r.snapshot()
	require.Empty(t, s.Check(), "%+v", s)
	return r.port.Sent(0)
}

func (r *rig) drops() map[string]uint64 { return r.snapshot().RxDrops }

func parse(t *testing.T, frame []byte) wire.Packet {
	t.Helper()
	var p wire.Packet
	require.Equal(t, wire.OK, wire.Parse(frame, false, &p))
	return p
}

func arpFrame(op uint16, dst [6]byte, sender, target wire.Addr) []byte {
	b := make([]byte, 64)
	l := wire.Link{Dst: dst, Src: peerHW}
	return b[:wire.PutARP(b, &l, op, peerHW, sender, [6]byte{}, target)]
}

func tcpFrame(r *rig, s wire.Segment, vlan uint16) []byte {
	b := make([]byte, 256)
	l := wire.Link{Dst: r.hw, Src: peerHW, VLAN: vlan}
	// PutTCP sends Local to Remote; the frame comes from our remote.
	s.Local, s.Remote = s.Remote, s.Local
	s.LocalPort, s.RemotePort = s.RemotePort, s.LocalPort
	n := wire.PutLink(b, &l, s.Local.EtherType())
	return b[:n+wire.PutTCP(b[n:], &s, nil)]
}

func syn(local, remote wire.Addr, port uint16) wire.Segment {
	return wire.Segment{
		Tuple: wire.Tuple{Remote: remote, Local: local, RemotePort: 40000, LocalPort: port},
		Seq:   1000, Flags: wire.FlagSYN, Win: 65535,
	}
}

func TestNET_001_ARP(t *testing.T) {
	r := newRig(t, handshake.Config{MaxFlows: 16})
	out := r.send(t, arpFrame(1, broadcastMAC, peer4, own4))
	require.Len(t, out, 1)
	a, ok := wire.ParseARP(out[0][14:])
	require.True(t, ok)
	require.Equal(t, uint16(2), a.Op())
	require.Equal(t, own4, a.Sender())
	require.Equal(t, r.hw, a.SenderMAC())
	require.Equal(t, peer4, a.Target())
	require.Equal(t, peerHW, [6]byte(out[0][:6]), "unicast to the sender")
	m, ok := r.cfg.Net.Neighbors.Lookup(peer4)
	require.True(t, ok, "learned from a request to us")
	require.Equal(t, peerHW, m)

	require.Empty(t, r.send(t, arpFrame(1, broadcastMAC, peer4, wire.Addr4(0x0a00000a))), "never claims others")
	require.Len(t, r.send(t, arpFrame(1, broadcastMAC, wire.Addr4(0), own4)), 1, "a probe is answered")
	require.Empty(t, r.send(t, arpFrame(1, broadcastMAC, wire.Addr4(0x0a000055), wire.Addr4(0x0a000055))), "gratuitous, unknown")
	_, ok = r.cfg.Net.Neighbors.Lookup(wire.Addr4(0x0a000055))
	require.False(t, ok)
	require.Empty(t, r.send(t, arpFrame(2, r.hw, wire.Addr4(0x0a000066), own4)), "an answer nobody asked for")
	_, ok = r.cfg.Net.Neighbors.Lookup(wire.Addr4(0x0a000066))
	require.False(t, ok)
	require.Positive(t, r.drops()["arp_ignored"])
}

func TestNET_007_NeighborSolicitation(t *testing.T) {
	r := newRig(t, handshake.Config{MaxFlows: 16})
	b := make([]byte, 128)
	dst := wire.SolicitedNode(own6)
	l := wire.Link{Dst: wire.MulticastMAC(dst), Src: peerHW}
	out := r.send(t, b[:wire.PutNeighborSolicit(b, &l, peer6, dst, own6)])
	require.Len(t, out, 1)
	p := parse(t, out[0])
	na, ok := wire.ParseNeighborAdvert(out[0], &p)
	require.True(t, ok)
	require.Equal(t, own6, na.Target())
	require.Equal(t, uint8(wire.NDPSolicited|wire.NDPOverride), na.Flags()&(wire.NDPSolicited|wire.NDPOverride))
	require.Equal(t, peer6, p.Seg.Local)
	m, ok := r.cfg.Net.Neighbors.Lookup(peer6)
	require.True(t, ok)
	require.Equal(t, peerHW, m)

	// Somebody's duplicate address detection for our address is told to everybody.
	out = r.send(t, b[:wire.PutNeighborSolicit(b, &l, wire.Addr{}, dst, own6)])
	require.Len(t, out, 1)
	p = parse(t, out[0])
	require.Equal(t, allNodes, p.Seg.Local)

	other := wire.Addr{Hi: own6.Hi, Lo: 0x77}
	dst = wire.SolicitedNode(other)
	l.Dst = wire.MulticastMAC(dst)
	require.Empty(t, r.send(t, b[:wire.PutNeighborSolicit(b, &l, peer6, dst, other)]))
	require.Equal(t, uint64(1), r.drops()["ndp_ignored"])
}

func TestNET_012_EchoIsRateLimited(t *testing.T) {
	r := newRig(t, handshake.Config{MaxFlows: 16})
	frame := echoRequest(r)
	out := r.send(t, frame)
	require.Len(t, out, 1)
	require.Equal(t, byte(0), out[0][34], "echo reply")
	answered := 1
	for range 3000 {
		answered += len(r.send(t, frame)) // 1 µs apart
	}
	require.LessOrEqual(t, answered, 1010)
	require.GreaterOrEqual(t, answered, 1000)
	require.Equal(t, uint64(3001-answered), r.drops()["icmp_rate_limited"])
	r.step(t, int64(time.Second))
	require.Len(t, r.send(t, frame), 1, "and comes back")
}

func TestVAL_001_015_016_ForeignFramesAreSilent(t *testing.T) {
	r := newRig(t, handshake.Config{MaxFlows: 16})
	for name, tc := range map[string]struct {
		change func(f []byte)
		seg    wire.Segment
		want   string
	}{
		"foreign mac":      {func(f []byte) { f[5] ^= 0x55 }, syn(own4, peer4, 80), "foreign_mac"},
		"foreign ip":       {func([]byte) {}, syn(wire.Addr4(0x0a000003), peer4, 80), "foreign_ip"},
		"broadcast source": {func([]byte) {}, syn(own4, wire.Addr4(0x0a0000ff), 80), "broadcast_source"},
		"network source":   {func([]byte) {}, syn(own4, wire.Addr4(0x0a000000), 80), "broadcast_source"},
		"bad checksum":     {func(f []byte) { f[50] ^= 1 }, syn(own4, peer4, 80), "bad_tcp_checksum"},
	} {
		t.Run(name, func(t *testing.T) {
			f := tcpFrame(r, tc.seg, 0)
			tc.change(f)
			before := r.drops()[tc.want]
			require.Empty(t, r.send(t, f))
			require.Equal(t, before+1, r.drops()[tc.want], "%v", r.drops())
		})
	}
	require.Len(t, r.send(t, tcpFrame(r, syn(own4, peer4, 80), 0)), 1, "and an honest one is reset")
}

// The device's word about checksums.
func TestVAL_001_DeviceChecksum(t *testing.T) {
	r := newRig(t, handshake.Config{MaxFlows: 16})
	f := tcpFrame(r, syn(own4, peer4, 80), 0)
	r.port.Inject(0, f, dataplane.Meta{Flags: dataplane.MetaCsumBad})
	require.Empty(t, r.step(t, 1))
	require.Equal(t, uint64(1), r.drops()["device_checksum"])
	f[50] ^= 1
	r.port.Inject(0, f, dataplane.Meta{Flags: dataplane.MetaCsumGood})
	require.Len(t, r.step(t, 1), 1)
}

// The answer has the tag of the question, whether it came in band or
// was stripped by the device.
func TestNET_005_VLAN(t *testing.T) {
	r := newRig(t, handshake.Config{MaxFlows: 16})
	out := r.send(t, tcpFrame(r, syn(own4, peer4, 80), 42))
	require.Len(t, out, 1)
	p := parse(t, out[0])
	require.True(t, p.Tagged)
	require.Equal(t, uint16(42), p.VLAN)

	r.port.Inject(0, tcpFrame(r, syn(own4, peer4, 80), 0), dataplane.Meta{Flags: dataplane.MetaVLAN, VLAN: 43})
	out = r.step(t, 1)
	require.Len(t, out, 1)
	p = parse(t, out[0])
	require.True(t, p.Tagged)
	require.Equal(t, uint16(43), p.VLAN)
	require.Equal(t, wire.FlagRST|wire.FlagACK, p.Seg.Flags)
}

// A flood of SYNs from invented neighbours causes no ARP and no
// neighbour entry; their SYN-ACKs, also the retransmitted ones, go back the way
// the SYN came.
func TestNET_003_FloodCausesNoARP(t *testing.T) {
	r := newRig(t, handshake.Config{MaxFlows: 4096, Cookies: handshake.CookiesNever})
	app, err := r.AddApp(Callbacks{Bare: true})
	require.NoError(t, err)
	require.NoError(t, r.Listen(wire.Addr{}, 80, app))
	for i := range uint32(200) {
		out := r.send(t, tcpFrame(r, syn(own4, wire.Addr4(0x0a000010+i%200), 80), 0))
		require.Len(t, out, 1)
		require.Equal(t, peerHW, [6]byte(out[0][:6]))
	}
	require.Empty(t, r.cfg.Net.Neighbors.tab)
	again := 0
	for range 40 {
		for _, f := range r.step(t, int64(100*time.Millisecond)) {
			p := parse(t, f)
			require.Equal(t, wire.KindTCP, p.Kind, "no ARP")
			require.Equal(t, peerHW, [6]byte(f[:6]))
			again++
		}
	}
	require.Equal(t, 400, again, "two retransmissions each in 4 s")
}

// When the link comes up, there may be somebody else at its other end: our
// addresses are announced, and next hops asked for again.
func TestNET_002_LinkUpAnnounces(t *testing.T) {
	r := newRig(t, handshake.Config{MaxFlows: 64})
	gw := wire.Addr4(0x0a0000fe)
	r.cfg.Net.Neighbors.want(gw, r.now)
	r.send(t, arpFrame(2, r.hw, gw, own4))
	require.Empty(t, r.step(t, int64(time.Second)), "nothing happened")
	r.port.SetUp(false)
	require.Empty(t, r.step(t, int64(time.Second)))
	r.port.SetUp(true)
	var targets []wire.Addr
	solicited := 0
	for _, f := range append(r.step(t, int64(time.Second)), r.step(t, 1)...) {
		if p := parse(t, f); p.Kind != wire.KindARP {
			solicited++ // listener report, DAD probe and advertisement of our IPv6 address
			continue
		}
		a, ok := wire.ParseARP(f[14:])
		require.True(t, ok)
		require.Equal(t, broadcastMAC, [6]byte(f[:6]))
		targets = append(targets, a.Target())
	}
	require.Equal(t, []wire.Addr{own4, gw}, targets)
	require.Equal(t, 3, solicited)
	r.send(t, arpFrame(2, r.hw, gw, own4))
	require.Empty(t, r.step(t, int64(time.Second)), "once")
}

// Frames to an unknown next hop wait for the answer, three at most.
func TestNET_002_SegmentsWaitForTheNextHop(t *testing.T) {
	r := newRig(t, handshake.Config{MaxFlows: 64})
	app, err := r.AddApp(Callbacks{Bare: true})
	require.NoError(t, err)
	far := wire.Addr4(0xc0000201) // through the gateway
	for i := range uint16(5) {
		_, err := r.Connect(&wire.Tuple{Remote: far, Local: own4, RemotePort: 80, LocalPort: 2000 + i}, app)
		require.NoError(t, err)
	}
	out := append(r.step(t, 1), r.step(t, 1)...)
	require.Len(t, out, 1)
	a, ok := wire.ParseARP(out[0][14:])
	require.True(t, ok)
	require.Equal(t, wire.Addr4(0x0a0000fe), a.Target(), "asks for the gateway")
	require.Equal(t, uint64(2), r.snapshot().TxDrops["tx_neighbor_queue_full"])
	gw := arpFrame(2, r.hw, wire.Addr4(0x0a0000fe), own4)
	out = append(r.send(t, gw), r.step(t, 1)...)
	require.Len(t, out, 3)
	for _, f := range out {
		p := parse(t, f)
		require.Equal(t, wire.FlagSYN, p.Seg.Flags)
		require.Equal(t, peerHW, [6]byte(f[:6]))
	}
	require.Empty(t, r.pending)

	// No route at all.
	_, err = r.Connect(&wire.Tuple{Remote: wire.Addr{Hi: 1 << 61, Lo: 1}, Local: own6, RemotePort: 80, LocalPort: 9}, app)
	require.NoError(t, err)
	require.Empty(t, r.step(t, 1))
	require.Equal(t, uint64(1), r.snapshot().TxDrops["tx_no_route"])
}

func TestHND_006_PanickingCallbackLosesItsFlowOnly(t *testing.T) {
	r := newRig(t, handshake.Config{MaxFlows: 64})
	app, err := r.AddApp(Callbacks{Bare: true, Established: func(*Flow) { panic("boom") }})
	require.NoError(t, err)
	require.NoError(t, r.Listen(wire.Addr{}, 80, app))
	s := syn(own4, peer4, 80)
	out := r.send(t, tcpFrame(r, s, 0))
	require.Len(t, out, 1)
	p := parse(t, out[0])
	s.Seq, s.Ack, s.Flags = 1001, p.Seg.Seq+1, wire.FlagACK
	out = r.send(t, tcpFrame(r, s, 0))
	require.Len(t, out, 1)
	p = parse(t, out[0])
	require.NotZero(t, p.Seg.Flags&wire.FlagRST)
	require.Equal(t, uint64(1), r.snapshot().CallbackPanics)
	require.Zero(t, r.Engine().Flows)
}

// A request and its reply, which is sent again until it is acknowledged.
func TestReplyIsRetransmitted(t *testing.T) {
	r := newRig(t, handshake.Config{MaxFlows: 64})
	app, err := r.AddApp(Callbacks{Bare: true, Data: func(f *Flow, p []byte) { require.True(t, f.Reply(p, true)) }})
	require.NoError(t, err)
	require.NoError(t, r.Listen(wire.Addr{}, 80, app))
	s := syn(own4, peer4, 80)
	p := parse(t, r.send(t, tcpFrame(r, s, 0))[0])
	b := make([]byte, 256)
	l := wire.Link{Dst: r.hw, Src: peerHW}
	req := wire.Segment{Tuple: wire.Tuple{Local: peer4, Remote: own4, LocalPort: 40000, RemotePort: 80}, Seq: 1001, Ack: p.Seg.Seq + 1, Flags: wire.FlagACK | wire.FlagPSH, Win: 1000}
	n := wire.PutLink(b, &l, wire.EtherTypeIPv4)
	n += wire.PutTCP(b[n:], &req, []byte("hello"))
	out := r.send(t, b[:n])
	require.Len(t, out, 2, "the ACK and the reply")
	reply := parse(t, out[1])
	require.Equal(t, "hello", string(out[1][reply.Data:reply.End]))
	require.NotZero(t, reply.Seg.Flags&wire.FlagFIN)
	var again [][]byte
	for range 35 {
		again = append(again, r.step(t, int64(100*time.Millisecond))...)
	}
	require.Len(t, again, 2, "at 1 s and 3 s")
	q := parse(t, again[0])
	require.Equal(t, "hello", string(again[0][q.Data:q.End]))
	require.Equal(t, reply.Seg.Seq, q.Seg.Seq)
	require.NotZero(t, q.Seg.Flags&wire.FlagFIN)
	s.Seq, s.Ack, s.Flags = 1006, reply.Seg.Seq+6, wire.FlagACK
	require.Empty(t, r.send(t, tcpFrame(r, s, 0)))
	require.Empty(t, r.texts.busy)
	for range 50 {
		require.Empty(t, r.step(t, int64(100*time.Millisecond)))
	}
}

// unreachable is the ICMP error of a router, sent to hw, about an IPv4 frame of ours.
func unreachable(hw [6]byte, frame []byte) []byte {
	b := make([]byte, 256)
	l := wire.Link{Dst: hw, Src: peerHW}
	n := wire.PutLink(b, &l, wire.EtherTypeIPv4)
	ip, quote := b[n:], frame[14:]
	copy(ip, []byte{0x45, 0, 0, byte(28 + len(quote)), 0, 0, 0x40, 0, 64, 1, 0, 0, 10, 0, 0, 99})
	copy(ip[16:20], quote[12:16])
	copy(ip[20:], []byte{3, 1, 0, 0, 0, 0, 0, 0})
	n += 28 + copy(ip[28:], quote)
	sum := wire.Checksum(ip[:20], 0)
	ip[10], ip[11] = byte(sum>>8), byte(sum)
	sum = wire.Checksum(b[34:n], 0)
	ip[22], ip[23] = byte(sum>>8), byte(sum)
	return b[:n]
}

func TestLSN_021_ICMPErrorRemovesTheHalfOpen(t *testing.T) {
	r := newRig(t, handshake.Config{MaxFlows: 64, Cookies: handshake.CookiesNever})
	app, err := r.AddApp(Callbacks{Bare: true})
	require.NoError(t, err)
	require.NoError(t, r.Listen(wire.Addr{}, 80, app))
	out := r.send(t, tcpFrame(r, syn(own4, peer4, 80), 0))
	require.Len(t, out, 1)
	require.Equal(t, uint64(1), r.Engine().HalfOpen)
	require.Empty(t, r.send(t, unreachable(r.hw, out[0])))
	require.Zero(t, r.Engine().HalfOpen)
}

// Do, Stats and Stop from another goroutine, with the worker really running.
func TestRunDoStop(t *testing.T) {
	r := newRig(t, handshake.Config{MaxFlows: 64})
	r.cfg.Clock = func() int64 { return time.Now().UnixNano() }
	go r.Run()
	for range 100 {
		ran := false
		require.NoError(t, r.Do(func() { ran = true }))
		require.True(t, ran)
		s := r.Stats()
		require.Empty(t, s.Check())
	}
	r.Stop()
	<-r.Done()
	require.NoError(t, r.Err())
	require.ErrorIs(t, r.Do(func() {}), ErrStopped)
	s := r.Stats()
	require.Empty(t, s.Check(), "readable after the end")
}

func TestRunEndsOnDeviceFailure(t *testing.T) {
	r := newRig(t, handshake.Config{MaxFlows: 64})
	r.cfg.Clock = func() int64 { return time.Now().UnixNano() }
	go r.Run()
	r.port.Fail(0, dataplane.ErrUnknownDriver)
	<-r.Done()
	require.ErrorIs(t, r.Err(), dataplane.ErrUnknownDriver)
}

// AutoClose closes flows of either origin, with and without a PeerClosed callback.
func TestAutoCloseOfActiveFlows(t *testing.T) {
	for _, cb := range []Callbacks{{Bare: true, AutoClose: true}, {Bare: true, AutoClose: true, PeerClosed: func(*Flow) {}}, {Bare: true}} {
		r := newRig(t, handshake.Config{MaxFlows: 64})
		app, err := r.AddApp(cb)
		require.NoError(t, err)
		r.send(t, arpFrame(1, broadcastMAC, peer4, own4)) // teaches the way to the peer
		_, err = r.Connect(&wire.Tuple{Remote: peer4, Local: own4, RemotePort: 80, LocalPort: 40001}, app)
		require.NoError(t, err)
		out := r.step(t, 1000)
		require.Len(t, out, 1)
		p := parse(t, out[0])
		s := wire.Segment{
			Tuple: wire.Tuple{Remote: peer4, Local: own4, RemotePort: 80, LocalPort: 40001},
			Seq:   500, Ack: p.Seg.Seq + 1, Flags: wire.FlagSYN | wire.FlagACK, Win: 65535,
		}
		require.Len(t, r.send(t, tcpFrame(r, s, 0)), 1)
		s.Seq, s.Flags = 501, wire.FlagFIN|wire.FlagACK
		out = r.send(t, tcpFrame(r, s, 0))
		require.NotEmpty(t, out)
		p = parse(t, out[len(out)-1])
		require.NotZero(t, p.Seg.Flags&wire.FlagFIN, "our FIN follows theirs")
		s.Seq, s.Ack, s.Flags = 502, p.Seg.Seq+1, wire.FlagACK
		r.send(t, tcpFrame(r, s, 0))
		require.Zero(t, r.Engine().Flows)
		require.Equal(t, uint64(1), r.Engine().Done)
	}
}
