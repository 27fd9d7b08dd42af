package flow

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/cookie"
	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/handshake"
)

const (
	fuzzFlows = 4
	fuzzStart = simStart
)

// fuzzPeer is the other side of a tuple, which says anything.
type fuzzPeer struct {
	tup      wire.Tuple // as the table sees it
	id       handshake.FlowID
	alive    bool
	closed   bool // Close was called
	released bool
	blocked  bool
	fin      bool // PeerClosed was called
	iss, irs wire.Seq
	wrote    int
	got      int
	kept     int
	limit    wire.Seq // beyond what the peer has ever promised
	limited  bool
	edge     wire.Seq // promised by the table
	shift    uint8    // of the peer
	own      uint8
	ts       uint32
	syn      wire.Seq // SEG.SEQ of what the engine has sent last with SYN
}

// tableFuzzer reads its input as a program: an operation, then what it needs. A short
// input reads as if zeroes followed.
type tableFuzzer struct {
	t     testing.TB
	in    []byte
	e     *handshake.Engine
	tab   *Table
	ring  *cookie.Ring
	now   handshake.Time
	peers [fuzzFlows]fuzzPeer
	burst []simSegment
	segs  [handshake.MaxBurst]wire.Segment
	act   [handshake.MaxBurst]handshake.Action
	out   Out
	buf   []byte
	all   bool // nothing was left to output
}

var fuzzHasher *cookie.Hasher // without state

func newTableFuzzer(t testing.TB, in []byte) *tableFuzzer {
	z := &tableFuzzer{t: t, in: in, now: fuzzStart, buf: make([]byte, 4096)}
	conf, more := z.next(), z.next()
	if fuzzHasher == nil {
		var err error
		fuzzHasher, err = simSecret(t, 1).Hasher()
		require.NoError(t, err)
	}
	var err error
	z.ring, err = cookie.NewRing(simSecret(t, 25), time.Unix(0, z.now), cookie.RingConfig{})
	require.NoError(t, err)
	z.e, err = handshake.New(handshake.Config{
		MaxFlows: fuzzFlows + 2, Cookies: handshake.CookiesNever, NoTimestamps: conf&1 != 0, NoSACK: conf&2 != 0, NoWScale: conf&4 != 0,
		RcvWindow: []int{1460, 4000, 65535, 300000}[conf>>3&3], ECN: handshake.ECNMode(conf >> 5 % 3), TimeWait: time.Duration(int(conf>>7)*2-1) * time.Second, RFC1337: more&128 != 0,
	}, fuzzHasher)
	require.NoError(t, err)
	z.e.SetClock(z.now, z.ring.Load())
	z.tab, err = New(Config{
		Memory: 64 * BlockSize, SendBuffer: []int{2048, 10000}[more&1], Statics: 2, Nagle: more&2 != 0, KeepAlive: more&4 != 0,
		AckDelay: []time.Duration{-1, 10 * time.Millisecond}[more>>3&1], Retries: 3, Held: HoldLimits{Spans: int(more >> 4 & 3), Blocks: int(more >> 6 & 1)},
		KeepAliveIdle: 10 * time.Second, KeepAliveInterval: time.Second, KeepAliveProbes: 2,
	}, z.e, z, z.now)
	require.NoError(t, err)
	z.tab.runs = newRunPool(fuzzFlows+2, 4)
	z.e.Streams(simPlain)
	z.e.Streams(simAuto)
	require.NoError(t, z.e.Listen(wire.Addr{}, 80, simPlain, false))
	require.NoError(t, z.e.Listen(wire.Addr{}, 81, simAuto, true))
	for i := range z.peers {
		z.peers[i].tup = wire.Tuple{Local: simAddr4[1], Remote: simAddr4[0], LocalPort: 80 + uint16(i&1), RemotePort: 1000 + uint16(i)}
		if i == 3 {
			z.peers[i].tup.Local, z.peers[i].tup.Remote = simAddr6[1], simAddr6[0]
		}
	}
	return z
}

func (z *tableFuzzer) next() byte {
	if len(z.in) == 0 {
		return 0
	}
	b := z.in[0]
	z.in = z.in[1:]
	return b
}

// near is a small number, or one near an edge.
func (z *tableFuzzer) near(edges ...uint32) wire.Seq {
	b := z.next()
	n := edges[int(b)%len(edges)]
	switch b >> 5 {
	case 0, 1:
	case 2:
		n++
	case 3:
		n--
	case 4:
		n += uint32(z.next())
	case 5:
		n -= uint32(z.next())
	case 6:
		n += uint32(z.next()) * 100
	case 7:
		n -= uint32(z.next()) * 1000
	}
	return wire.Seq(n)
}

func (z *tableFuzzer) peer(id handshake.FlowID) *fuzzPeer {
	for i := range z.peers {
		if p := &z.peers[i]; p.id == id && p.alive {
			return p
		}
	}
	require.Fail(z.t, "a call for a flow that there is not")
	return nil
}

// fuzzText is what the streams consist of, in both directions.
func fuzzText(off, n int) []byte {
	at := off % simPeriod
	if at < 0 {
		at += simPeriod
	}
	return simPattern[at : at+n]
}

func (z *tableFuzzer) Data(id handshake.FlowID, _ uint16, text []byte) {
	p := z.peer(id)
	require.False(z.t, p.released || p.fin, "text for nobody")
	require.NotEmpty(z.t, text)
	if !bytes.Equal(text, fuzzText(p.got, len(text))) {
		require.Fail(z.t, "wrong text")
	}
	p.got += len(text)
	z.callback(p, len(text))
}

func (z *tableFuzzer) Writable(id handshake.FlowID, _ uint16) {
	p := z.peer(id)
	require.True(z.t, p.blocked && !p.closed)
	p.blocked = false
	z.callback(p, 0)
}

func (z *tableFuzzer) PeerClosed(id handshake.FlowID, app uint16) {
	p := z.peer(id)
	require.False(z.t, p.fin || p.released)
	p.fin = true
	z.callback(p, 0)
	if app == simAuto {
		p.closed, p.blocked = true, false
	}
}

func (z *tableFuzzer) Closed(id handshake.FlowID, _ uint16, why handshake.CloseReason) {
	p := z.peer(id)
	require.NotEqual(z.t, handshake.ReasonNone, why)
	p.alive = false
}

// callback is what an application does in a callback that has n bytes for it.
func (z *tableFuzzer) callback(p *fuzzPeer, n int) {
	if b := z.next(); b&1 != 0 {
		if b&2 != 0 && n != 0 {
			z.tab.Hold(p.id, n)
			p.kept += n
		}
		z.call(p, b>>2)
	}
}

// call is a call of the application.
func (z *tableFuzzer) call(p *fuzzPeer, what byte) {
	if !p.alive {
		return
	}
	t := z.tab
	switch what % 16 {
	case 0, 1, 2:
		n := 1 + int(z.next())*37
		k := t.Write(p.id, fuzzText(p.wrote, n))
		require.True(z.t, k <= n && !(p.closed && k > 0))
		p.wrote += k
		p.blocked = p.blocked || k < n && !p.closed && t.get(p.id).writes()
	case 3:
		n := 1 + int(z.next())*99
		ok := t.WriteStatic(p.id, fuzzText(p.wrote, n))
		if ok {
			p.wrote += n
		}
		p.blocked = p.blocked || !ok && !p.closed && t.get(p.id).writes()
	case 4, 5:
		n := min(int(z.next())*50, p.kept)
		p.kept -= n
		t.Consumed(p.id, n)
	case 6:
		if t.Close(p.id) {
			p.closed, p.blocked = true, false
		}
	case 7:
		if t.Release(p.id) {
			p.released, p.closed, p.blocked = true, true, false
		}
	case 8:
		if t.Abort(p.id) {
			p.alive = false
		}
	case 9:
		t.SetNoDelay(p.id, z.next()&1 != 0)
	case 10:
		t.SetKeepAlive(p.id, z.next()&1 != 0)
	case 11:
		t.SetUserTimeout(p.id, time.Duration(z.next())*100*time.Millisecond)
	case 12:
		require.GreaterOrEqual(z.t, t.Room(p.id), 0)
		require.GreaterOrEqual(z.t, t.Unacked(p.id), t.Unsent(p.id))
	default:
	}
}

// open has peer p shake hands.
func (z *tableFuzzer) open(p *fuzzPeer) {
	if p.alive || z.e.StateOf(&p.tup) != handshake.Closed {
		return
	}
	b, opt := z.next(), z.next()
	*p = fuzzPeer{tup: p.tup, irs: wire.Seq(0) - wire.Seq(b)*50, ts: uint32(opt) << 24}
	s := simSegment{seg: wire.Segment{Tuple: p.tup, Seq: p.irs, Flags: wire.FlagSYN, Win: uint16(opt) << 7}}
	s.seg.Opt = wire.Options{Has: wire.HasMSS, MSS: []uint16{1460, 48, 536, 8960}[b&3], WScale: opt & 15 % 15, TSVal: p.ts}
	for k, has := range [...]wire.OptionSet{wire.HasTimestamps, wire.HasSACKPermitted, wire.HasWScale} {
		if opt>>(4+k)&1 != 0 {
			s.seg.Opt.Has |= has
		}
	}
	if opt&128 != 0 {
		s.seg.Flags |= wire.FlagECE | wire.FlagCWR
	}
	p.promise(s.seg.Win, 0, 0)
	if b&128 == 0 || p.tup.LocalPort == 81 {
		z.push(s)
		z.flush()
		a := s
		a.seg.Flags, a.seg.Seq, a.seg.Ack = wire.FlagACK, p.irs+1, p.syn+1
		a.seg.Opt.TSVal, a.seg.Opt.TSEcr = p.ts, uint32(z.now/1e6)+z.tsOff(p)
		z.push(a)
		z.flush()
		return
	}
	if _, err := z.e.Connect(&p.tup, simPlain, 0); err != nil {
		return
	}
	z.flush()
	s.seg.Flags = s.seg.Flags&^wire.FlagCWR | wire.FlagACK
	s.seg.Ack = p.syn + 1
	s.seg.Opt.TSEcr = uint32(z.now/1e6) + z.tsOff(p)
	z.push(s)
	z.flush()
}

func (z *tableFuzzer) tsOff(p *fuzzPeer) uint32 {
	c := cookie.Tuple{RemoteHi: p.tup.Remote.Hi, RemoteLo: p.tup.Remote.Lo, LocalHi: p.tup.Local.Hi, LocalLo: p.tup.Local.Lo, RemotePort: p.tup.RemotePort, LocalPort: p.tup.LocalPort}
	return fuzzHasher.SumOne(&c).TSOff
}

// promise notes the right edge that a segment of the peer speaks of.
func (p *fuzzPeer) promise(win uint16, ack wire.Seq, shift uint8) {
	if edge := ack + wire.Seq(win)<<shift; !p.limited || p.limit.Less(edge) {
		p.limit, p.limited = edge, ack != 0
	}
}

// segment is a segment of peer p around the edges of its flow.
func (z *tableFuzzer) segment(p *fuzzPeer) {
	c := z.tab.get(p.id)
	if c == nil {
		z.stray(p)
		return
	}
	una, nxt := z.tab.una(c), z.tab.nxt(c)
	flags := [...]wire.Flags{
		wire.FlagACK, wire.FlagACK, wire.FlagACK, wire.FlagACK | wire.FlagPSH, wire.FlagACK | wire.FlagFIN, wire.FlagACK | wire.FlagECE, wire.FlagACK | wire.FlagCWR,
		wire.FlagACK, wire.FlagRST, wire.FlagSYN, wire.FlagSYN | wire.FlagACK, 0, wire.FlagACK | wire.FlagRST, wire.FlagFIN, wire.FlagACK | wire.FlagURG, wire.FlagACK,
	}[z.next()&15]
	b := z.next()
	s := simSegment{seg: wire.Segment{Tuple: p.tup, Flags: flags, Win: []uint16{65535, 0, 1, 1000, 20000, 100, c.wnd, c.wnd + 1}[b&7], TOS: b >> 3 & 3}}
	s.seg.Seq = z.near(uint32(c.rcvNxt), uint32(c.rcvNxt), uint32(c.rcvNxt), uint32(c.edge), uint32(c.rcvNxt)+1460)
	if flags&wire.FlagACK != 0 {
		s.seg.Ack = z.near(uint32(nxt), uint32(nxt), uint32(una), uint32(una)+c.segment())
		p.promise(s.seg.Win, s.seg.Ack, p.shift)
	}
	if b&32 != 0 && flags&wire.FlagSYN == 0 {
		n := int(z.next()) * 6
		s.text = fuzzText(int(int32(s.seg.Seq-p.irs-1)), n)
		s.seg.Len = uint32(n)
	}
	if c.flags&connTS != 0 && b&64 == 0 {
		s.seg.Opt.Has = wire.HasTimestamps
		s.seg.Opt.TSVal = c.ts.Val + uint32(int8(z.next()))
		s.seg.Opt.TSEcr = z.e.TSVal(c.tsOff) - uint32(z.next())*10
	}
	if b&128 != 0 {
		s.seg.Opt.Has |= wire.HasSACK
		s.n = 1 + int(z.next()&3)
		for k := range s.n {
			s.blocks[k].Left = z.near(uint32(una), uint32(una)+c.segment(), uint32(nxt)-c.segment())
			s.blocks[k].Right = s.blocks[k].Left + z.near(0, c.segment(), uint32(nxt-una))
		}
	}
	z.push(s)
}

// stray is a segment of peer p where there may be no stream.
func (z *tableFuzzer) stray(p *fuzzPeer) {
	b := z.next()
	s := simSegment{seg: wire.Segment{Tuple: p.tup, Flags: wire.Flags(b & 31), Seq: p.irs + wire.Seq(z.next()), Ack: p.syn + wire.Seq(z.next()&3), Win: 1000}}
	if s.seg.Flags&wire.FlagSYN != 0 { // opens are for open, which knows what was said
		s.seg.Flags |= wire.FlagRST
	}
	z.push(s)
}

func (z *tableFuzzer) push(s simSegment) {
	if len(z.burst) == handshake.MaxBurst {
		z.flush()
	}
	z.burst = append(z.burst, s)
}

// flush has the node take the burst.
func (z *tableFuzzer) flush() {
	z.e.SetClock(z.now, z.ring.Load())
	z.tab.SetClock(z.now)
	var in [handshake.MaxBurst]*wire.Segment
	for i := range z.burst {
		z.segs[i] = z.burst[i].seg
		in[i] = &z.segs[i]
	}
	n := len(z.burst)
	z.e.Handle(z.now, z.ring.Load(), in[:n], z.act[:])
	z.deliver()
	for i := range n {
		if z.act[i] == handshake.Answer {
			z.said(&z.segs[i])
		}
	}
	for {
		rx, ok := z.tab.Answer(&z.out)
		if !ok {
			break
		}
		require.True(z.t, rx < n && z.burst[rx].seg.Tuple == z.out.Seg.Tuple)
		z.sent()
	}
	z.burst = z.burst[:0]
	z.output(1 << 30)
}

func (z *tableFuzzer) deliver() {
	for i := range z.e.Events() {
		ev := &z.e.Events()[i]
		switch ev.Kind {
		case handshake.EventSegment:
			b := &z.burst[ev.Seg]
			z.tab.Segment(ev, &z.segs[ev.Seg], b.text, b.blocks[:b.n])
		case handshake.EventICMP:
			z.tab.ICMP(ev)
		case handshake.EventEstablished:
			t := z.e.Tuple(ev.Flow)
			for k := range z.peers {
				p := &z.peers[k]
				if p.tup != t {
					continue
				}
				require.False(z.t, p.alive)
				info := z.e.Info(ev)
				p.id, p.alive = ev.Flow, true
				p.iss, p.irs = ev.ISS, ev.IRS
				p.shift, p.own = info.SndShift, info.RcvShift
				p.limit, p.limited = p.iss+1+wire.Seq(info.SndWnd), true
				p.wrote, p.got, p.kept, p.closed, p.released, p.blocked, p.fin = 0, 0, 0, false, false, false, false
				z.tab.Open(ev, ev.App == simAuto, nil)
				p.edge = z.tab.get(p.id).edge
				z.callback(p, 0)
			}
		default:
		}
	}
	z.e.EndBurst()
}

// output sends what there is, at most n segments.
func (z *tableFuzzer) output(n int) {
	for i := range z.e.Output() {
		z.said(&z.e.Output()[i].Seg)
	}
	z.e.Sent(len(z.e.Output()))
	z.all = false
	for k := 0; k < n; k++ {
		if !z.tab.Output(&z.out) {
			z.all = true
			break
		}
		z.sent()
	}
	z.e.EndBurst()
	z.check()
}

// said hears a segment of the engine.
func (z *tableFuzzer) said(s *wire.Segment) {
	for k := range z.peers {
		if p := &z.peers[k]; p.tup == s.Tuple && s.Flags&wire.FlagSYN != 0 {
			p.syn = s.Seq
		}
	}
}

// sent looks at z.out.
func (z *tableFuzzer) sent() {
	o := &z.out
	s := &o.Seg
	p := &z.peers[0]
	for k := range z.peers {
		if z.peers[k].id == o.Flow {
			p = &z.peers[k]
		}
	}
	c := &z.tab.conns[o.conn]
	require.Equal(z.t, p.id, o.Flow)
	require.Equal(z.t, p.tup, s.Tuple)
	off := int(int32(s.Seq - p.iss - 1))
	fin := s.Flags&wire.FlagFIN != 0
	if s.Len != 0 {
		z.tab.Text(o, z.buf[:s.Len])
		if off < 0 || off+int(s.Len) > p.wrote || !bytes.Equal(z.buf[:s.Len], fuzzText(off, int(s.Len))) {
			require.Fail(z.t, "not what was written")
		}
		n := copy(z.buf, o.Head)
		copy(z.buf[n:], o.Tail)
		require.True(z.t, bytes.Equal(z.buf[:s.Len], fuzzText(off, int(s.Len))))
		require.True(z.t, (s.Seq + wire.Seq(s.Len)).LessEq(p.limit), "beyond the window")
		require.LessOrEqual(z.t, int(s.Len)+len(o.Extra)+int(c.optionBytes()), int(c.mss))
	}
	if fin {
		require.True(z.t, p.closed && off+int(s.Len) == p.wrote, "FIN")
	}
	require.LessOrEqual(z.t, len(o.Extra)+int(c.optionBytes()), 40)
	edge := s.Ack + wire.Seq(s.Win)<<p.own
	require.Less(z.t, int32(p.edge-edge), int32(1)<<p.own, "the right edge moves back")
	if p.edge.Less(edge) {
		p.edge = edge
	}
}

func (z *tableFuzzer) check() {
	c := z.tab.Counters()
	require.Empty(z.t, c.Check())
	e := z.e.Counters()
	require.Empty(z.t, e.Check())
	require.Equal(z.t, e.EstablishedNow, c.Now)
	if z.all {
		require.Empty(z.t, walkTable(z.tab))
	}
	for k := range z.peers {
		p := &z.peers[k]
		if c := z.tab.get(p.id); c != nil && p.alive {
			require.Equal(z.t, uint32(p.kept), c.kept)
			want := p.got
			if p.fin {
				want++
			}
			if !p.released {
				require.Equal(z.t, p.irs+1+wire.Seq(want), c.rcvNxt)
			}
		} else {
			require.False(z.t, p.alive && z.tab.State(p.id) == handshake.Closed, "gone without a word")
		}
	}
}

// pass lets time pass from timer to timer, less of it if there are many.
func (z *tableFuzzer) pass(d time.Duration) {
	for end, k := z.now+int64(d), 0; z.now < end && k < 100; k++ {
		step := end - z.now
		for _, next := range [...]func() (uint32, bool){z.tab.NextTimer, z.e.NextTimer} {
			if in, ok := next(); ok {
				step = min(step, max(int64(in)*1e6, 1e5))
			}
		}
		z.advance(time.Duration(step))
		z.output(1 << 30)
	}
}

// advance lets time pass and timers fire.
func (z *tableFuzzer) advance(d time.Duration) {
	z.now += int64(d)
	z.ring.Advance(time.Unix(0, z.now))
	z.e.SetClock(z.now, z.ring.Load())
	z.tab.SetClock(z.now)
	if z.e.Advance(z.now, 100) > 0 {
		z.deliver()
	}
	z.tab.Advance(100)
}

func (z *tableFuzzer) run() {
	for len(z.in) > 0 {
		b := z.next()
		p := &z.peers[b>>4&3]
		switch b & 15 {
		case 0, 1:
			z.open(p)
		case 2, 3, 4, 5, 6:
			z.segment(p)
			if b&128 == 0 {
				z.flush()
			}
		case 7:
			z.flush()
		case 8:
			z.advance(time.Duration(z.next()) * time.Millisecond)
			z.output(1 << 30)
		case 9: // to the next timer
			if in, ok := z.tab.NextTimer(); ok {
				z.advance(time.Duration(in) * time.Millisecond)
			}
			z.output(int(z.next() & 7)) // frames are short
		case 10:
			z.pass([]time.Duration{time.Second, time.Minute, 10 * time.Minute, 40 * time.Minute, 1000 * time.Hour, time.Microsecond, 90 * time.Millisecond, 26 * 24 * time.Hour}[z.next()&7])
		case 11:
			if c := z.tab.get(p.id); c != nil {
				z.e.PathMTU(&p.tup, z.near(uint32(z.tab.una(c)), uint32(z.tab.nxt(c))), uint32(z.next())*8)
			}
			z.flush()
		case 12:
			z.e.ICMP(p.tup, z.near(uint32(p.iss+1+wire.Seq(p.wrote))), handshake.ICMPSoft)
			z.flush()
		default:
			z.call(p, z.next())
			if b&128 == 0 {
				z.output(1 << 30)
			}
		}
	}
	z.flush()
	// The end: whatever happened, all of it comes back.
	for k := range z.peers {
		if p := &z.peers[k]; p.alive {
			z.tab.Abort(p.id)
			p.alive = false
		}
	}
	z.pass(2 * time.Hour)
	c := z.tab.Counters()
	require.Zero(z.t, c.Now+c.BlocksInUse+c.Sending+c.Holding)
	require.Zero(z.t, z.tab.wheel.count+z.tab.runs.free.used+z.tab.send.free.used)
	require.NoError(z.t, z.tab.Free())
	require.NoError(z.t, z.e.Free())
}

// FuzzTable has a peer that says anything, an application that does anything, and time that
// passes in any steps: nothing wrong is sent or told, and all memory comes back.
func FuzzTable(f *testing.F) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		in := make([]byte, 20+rng.IntN(600))
		for i := range in {
			in[i] = byte(rng.Uint32())
			if i%3 == 0 && rng.IntN(2) == 0 { // more segments, fewer calls
				in[i] = byte(rng.IntN(16)*16 + 2)
			}
		}
		for k := range 3 { // begin with flows
			in[2+4*k], in[3+4*k] = byte(k*16), byte(rng.IntN(128))
		}
		f.Add(in)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) > 4096 {
			return
		}
		newTableFuzzer(t, in).run()
	})
}
