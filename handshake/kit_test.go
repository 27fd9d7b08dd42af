package handshake

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/cookie"
	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// wrapTime is 10 s before the millisecond clock wraps at 2^32: tests start
// there, so that every timer and timestamp of theirs meets the wrap.
const wrapTime = Time(400<<32-10_000) * 1e6

var (
	peer4, our4 = wire.Addr4(0xc6336402), wire.Addr4(0xc0000201) // 198.51.100.2, 192.0.2.1
	peer6, our6 = wire.Addr{Hi: 0x20010db8 << 32, Lo: 2}, wire.Addr{Hi: 0x20010db8 << 32, Lo: 1}
)

func testSecret(tb testing.TB, seed byte) cookie.Secret {
	tb.Helper()
	s, err := cookie.NewSecret([]byte(strings.Repeat(string(rune('a'+seed)), 32)))
	require.NoError(tb, err)
	return s
}

func testHasher(tb testing.TB, seed byte) *cookie.Hasher {
	tb.Helper()
	h, err := testSecret(tb, seed).Hasher()
	require.NoError(tb, err)
	return h
}

func testRing(tb testing.TB, now Time) *cookie.Ring {
	tb.Helper()
	r, err := cookie.NewRing(testSecret(tb, 25), time.Unix(0, now), cookie.RingConfig{})
	require.NoError(tb, err)
	return r
}

// kit is an engine under a virtual clock with seeded keys, and a peer made of
// text. A test is a script of lines
//
//	stimulus | answer | state afterwards | events
//
// The stimulus is one of
//
//	S seq=0 mss=1460 …   a segment of the peer; "A … & R …" is a burst of several
//	+1s                  time passes and timers fire
//	connect [N], close, release, abort, probe, send N [fin], icmp soft|hard|refused|other|mtu=N seq=N
//
// A segment is its flags (S F R P A U E C N, "." for none) and seq, ack, win, len, mss,
// ws, sack, ts, ecr, tos, rport, lport. Its seq counts from the peer's ISS and
// its ack from ours, so that a good final ACK always is "A seq=1 ack=1"; ts is absolute, ecr is
// absolute or first±n or last±n of the TSvals heard; tfo is a Fast Open option, empty, with a
// cookie in hexadecimal or with the one that is good, and exp says that it is experimental. In an answer seq counts from
// our ISS and ack from the peer's; it matches if the flags and the fields named are
// equal, where !mss says "no such option". "-" is silence. A "-" or an empty state is
// not looked at; missing events mean that there must be none.
//
// Every step also checks what must always hold: the counters close, no reset
// answers a reset, resets are bare, TSvals are fresh.
type kit struct {
	tb   testing.TB
	e    *Engine
	now  Time
	ring *cookie.Ring
	tup  wire.Tuple
	irs  wire.Seq // the peer's ISS
	iss  wire.Seq // ours, learned from what it sends

	tsFirst, tsLast uint32
	flow            FlowID // of the last EventEstablished or Connect
	last            []wire.Segment
	outs            []Out // last Output
	info            Info  // of the last EventEstablished
	events          []Event
}

func newKit(tb testing.TB, cfg Config) *kit {
	tb.Helper()
	if cfg.MaxFlows == 0 {
		cfg.MaxFlows = 64
	}
	e, err := New(cfg, testHasher(tb, 1))
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, e.Free()) })
	k := &kit{tb: tb, e: e, now: wrapTime, irs: 0xfffffffe, tup: wire.Tuple{
		Remote: peer4, Local: our4, RemotePort: 40000, LocalPort: 80,
	}}
	k.ring = testRing(tb, k.now)
	require.NoError(tb, e.Listen(wire.Addr{}, 80, 7, false))
	require.NoError(tb, e.Listen(our4, 81, 8, true))
	require.NoError(tb, e.Listen(our6, 81, 8, true))
	e.SetClock(k.now, k.ring.Load())
	return k
}

func (k *kit) v6() *kit {
	k.tup.Remote, k.tup.Local = peer6, our6
	return k
}

func (k *kit) play(script string) {
	k.tb.Helper()
	for line := range strings.SplitSeq(script, "\n") {
		line, _, _ = strings.Cut(line, "#")
		if strings.TrimSpace(line) == "" {
			continue
		}
		f := strings.Split(line, "|")
		for len(f) < 4 {
			f = append(f, "")
		}
		for i := range f {
			f[i] = strings.TrimSpace(f[i])
		}
		answers, n := k.step(line, f[0])
		k.compare(line, f[1], answers, n)
		if f[2] != "" && f[2] != "-" {
			require.Equal(k.tb, f[2], k.state(), line)
		}
		require.Equal(k.tb, f[3], k.takeEvents(), line)
	}
}

// step applies one stimulus. It returns the segments out and how many answers to
// expect; an answer that is silence has no flags and Path 1.
func (k *kit) step(line, what string) ([]wire.Segment, int) {
	k.tb.Helper()
	verb, arg, _ := strings.Cut(what, " ")
	switch verb {
	case "connect":
		if arg == "" {
			id, err := k.e.Connect(&k.tup, 3, 0)
			require.NoError(k.tb, err, line)
			k.flow = id
			break
		}
		n, err := strconv.Atoi(arg)
		require.NoError(k.tb, err, line)
		id, err := k.e.ConnectText(&k.tup, 3, 0, n)
		require.NoError(k.tb, err, line)
		k.flow = id
	case "close":
		require.True(k.tb, k.e.Close(k.flow), line)
	case "release":
		require.True(k.tb, k.e.Release(k.flow), line)
	case "abort":
		require.True(k.tb, k.e.Abort(k.flow), line)
	case "probe":
		require.True(k.tb, k.e.Probe(k.flow), line)
	case "send":
		num, fin, _ := strings.Cut(arg, " ")
		n, err := strconv.Atoi(num)
		require.NoError(k.tb, err, line)
		require.True(k.tb, k.e.Send(k.flow, n, fin == "fin"), line)
	case "icmp":
		kind, seq, _ := strings.Cut(arg, " seq=")
		n, err := strconv.Atoi(seq)
		require.NoError(k.tb, err, line)
		if mtu, ok := strings.CutPrefix(kind, "mtu="); ok {
			m, err := strconv.ParseUint(mtu, 10, 32)
			require.NoError(k.tb, err, line)
			k.e.PathMTU(&k.tup, k.iss+wire.Seq(n), uint32(m))
			break
		}
		kinds := map[string]ICMPKind{"soft": ICMPSoft, "hard": ICMPHard, "refused": ICMPRefused, "other": ICMPOther}
		require.Contains(k.tb, kinds, kind, line)
		k.e.ICMP(k.tup, k.iss+wire.Seq(n), kinds[kind])
	default:
		if d, ok := strings.CutPrefix(what, "+"); ok {
			step, err := time.ParseDuration(d)
			require.NoError(k.tb, err, line)
			k.advance(step)
			break
		}
		var segs []wire.Segment
		for in := range strings.SplitSeq(what, "&") {
			segs = append(segs, k.parse(line, in))
		}
		return k.inject(segs), len(segs)
	}
	return k.drain(), -1
}

// advance lets time pass without looking at what comes out.
func (k *kit) advance(d time.Duration) {
	k.now += int64(d)
	k.ring.Advance(time.Unix(0, k.now))
	k.e.SetClock(k.now, k.ring.Load())
	k.e.Advance(k.now, 1<<20)
}

func (k *kit) drain() []wire.Segment {
	k.tb.Helper()
	var out []wire.Segment
	k.outs = append(k.outs[:0], k.e.Output()...)
	for _, o := range k.e.Output() {
		out = append(out, o.Seg)
		require.Equal(k.tb, o.Payload, o.Seg.Len > 0)
		k.heard(&o.Seg)
	}
	k.e.Sent(len(k.e.Output()))
	k.check()
	return out
}

// refs points at each segment of a burst.
func refs(segs []wire.Segment) []*wire.Segment {
	out := make([]*wire.Segment, len(segs))
	for i := range segs {
		out[i] = &segs[i]
	}
	return out
}

// inject hands a burst to the engine and returns an answer per segment, and
// behind them what went to Output.
func (k *kit) inject(segs []wire.Segment) []wire.Segment {
	k.tb.Helper()
	in := append([]wire.Segment(nil), segs...)
	act := make([]Action, len(segs))
	k.e.Handle(k.now, k.ring.Load(), refs(segs), act)
	for i := range segs {
		if act[i] == Silent {
			segs[i] = wire.Segment{Path: 1}
			continue
		}
		k.heard(&segs[i])
		if in[i].Flags&wire.FlagRST != 0 {
			require.Zero(k.tb, segs[i].Flags&wire.FlagRST, "a reset for a reset (RST-011)")
		}
	}
	return append(segs, k.drain()...)
}

// heard learns from a segment of the engine and checks what holds for all.
func (k *kit) heard(s *wire.Segment) {
	k.tb.Helper()
	if s.Flags&wire.FlagSYN != 0 {
		k.iss = s.Seq
	}
	if s.Flags&wire.FlagACK == 0 {
		require.Zero(k.tb, s.Ack, "ack without ACK")
	}
	if s.Flags&wire.FlagRST != 0 {
		require.Zero(k.tb, s.Win)
		require.Zero(k.tb, s.Len)
	}
	if s.Opt.Has&wire.HasTimestamps == 0 {
		return
	}
	off := k.e.sumTuple(&s.Tuple).TSOff
	age := cookie.TSVal(off, k.now) - s.Opt.TSVal
	if k.e.cookieSent == k.now && s.Flags&^wire.FlagECE == wire.FlagSYN|wire.FlagACK { // CKI-006
		require.Less(k.tb, age, uint32(64))
	} else {
		require.Zero(k.tb, age, "stale TSval (RTX-003, TSP-009)")
	}
	if k.tsLast == 0 {
		k.tsFirst = s.Opt.TSVal
	}
	k.tsLast = s.Opt.TSVal
}

func (k *kit) check() {
	k.tb.Helper()
	c := k.e.Counters()
	require.Empty(k.tb, c.Check())
	n := uint64(0)
	for i := uint32(1); i < k.e.fresh; i++ {
		if k.e.recs[i].state > Closed {
			n++
		}
	}
	require.Equal(k.tb, c.Flows, n, "flows")
}

func (k *kit) state() string {
	idx := k.e.lookup(k.e.sumTuple(&k.tup).Hash, &k.tup)
	if idx == 0 {
		return "CLOSED"
	}
	return k.e.recs[idx].state.String()
}

func (k *kit) takeEvents() string {
	var list []string
	k.events = append(k.events[:0], k.e.Events()...)
	for i := range k.events {
		ev := &k.events[i]
		switch ev.Kind {
		case EventEstablished:
			k.flow, k.info = ev.Flow, k.e.Info(ev)
			text := "established"
			if k.info.FastOpen {
				text = "established fast"
			}
			list = append(list, text)
		case EventConfirmed:
			list = append(list, "confirmed")
		case EventData:
			list = append(list, fmt.Sprintf("data %d+%d", ev.Off, ev.Len))
		case EventAcked:
			list = append(list, "acked")
		case EventAlive:
			list = append(list, "alive")
		case EventRepeated:
			list = append(list, "repeated")
		case EventPeerClosed:
			list = append(list, "peer closed")
		case EventClosed:
			list = append(list, "closed: "+ev.Reason.String())
		}
	}
	k.e.EndBurst()
	return strings.Join(list, ", ")
}

var flagLetters = [...]struct {
	letter byte
	flag   wire.Flags
}{
	{'S', wire.FlagSYN},
	{'F', wire.FlagFIN},
	{'R', wire.FlagRST},
	{'P', wire.FlagPSH},
	{'A', wire.FlagACK},
	{'U', wire.FlagURG},
	{'E', wire.FlagECE},
	{'C', wire.FlagCWR},
	{'N', wire.FlagAE}, // once called NS
}

func flagString(f wire.Flags) string {
	var b []byte
	for _, l := range flagLetters {
		if f&l.flag != 0 {
			b = append(b, l.letter)
		}
	}
	if len(b) == 0 {
		return "."
	}
	return string(b)
}

func (k *kit) parse(line, text string) wire.Segment {
	k.tb.Helper()
	s := wire.Segment{Tuple: k.tup, Seq: k.irs, Win: 65535}
	fields := strings.Fields(text)
	require.NotEmpty(k.tb, fields, line)
	for i := range len(fields[0]) {
		ok := fields[0] == "."
		for _, l := range flagLetters {
			if fields[0][i] == l.letter {
				s.Flags |= l.flag
				ok = true
			}
		}
		require.True(k.tb, ok, "flags %q in %q", fields[0], line)
	}
	if s.Flags&wire.FlagACK != 0 {
		s.Ack = k.iss
	}
	for _, f := range fields[1:] {
		name, val, _ := strings.Cut(f, "=")
		if name == "ecr" {
			base := uint32(0)
			if rest, ok := strings.CutPrefix(val, "first"); ok {
				base, val = k.tsFirst, rest
			} else if rest, ok := strings.CutPrefix(val, "last"); ok {
				base, val = k.tsLast, rest
			}
			if val == "" {
				val = "0"
			}
			n, err := strconv.ParseInt(val, 10, 64)
			require.NoError(k.tb, err, line)
			s.Opt.TSEcr = base + uint32(n)
			continue
		}
		if name == "tfo" && val != "" {
			s.Opt.Has |= wire.HasFastOpen
			s.Opt.TFOLen = uint8(copy(s.Opt.TFO[:], k.cookie(val)))
			continue
		}
		n, err := strconv.ParseInt(val, 0, 64)
		if val != "" {
			require.NoError(k.tb, err, line)
		}
		switch name {
		case "seq":
			s.Seq = k.irs + wire.Seq(n)
		case "ack":
			s.Ack = k.iss + wire.Seq(n)
		case "win":
			s.Win = uint16(n)
		case "len":
			s.Len = uint32(n)
		case "tos":
			s.TOS = uint8(n)
		case "rport":
			s.RemotePort = uint16(n)
		case "lport":
			s.LocalPort = uint16(n)
		case "mss":
			s.Opt.Has |= wire.HasMSS
			s.Opt.MSS = uint16(n)
		case "ws":
			s.Opt.Has |= wire.HasWScale
			s.Opt.WScale = uint8(n)
		case "sack":
			s.Opt.Has |= wire.HasSACKPermitted
		case "md5":
			s.Opt.Has |= wire.HasMD5
		case "tfo":
			s.Opt.Has |= wire.HasFastOpen
		case "exp":
			s.Opt.Has |= wire.FastOpenExp
		case "ts":
			s.Opt.Has |= wire.HasTimestamps
			s.Opt.TSVal = uint32(n)
			if s.Flags&wire.FlagACK != 0 {
				s.Opt.TSEcr = k.tsLast
			}
		default:
			require.Fail(k.tb, "unknown field "+name, line)
		}
	}
	return s
}

// fields renders a segment of ours for comparison.
func (k *kit) fields(s *wire.Segment) map[string]string {
	m := map[string]string{
		"seq": fmt.Sprint(int32(s.Seq - k.iss)), "win": fmt.Sprint(s.Win), "len": fmt.Sprint(s.Len),
		"tos": fmt.Sprint(s.TOS), "rawseq": fmt.Sprint(uint32(s.Seq)),
	}
	if s.Flags&wire.FlagACK != 0 {
		m["ack"], m["rawack"] = fmt.Sprint(int32(s.Ack-k.irs)), fmt.Sprint(uint32(s.Ack))
	}
	if s.Opt.Has&wire.HasMSS != 0 {
		m["mss"] = fmt.Sprint(s.Opt.MSS)
	}
	if s.Opt.Has&wire.HasWScale != 0 {
		m["ws"] = fmt.Sprint(s.Opt.WScale)
	}
	if s.Opt.Has&wire.HasSACKPermitted != 0 {
		m["sack"] = ""
	}
	if s.Opt.Has&wire.HasTimestamps != 0 {
		m["ts"], m["ecr"] = "", fmt.Sprint(s.Opt.TSEcr)
	}
	if s.Opt.Has&wire.HasFastOpen != 0 {
		m["tfo"] = hex.EncodeToString(s.Opt.TFO[:s.Opt.TFOLen])
		if bytes.Equal(s.Opt.TFO[:s.Opt.TFOLen], k.cookie("good")) {
			m["tfo"] = "good"
		}
	}
	if s.Opt.Has&wire.FastOpenExp != 0 {
		m["exp"] = ""
	}
	if s.Opt.Has != 0 {
		m["opt"] = ""
	}
	return m
}

// cookie returns a Fast Open cookie: good is what the engine gives to the peer.
func (k *kit) cookie(text string) []byte {
	k.tb.Helper()
	if text == "good" {
		var t cookie.Tuple
		gather(&t, &k.tup)
		c := k.ring.Load().FastOpen().Cookie(&t)
		return c[:]
	}
	b, err := hex.DecodeString(text)
	require.NoError(k.tb, err)
	return b
}

func (k *kit) show(s *wire.Segment) string {
	if s.Flags == 0 && s.Path == 1 {
		return "-"
	}
	m := k.fields(s)
	text := flagString(s.Flags) + " seq=" + m["seq"]
	if a, ok := m["ack"]; ok {
		text += " ack=" + a
	}
	for _, name := range []string{"len", "win", "mss", "ws", "sack", "ts", "ecr", "tfo", "exp"} {
		if v, ok := m[name]; ok && (name != "len" || s.Len != 0) {
			text += " " + name + "=" + v
		}
	}
	return text
}

// compare matches answers with the text; n answers belong to segments, the rest is Output.
func (k *kit) compare(line, want string, got []wire.Segment, n int) {
	k.tb.Helper()
	k.last = got
	var shown []string
	for i := range got {
		shown = append(shown, k.show(&got[i]))
	}
	all := strings.Join(shown, " & ")
	if want == "" || want == "-" {
		for i := range got {
			require.Equal(k.tb, "-", shown[i], "%s\ngot %s", line, all)
		}
		return
	}
	parts := strings.Split(want, "&")
	require.Len(k.tb, got, max(len(parts), n), "%s\ngot %s", line, all)
	for i, p := range parts {
		f := strings.Fields(p)
		if f[0] == "-" {
			require.Equal(k.tb, "-", shown[i], "%s\ngot %s", line, all)
			continue
		}
		require.NotEqual(k.tb, "-", shown[i], "%s\ngot %s", line, all)
		require.Equal(k.tb, f[0], flagString(got[i].Flags), "%s\ngot %s", line, all)
		m := k.fields(&got[i])
		for _, x := range f[1:] {
			if absent, ok := strings.CutPrefix(x, "!"); ok {
				require.NotContains(k.tb, m, absent, "%s\ngot %s", line, all)
				continue
			}
			name, val, _ := strings.Cut(x, "=")
			require.Contains(k.tb, m, name, "%s\ngot %s", line, all)
			require.Equal(k.tb, val, m[name], "%s: %s\ngot %s", line, name, all)
		}
	}
}

// eachFamily runs f over IPv4 and IPv6.
func eachFamily(t *testing.T, cfg Config, f func(t *testing.T, k *kit)) {
	t.Helper()
	t.Run("v4", func(t *testing.T) { f(t, newKit(t, cfg)) })
	t.Run("v6", func(t *testing.T) { f(t, newKit(t, cfg).v6()) })
}
