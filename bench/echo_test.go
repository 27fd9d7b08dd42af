package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/dptest"
	"github.com/fastsyn/fastsyn/dataplane/loop"
	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/rss"
)

var (
	ownMAC  = net.HardwareAddr{2, 0x66, 0x73, 0, 0, 9}
	peerMAC = net.HardwareAddr{0xde, 0xad, 0xbe, 0xef, 0, 1}
)

// testEcho is an echo that sends on q, without a poller around it.
func testEcho(t testing.TB, q dataplane.Queue, c Config) *echo {
	t.Helper()
	if c.Concurrency == 0 {
		c.Concurrency = 128
	}
	c.Seed = 7
	picker, err := newPicker(dataplane.Info{Queues: 1})
	require.NoError(t, err)
	e, err := newEcho(&job{cfg: c, workers: 1}, 0, q, ownMAC, peerMAC, picker)
	require.NoError(t, err)
	return e
}

// swapped is f as a reflector returns it.
func swapped(f []byte) []byte {
	g := append([]byte(nil), f...)
	copy(g, f[6:12])
	copy(g[6:], f[:6])
	return g
}

func inject(p *dptest.Port, frames ...[]byte) {
	for _, f := range frames {
		p.Inject(0, swapped(f), dataplane.Meta{})
	}
}

func TestEchoFrames(t *testing.T) {
	p := dptest.NewPort(t, dptest.PortConfig{})
	e := testEcho(t, p.Queue(0), Config{})
	for _, from := range []uint64{0, 0xffc0, 0x1_0000_0000 - 3, 0x1234_5678_9abc_def0} {
		e.ctr.sent, e.outstanding = from, 0
		for i := range e.flow {
			e.flow[i].next = from + (uint64(i)-from)%echoFlows
		}
		clear(e.sentAt)
		e.turn(1e9)
		frames := p.Sent(0)
		require.Len(t, frames, dataplane.BatchSize)
		ports := map[uint16]bool{}
		for i, f := range frames {
			require.Len(t, f, 60, "the shortest frame that Ethernet carries")
			var k wire.Packet
			require.Equal(t, wire.OK, wire.Parse(f, false, &k), "checksums included")
			require.Equal(t, peerMAC, net.HardwareAddr(f[:6]))
			require.Equal(t, ownMAC, net.HardwareAddr(f[6:12]))
			require.Equal(t, from+uint64(i), uint64(k.Seg.Ack)<<32|uint64(k.Seg.Seq))
			require.Equal(t, uint32(6), k.Seg.Len)
			require.Equal(t, uint16(echoPort), k.Seg.RemotePort)
			ports[k.Seg.LocalPort] = true
		}
		require.Len(t, ports, echoFlows)
		// They are what is expected back.
		before := e.ctr.returned
		inject(p, frames...)
		e.turn(1e9)
		require.Equal(t, before+dataplane.BatchSize, e.ctr.returned)
		require.Zero(t, e.ctr.lost+e.ctr.bad+e.ctr.foreign+e.ctr.reordered)
		p.Sent(0)
	}
}

// Every bit of a frame counts.
func TestEchoNoticesEveryChange(t *testing.T) {
	p := dptest.NewPort(t, dptest.PortConfig{})
	e := testEcho(t, p.Queue(0), Config{Count: 64, Concurrency: 64})
	e.turn(1)
	frames := p.Sent(0)
	good := swapped(frames[5])
	bits := 0
	for i := range good {
		for bit := range 8 {
			f := append([]byte(nil), good...)
			f[i] ^= 1 << bit
			p.Inject(0, f, dataplane.Meta{})
			bits++
		}
	}
	p.Inject(0, good[:59], dataplane.Meta{})
	p.Inject(0, append(append([]byte(nil), good...), 0), dataplane.Meta{})
	for p.Pending(0) > 0 {
		e.turn(2)
	}
	require.Zero(t, e.ctr.returned)
	require.Equal(t, uint64(bits+2), e.ctr.bad, "all are from the reflector, or have our tag")
	require.Equal(t, 64, e.outstanding)
	inject(p, frames[5])
	e.turn(2)
	require.Equal(t, uint64(1), e.ctr.returned)
}

func TestEchoCountsOrderAndLoss(t *testing.T) {
	p := dptest.NewPort(t, dptest.PortConfig{})
	e := testEcho(t, p.Queue(0), Config{Count: 256, Concurrency: 256})
	check := func(want echoCounters, outstanding int) {
		t.Helper()
		want.sent = 256
		require.Equal(t, want, e.ctr)
		require.Equal(t, outstanding, e.outstanding)
		require.Equal(t, uint64(outstanding), e.unreturned())
		require.Equal(t, e.ctr.sent, e.ctr.returned+e.ctr.lost+uint64(e.outstanding))
	}
	var frames [][]byte
	for range 4 { // number k is of flow k mod 64, so each flow has four
		e.turn(640)
		frames = append(frames, p.Sent(0)...)
	}
	check(echoCounters{}, 256)
	inject(p, frames[0], frames[1], frames[64])
	e.turn(1280)
	check(echoCounters{returned: 3}, 253)
	inject(p, frames[66]) // frame 2 of that flow is overtaken: presumed lost
	e.turn(1280)
	check(echoCounters{returned: 4, lost: 1}, 251)
	inject(p, frames[2]) // and was not
	e.turn(1280)
	check(echoCounters{returned: 5, reordered: 1}, 251)
	inject(p, frames[2], frames[66], frames[0])
	e.turn(1280)
	check(echoCounters{returned: 5, reordered: 1, repeated: 3}, 251)
	inject(p, frames[195]) // the last of flow 3: three of it gone
	e.turn(1280)
	check(echoCounters{returned: 6, reordered: 1, repeated: 3, lost: 3}, 247)

	// Frames of others, and of another queue and run.
	p.Inject(0, frameFromTo(macA, everybody, 60), dataplane.Meta{})
	p.Inject(0, []byte("short"), dataplane.Meta{})
	other := swapped(frames[9])
	other[0] ^= 4 // not to us, but it has our tag
	p.Inject(0, other, dataplane.Meta{})
	other = swapped(frames[9])
	binary.BigEndian.PutUint32(other[54:], 1)
	other[11] ^= 1 // neither from the reflector nor tagged
	p.Inject(0, other, dataplane.Meta{})
	other = swapped(frames[9])
	other[59] = 1 // queue 1
	p.Inject(0, other, dataplane.Meta{})
	e.job.workers = 2
	e.turn(1280)
	e.job.workers = 1
	check(echoCounters{returned: 6, reordered: 1, repeated: 3, lost: 3, foreign: 3, bad: 1, elsewhere: 1}, 247)

	// Silence: everything is lost, in twice the time each time.
	e.turn(1280 + stallTime - 1)
	require.Zero(t, e.ctr.stalls)
	e.turn(1280 + stallTime)
	check(echoCounters{returned: 6, reordered: 1, repeated: 3, lost: 250, foreign: 3, bad: 1, elsewhere: 1, stalls: 1}, 0)
	require.Equal(t, 2*stallTime, e.patience)
	inject(p, frames[100])
	e.turn(1280 + stallTime)
	check(echoCounters{returned: 7, reordered: 2, repeated: 3, lost: 249, foreign: 3, bad: 1, elsewhere: 1, stalls: 1}, 0)
	require.Equal(t, stallTime, e.patience)
	require.Equal(t, finished, e.phase)

	h := newLatency().h
	e.service.copyTo(h)
	require.Equal(t, int64(7), h.TotalCount())
	require.InDelta(t, 640, h.ValueAtPercentile(50), 64)
}

// What outlives the record of send times is late, and lost for good.
func TestEchoLate(t *testing.T) {
	p := dptest.NewPort(t, dptest.PortConfig{})
	e := testEcho(t, p.Queue(0), Config{})
	// Flow 3 never comes back; the others do, until its first frame's place is used again.
	e.turn(64)
	frames := p.Sent(0)
	first := frames
	for e.ctr.sent <= uint64(len(e.sentAt))+3 {
		for _, f := range frames {
			if binary.BigEndian.Uint32(f[38:])%echoFlows != 3 {
				inject(p, f)
			}
		}
		e.turn(64)
		frames = p.Sent(0)
		require.NotEmpty(t, frames, "flow 3 has not filled the window yet")
	}
	lost := (e.ctr.sent-uint64(len(e.sentAt))-4)/echoFlows + 1
	require.Equal(t, lost, e.ctr.lost, "its first frames have lost their places")
	e.quota = 0 // send no more
	inject(p, first[3])
	e.turn(64)
	require.Equal(t, uint64(1), e.ctr.late)
	require.Equal(t, lost, e.ctr.lost)
	require.Equal(t, e.ctr.sent, e.ctr.returned+e.ctr.lost+uint64(e.outstanding))
	require.Equal(t, uint64(e.outstanding), e.unreturned())
}

// A full transmit ring looks like loss, and no frame is settled twice or kept (dptest).
func TestEchoTransmitRingFull(t *testing.T) {
	p := dptest.NewPort(t, dptest.PortConfig{})
	e := testEcho(t, p.Queue(0), Config{Concurrency: 64})
	p.Refuse(0, 60)
	e.turn(64)
	p.Refuse(0, -1)
	sent := p.Sent(0)
	require.Len(t, sent, 60)
	inject(p, sent...)
	e.turn(64)
	sent = p.Sent(0)
	require.Len(t, sent, 60, "received buffers are sent again; the window knows nothing of the loss yet")
	inject(p, sent...)
	e.turn(64)
	require.Zero(t, e.ctr.lost)
	inject(p, p.Sent(0)...)
	e.turn(64)
	require.Equal(t, uint64(4), e.ctr.lost, "later frames of the same flows came first")
	require.Equal(t, e.ctr.sent, e.ctr.returned+e.ctr.lost+uint64(e.outstanding))
}

func TestEchoRefusesSmallBuffers(t *testing.T) {
	p := dptest.NewPort(t, dptest.PortConfig{Room: 59})
	picker, err := newPicker(dataplane.Info{Queues: 1})
	require.NoError(t, err)
	_, err = newEcho(&job{workers: 1}, 0, p.Queue(0), ownMAC, peerMAC, picker)
	require.ErrorContains(t, err, "hold 59 bytes")
}

// Frames come back to the queue that sent them, by the port's own table.
func TestEchoPortsStayOnTheirQueue(t *testing.T) {
	reta, err := rss.NewRETA(128, 3)
	require.NoError(t, err)
	// A key that is not symmetric: what counts is the frame as it returns.
	picker, err := newPicker(dataplane.Info{Queues: 3, RSSKey: rss.DefaultKey[:], RETA: reta})
	require.NoError(t, err)
	hash := rss.New(rss.DefaultKey)
	p := dptest.NewPort(t, dptest.PortConfig{Queues: 3})
	for q := range 3 {
		e, err := newEcho(&job{cfg: Config{Concurrency: 300}, workers: 3}, q, p.Queue(q), ownMAC, peerMAC, picker)
		require.NoError(t, err)
		e.turn(64)
		for _, f := range p.Sent(q) {
			var k wire.Packet
			require.Equal(t, wire.OK, wire.Parse(swapped(f), false, &k))
			s := &k.Seg
			require.Equal(t, uint16(q), reta.Queue(hash.Hash4(s.Remote.V4(), s.Local.V4(), s.RemotePort, s.LocalPort)))
		}
	}
}

func TestEcho(t *testing.T) {
	for _, workers := range []int{1, 2} {
		for _, port := range []string{"loop:", "tube:wire=echo"} {
			t.Run(fmt.Sprintf("port=%s/workers=%d", port, workers), func(t *testing.T) {
				const n = 100000
				r := measure(t, Config{Port: port, Scenario: ScenarioEcho, Count: n, Workers: workers})
				require.Equal(t, Echo{Sent: n, Returned: n - r.Echo.Lost, Lost: r.Echo.Lost, Reordered: r.Echo.Reordered, Stalls: r.Echo.Stalls}, r.Echo)
				if r.Echo.Stalls == 0 {
					require.Equal(t, uint64(n), r.Echo.Returned)
				}
				require.Equal(t, int64(r.Echo.Returned), r.Latency.Count)
				require.Equal(t, workers, r.Server.Workers)
				require.Equal(t, uint64(n), r.Server.Port.RxFrames)
				require.NotZero(t, r.Rate.ReturnedPerS)
				require.Empty(t, r.Close+r.Cookies)
			})
		}
	}
}

// Loss, duplicates, reordering and corruption are found, each in its own count.
func TestEchoOverBadWire(t *testing.T) {
	r := measure(t, Config{Port: "impair(loss=2%,dup=1%,reorder=1%,corrupt=1%,seed=5):loop:", Scenario: ScenarioEcho, Count: 20000})
	e := r.Echo
	for name, n := range map[string]uint64{"lost": e.Lost, "bad": e.Bad, "repeated": e.Repeated, "reordered": e.Reordered} {
		require.NotZero(t, n, name)
	}
	require.GreaterOrEqual(t, e.Lost, e.Bad)
	require.Equal(t, uint64(20000), e.Returned+e.Lost)
}

func TestEchoRate(t *testing.T) {
	r := measure(t, Config{Scenario: ScenarioEcho, Count: 200, Rate: 4000})
	require.Equal(t, uint64(200), r.Echo.Returned)
	require.GreaterOrEqual(t, r.DurationS, 0.0497, "frame 200 is due 199 intervals after the first")
}

// A reflector elsewhere is known by its MAC address.
func TestEchoToPeer(t *testing.T) {
	other, err := dataplane.Open("loop:" + t.Name())
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan *ReflectReport)
	go func() {
		rep, err := Reflect(ctx, ReflectConfig{Device: other, Pin: "off", Polling: "adaptive"}, nil)
		if err != nil && !errors.Is(err, loop.ErrPeerClosed) { // that may come before cancel
			rep = nil
		}
		done <- rep
	}()
	r := measure(t, Config{Port: "loop:" + t.Name(), Scenario: ScenarioEcho, Count: 5000, PeerMAC: "02:00:00:00:00:01"})
	cancel()
	rep := <-done
	require.NotNil(t, rep)
	require.True(t, rep.Valid, rep.InvalidReason)
	require.Equal(t, uint64(5000), rep.Received)
	require.Equal(t, uint64(5000), r.Echo.Returned)
	require.Nil(t, r.Server)
	require.Equal(t, "02:00:00:00:00:01", r.PeerMAC)
}

// A peer that answers nothing: every window is lost, and the report says so.
func TestEchoSilence(t *testing.T) {
	other, err := dataplane.Open("loop:" + t.Name() + "?ring=8192&frames=8192")
	require.NoError(t, err)
	defer func() { _ = other.Close() }()
	r := measure(t, Config{Port: "loop:" + t.Name(), Scenario: ScenarioEcho, Count: 1000, Concurrency: 600, PeerMAC: "02:00:00:00:00:01"})
	require.Equal(t, Echo{Sent: 1000, Lost: 1000, Stalls: 2}, r.Echo)
	require.Contains(t, r.Limiter, "nothing came back of 1,000 frames")

	r = measure(t, Config{Port: "loop:" + t.Name() + "/again", Scenario: ScenarioEcho, Duration: time.Millisecond, Drain: -1})
	require.Equal(t, r.Echo.Sent, r.Echo.Returned+r.Echo.Lost+r.Echo.InFlight)
}

func TestEchoWithoutLink(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := Run(ctx, Config{Port: "loop:" + t.Name(), Scenario: ScenarioEcho, PeerMAC: "02:00:00:00:00:01"}, nil)
	require.ErrorIs(t, err, errStopped)
}

func TestEchoRefuses(t *testing.T) {
	for _, tc := range []struct {
		flag, text string
		c          Config
	}{
		{"peer-mac", "fastsyn reflect", Config{Port: "afpacket:veth0"}},
		{"peer-mac", "one host", Config{PeerMAC: "ff:ff:ff:ff:ff:ff"}},
		{"peer-mac", "one host", Config{PeerMAC: "00:00:00:00:00:00"}},
		{"peer-mac", "one host", Config{PeerMAC: "02-00"}},
		{"peer-mac", "one host", Config{PeerMAC: "02:00:00:00:00:00:00:01"}},
		{"connect", "--peer-mac", Config{Connect: "10.0.0.9:80"}},
		{"addr", "--peer-mac", Config{Addrs: []string{"10.0.0.3/24"}}},
		{"pool", "--peer-mac", Config{Pools: []string{"10.0.0.0/24"}}},
		{"gateway", "--peer-mac", Config{Gateways: []string{"10.0.0.1"}}},
		{"ipv6", "shortest", Config{IPv6: true}},
	} {
		tc.c.Scenario = ScenarioEcho
		err := tc.c.Validate()
		var fe *FlagError
		require.ErrorAs(t, err, &fe)
		require.Equal(t, tc.flag, fe.Flag)
		require.ErrorContains(t, err, tc.text)
	}
	require.NoError(t, Config{Scenario: ScenarioEcho, Port: "afpacket:veth0", PeerMAC: "02:00:00:00:00:01"}.Validate())
	var fe *FlagError
	require.ErrorAs(t, Config{PeerMAC: "02:00:00:00:00:01"}.Validate(), &fe)
	require.Equal(t, "peer-mac", fe.Flag)
}

// echoOnWire is an echo and the reflector it sends to, on the ends of a wire.
func echoOnWire(t testing.TB, window int) (*echo, *reflector) {
	a, b, err := loop.Pair(loop.Config{Ring: 1024})
	require.NoError(t, err)
	t.Cleanup(func() { _, _ = a.Close(), b.Close() })
	return testEcho(t, a.Queue(0), Config{Concurrency: window}), newReflector(b.Queue(0))
}

func TestEchoDoesNotAllocate(t *testing.T) {
	e, r := echoOnWire(t, 64)
	now := int64(0)
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		now += 1000
		e.turn(now)
		r.turn(now)
	}))
	require.NotZero(t, e.ctr.returned)
	require.Zero(t, e.ctr.lost)
}

// BenchmarkEcho is one core that sends, reflects and verifies, wire included.
func BenchmarkEcho(b *testing.B) {
	e, r := echoOnWire(b, 64)
	now := int64(0)
	for b.Loop() {
		now += 1000
		e.turn(now)
		r.turn(now)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/dataplane.BatchSize, "ns/pkt")
	runtime.KeepAlive(r)
}

// BenchmarkEchoGenerator is the generator alone: verify a burst and make the next.
func BenchmarkEchoGenerator(b *testing.B) {
	e := testEcho(b, echoStub{}, Config{Concurrency: dataplane.BatchSize})
	e.begin(1)
	e.rx = blank(dataplane.BatchSize)
	e.fill(e.rx, dataplane.BatchSize, 64)
	for b.Loop() {
		for i := range e.rx.N { // what the reflector does
			d := e.rx.Data[i]
			lo, hi := binary.LittleEndian.Uint64(d[:8]), binary.LittleEndian.Uint64(d[6:14])
			binary.LittleEndian.PutUint64(d[:8], hi&macBits|lo<<48)
			binary.LittleEndian.PutUint64(d[6:14], lo&macBits|hi&^macBits)
		}
		e.receive(128)
		e.fill(e.rx, dataplane.BatchSize, 64)
	}
	require.Equal(b, e.ctr.sent, e.ctr.returned+dataplane.BatchSize)
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/dataplane.BatchSize, "ns/pkt")
}

type echoStub struct{ dataplane.Queue }

func (echoStub) Caps() dataplane.Caps { return dataplane.Caps{ReplyRoom: 2048, FrameRoom: 2048} }
