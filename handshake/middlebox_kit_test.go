package handshake

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/cookie"
	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// crossing is a client engine and a server engine with a middlebox between
// them, under one virtual clock. What crosses are frames: encoded by one side,
// changed by the middlebox, parsed by the other, with checksums.
type crossing struct {
	tb             testing.TB
	client, server end
	now            Time
	tup            wire.Tuple // as the client has it
	// box changes a frame in flight or, by returning nothing, drops it.
	box    func(toServer bool, frame []byte) []byte
	frames []flying
	seen   []wire.Segment // as they arrived
}

// end is one engine and what it has told.
type end struct {
	*Engine
	ring        *cookie.Ring
	flow        FlowID
	info        Info
	established int
	closed      []CloseReason
	sent, got   []byte
}

type flying struct {
	toServer bool
	frame    []byte
}

func newCrossing(tb testing.TB, client, server Config) *crossing {
	tb.Helper()
	x := &crossing{tb: tb, now: wrapTime}
	for i, e := range []*end{&x.client, &x.server} {
		cfg := client
		if i == 1 {
			cfg = server
		}
		cfg.MaxFlows = 64
		var err error
		e.Engine, err = New(cfg, testHasher(tb, byte(i)))
		require.NoError(tb, err)
		tb.Cleanup(func() { require.NoError(tb, e.Free()) })
		e.ring = testRing(tb, x.now)
	}
	for port := range uint16(4) {
		require.NoError(tb, x.server.Listen(wire.Addr{}, 80+port, 0, false))
	}
	x.tup = wire.Tuple{Remote: our4, Local: peer4, RemotePort: 80, LocalPort: 1024}
	return x
}

// open connects anew, from another port and with a clean account.
func (x *crossing) open(v6 bool, box func(toServer bool, frame []byte) []byte) {
	x.tb.Helper()
	for _, e := range []*end{&x.client, &x.server} {
		e.Abort(e.flow)
		e.EndBurst()
		e.Sent(len(e.Output()))
		*e = end{Engine: e.Engine, ring: e.ring}
	}
	x.frames, x.seen, x.box = nil, nil, box
	x.tup.LocalPort++
	if x.tup.Remote, x.tup.Local = our4, peer4; v6 {
		x.tup.Remote, x.tup.Local = our6, peer6
	}
	x.pass(time.Second)
	var err error
	x.client.flow, err = x.client.Connect(&x.tup, 0, 0)
	require.NoError(x.tb, err)
	x.settle()
}

// pass lets time pass and timers fire.
func (x *crossing) pass(d time.Duration) {
	x.now += int64(d)
	for _, e := range []*end{&x.client, &x.server} {
		e.ring.Advance(time.Unix(0, x.now))
		e.SetClock(x.now, e.ring.Load())
		e.Advance(x.now, 1<<20)
		x.told(e, nil, nil)
	}
	x.settle()
}

// settle lets everything arrive that is under way.
func (x *crossing) settle() {
	x.tb.Helper()
	for {
		x.collect(&x.client, true)
		x.collect(&x.server, false)
		if len(x.frames) == 0 {
			return
		}
		f := x.frames[0]
		x.frames = x.frames[1:]
		x.arrive(f)
	}
}

// collect takes what e wants to send.
func (x *crossing) collect(e *end, toServer bool) {
	for _, o := range e.Output() {
		var text []byte
		if o.Payload {
			text = e.sent[uint32(len(e.sent))-o.Text:][:o.Seg.Len]
		}
		x.put(toServer, &o.Seg, text)
	}
	e.Sent(len(e.Output()))
}

func (x *crossing) put(toServer bool, s *wire.Segment, text []byte) {
	b := make([]byte, 4096)
	n := wire.PutLink(b, &wire.Link{Dst: [6]byte{2, 1}, Src: [6]byte{2, 2}}, s.Local.EtherType())
	m := wire.PutTCP(b[n:], s, text)
	require.NotZero(x.tb, m)
	x.frames = append(x.frames, flying{toServer, b[:n+m]})
}

func (x *crossing) arrive(f flying) {
	x.tb.Helper()
	frame := f.frame
	if x.box != nil {
		if frame = x.box(f.toServer, frame); frame == nil {
			return
		}
	}
	var p wire.Packet
	require.Equal(x.tb, wire.OK, wire.Parse(frame, false, &p))
	x.seen = append(x.seen, p.Seg)
	e, act := &x.client, [1]Action{}
	if f.toServer {
		e = &x.server
	}
	e.Handle(x.now, e.ring.Load(), []*wire.Segment{&p.Seg}, act[:])
	x.told(e, frame, &p)
	if act[0] == Answer {
		x.put(!f.toServer, &p.Seg, nil)
	}
}

// told takes the events of e; frame and p are what it got.
func (x *crossing) told(e *end, frame []byte, p *wire.Packet) {
	x.tb.Helper()
	for i := range e.Events() {
		ev := &e.Events()[i]
		switch ev.Kind {
		case EventEstablished:
			e.established++
			e.flow, e.info = ev.Flow, e.Info(ev)
		case EventData:
			at := uint32(p.Data) + ev.Off
			e.got = append(e.got, frame[at:at+ev.Len]...)
		case EventClosed:
			e.closed = append(e.closed, ev.Reason)
		case EventAcked, EventPeerClosed:
		}
	}
	e.EndBurst()
	c := e.Counters()
	require.Empty(x.tb, c.Check())
}

// say sends as much text as one segment takes from e and returns it.
func (x *crossing) say(e *end) []byte {
	x.tb.Helper()
	n := e.SendRoom(e.flow)
	require.Positive(x.tb, n)
	from := len(e.sent)
	for i := range n {
		e.sent = append(e.sent, byte(from+i*13))
	}
	require.True(x.tb, e.Send(e.flow, n, false))
	x.settle()
	return e.sent[from:]
}

// talk sends text both ways, twice, and requires that it arrives.
func (x *crossing) talk() {
	x.tb.Helper()
	for range 2 {
		x.say(&x.client)
		x.say(&x.server)
	}
	require.Equal(x.tb, x.client.sent, x.server.got)
	require.Equal(x.tb, x.server.sent, x.client.got)
	require.Empty(x.tb, x.client.closed)
	require.Empty(x.tb, x.server.closed)
}

// tcpOf returns the TCP segment in a frame.
func tcpOf(frame []byte) wire.TCP {
	b := frame[wire.EthernetLen+wire.IPv4Len:]
	if frame[12] == 0x86 {
		b = frame[wire.EthernetLen+wire.IPv6Len:]
	}
	t, _ := wire.ParseTCP(b)
	return t
}

// withOptions is frame with another option list, padded by EOL, and right
// lengths and checksums.
func withOptions(frame, opts []byte) []byte {
	t := tcpOf(frame)
	l4 := len(frame) - len(t)
	out := append(slices.Clone(frame[:l4+wire.TCPLen]), opts...)
	for (len(out)-l4)%4 != 0 {
		out = append(out, wire.OptEOL)
	}
	out[l4+12] = byte(len(out)-l4)<<2&0xf0 | out[l4+12]&0xf
	return resum(append(out, t.Payload()...))
}

// resum sets the IP length and both checksums of a frame.
func resum(frame []byte) []byte {
	ip := frame[wire.EthernetLen:]
	l4 := ip[wire.IPv4Len:]
	var src, dst wire.Addr
	if frame[12] == 0x86 {
		l4 = ip[wire.IPv6Len:]
		src, dst = wire.IPv6(ip).Src(), wire.IPv6(ip).Dst()
		binary.BigEndian.PutUint16(ip[4:], uint16(len(l4)))
	} else {
		src, dst = wire.IPv4(ip).Src(), wire.IPv4(ip).Dst()
		binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
		ip[10], ip[11] = 0, 0
		binary.BigEndian.PutUint16(ip[10:], wire.Checksum(ip[:wire.IPv4Len], 0))
	}
	l4[16], l4[17] = 0, 0
	binary.BigEndian.PutUint16(l4[16:], wire.Checksum(l4, wire.PseudoSum(src, dst, wire.ProtoTCP, uint32(len(l4)))))
	return frame
}

// options splits the list of a frame, without NOP and EOL, each with its kind and length.
func options(frame []byte) (list [][]byte) {
	b := tcpOf(frame).Options()
	for it := wire.NewOptionIter(b); ; {
		at := len(b) - len(it.Rest())
		o, ok := it.Next()
		if !ok {
			return list
		}
		if o.Kind != wire.OptNOP && o.Kind != wire.OptEOL {
			list = append(list, b[at:at+int(o.Len)])
		}
	}
}
