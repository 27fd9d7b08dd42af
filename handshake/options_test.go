package handshake

import (
	"fmt"
	"math/bits"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

func TestOPT_001_002_003_SendMSS(t *testing.T) {
	for _, c := range []struct {
		mtu, mss int
		v6       bool
		syn      string
		want     uint16
	}{
		{1500, 0, false, "S", 536},
		{1500, 0, true, "S", 1220},
		{1500, 0, false, "S mss=0", 536},
		{1500, 0, true, "S mss=0", 1220},
		{1500, 0, false, "S mss=1", 48},
		{1500, 0, false, "S mss=47", 48},
		{1500, 0, false, "S mss=48", 48},
		{1500, 0, false, "S mss=1300", 1300},
		{1500, 0, false, "S mss=65535", 1460},
		{1500, 0, true, "S mss=65535", 1440},
		{9000, 0, false, "S mss=9999", 8960},
		{576, 0, true, "S", 516},
		{1500, 1000, false, "S mss=1460", 1000}, // MTU-002
		{1500, 1000, false, "S mss=900", 900},
	} {
		t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
			for _, role := range []string{"passive", "active"} {
				k := newKit(t, Config{MTU: c.mtu, MSS: c.mss})
				if c.v6 {
					k.v6()
				}
				if role == "active" {
					k.play("connect | S\nSA ack=1" + c.syn[1:] + " | A | ESTABLISHED | established")
				} else {
					k.play(c.syn + " | SA\nA seq=1 ack=1 mss=99 | - | ESTABLISHED | established") // OPT-011
				}
				require.Equal(t, c.want, k.info.MSS, role)
			}
		})
	}
}

func TestMTU_001_002_AnnouncedMSS(t *testing.T) {
	for _, c := range []struct{ mtu, mss, v4, v6 int }{
		{1500, 0, 1460, 1440},
		{9000, 0, 8960, 8940},
		{1280, 0, 1240, 1220},
		{576, 0, 536, 516},
		{65535, 0, 65495, 65475},
		{1500, 1000, 1000, 1000},
		{1500, 1450, 1450, 1440},
	} {
		for _, v6 := range []bool{false, true} {
			for _, policy := range []CookiePolicy{CookiesNever, CookiesAlways} {
				k, want := newKit(t, Config{MTU: c.mtu, MSS: c.mss, Cookies: policy}), c.v4
				if v6 {
					k.v6()
					want = c.v6
				}
				k.play(fmt.Sprintf("S mss=1460 | SA mss=%d", want))
				k.tup.LocalPort = 5000
				k.play(fmt.Sprintf("connect | S mss=%d", want))
			}
		}
	}
}

func TestOPT_010_LargestShift(t *testing.T) {
	// The parser clamps to 14 (package wire); the engine can use all of that.
	k := newKit(t, Config{})
	k.play("S ws=14 | SA ws=3\nA seq=1 ack=1 win=65535 | - | ESTABLISHED | established")
	require.EqualValues(t, 65535<<14, k.info.SndWnd)
}

func TestOPT_011_OptionsOffSyn(t *testing.T) {
	k := newKit(t, Config{})
	k.play(opened + "PA seq=1 ack=1 len=5 mss=100 ws=9 sack ts=4 | A seq=1 ack=6 !opt | ESTABLISHED | data 0+5")
	r := &k.e.recs[1]
	require.EqualValues(t, 1460, r.mss)
	require.Zero(t, r.peerShift())
}

func TestOPT_012_OnlyWhatWasOffered(t *testing.T) {
	for _, policy := range []CookiePolicy{CookiesNever, CookiesAlways} {
		for offer := range 8 {
			for deny := range 8 {
				k := newKit(t, Config{Cookies: policy, NoTimestamps: deny&1 != 0, NoSACK: deny&2 != 0, NoWScale: deny&4 != 0})
				in := "S mss=1460"
				for bit, o := range []string{" ts=5", " sack", " ws=4"} {
					if offer>>bit&1 != 0 {
						in += o
					}
				}
				segs := k.inject([]wire.Segment{k.parse(in, in)})
				m := k.fields(&segs[0])
				_, ts := m["ts"]
				_, sack := m["sack"]
				_, ws := m["ws"]
				require.Equal(t, offer&^deny, b2i(ts)|b2i(sack)<<1|b2i(ws)<<2, "%v %s", policy, in)
			}
		}
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestOPT_015_NoWindowScale(t *testing.T) {
	for _, cfg := range []Config{{}, {NoWScale: true}} {
		k := newKit(t, cfg)
		ws := ""
		if cfg.NoWScale {
			ws = " ws=5"
		}
		k.play("S mss=1460" + ws + " win=4000 | SA !ws win=64240\nPA seq=1 ack=1 len=1 win=300 | A win=65535 | ESTABLISHED | established, data 0+1")
		require.False(t, k.info.WScale)
		require.Zero(t, k.info.SndShift+k.info.RcvShift)
		require.EqualValues(t, 300, k.info.SndWnd)
	}
}

func TestWND_001_SynIsNeverScaled(t *testing.T) {
	k := newKit(t, Config{RcvWindow: 65160, NoTimestamps: true})
	k.play("S ws=10 win=65535 | SA ws=0 win=64240\nA seq=1 ack=1 win=63 | - | ESTABLISHED | established")
	require.EqualValues(t, 63<<10, k.info.SndWnd)
	// Active: the SYN-ACK's window is taken as it is (up to what the shift can hold).
	k = newKit(t, Config{})
	k.play("connect | S\nSA ack=1 ws=7 win=65535 | A win=32768 | ESTABLISHED | established")
	require.EqualValues(t, 65535>>7<<7, k.info.SndWnd)
}

func TestWND_002_OwnShift(t *testing.T) {
	for _, c := range []struct{ window, shift int }{
		{1460, 0}, {65535, 0}, {65536, 1}, {131070, 1}, {131071, 2}, {256 << 10, 3}, {65535 << 13, 13}, {65535<<13 + 1, 14}, {65535 << 14, 14},
	} {
		k := newKit(t, Config{RcvWindow: c.window})
		k.play(fmt.Sprintf("S ws=2 | SA ws=%d\nPA seq=1 ack=1 len=1 | A win=%d | - | established, data 0+1", c.shift, c.window>>c.shift))
		require.LessOrEqual(t, bits.Len(uint(c.window>>c.shift)), 16)
	}
}

func TestWND_003_WholeSegments(t *testing.T) {
	k := newKit(t, Config{})
	k.play("S mss=1460 | SA win=64240")
	k = newKit(t, Config{})
	k.play("S mss=1460 ts=1 | SA win=65160")
	k = newKit(t, Config{}).v6()
	k.play("S mss=1440 | SA win=64800")
	k = newKit(t, Config{}).v6()
	k.play("S mss=1440 ts=1 | SA win=64260")
}

func TestWND_004_ZeroWindowSyn(t *testing.T) {
	k := newKit(t, Config{})
	k.play("S win=0 | SA seq=0 ack=1\nA seq=1 ack=1 win=77 | - | ESTABLISHED | established")
	require.EqualValues(t, 77, k.info.SndWnd)
}

func TestTSP_001_OwnSyn(t *testing.T) {
	newKit(t, Config{}).play("connect | S ts ecr=0")
	// What a received SYN echoes is nobody's business.
	newKit(t, Config{}).play("S ts=4 ecr=12345 | SA ts ecr=4 | SYN-RECEIVED")
}

func TestTSP_002_SynAckEchoes(t *testing.T) {
	newKit(t, Config{}).play("S ts=0 | SA ts ecr=0")
	newKit(t, Config{}).play("S ts=4294967295 | SA ts ecr=4294967295")
	newKit(t, Config{Cookies: CookiesAlways}).play("S mss=1460 ts=0 | SA ts ecr=0")
	newKit(t, Config{Cookies: CookiesAlways}).play("S mss=1460 ts=4294967295 | SA ts ecr=4294967295")
}

func TestTSP_003_EverySegment(t *testing.T) {
	newKit(t, Config{}).play(openedTS + `
		PA seq=1 ack=1 len=3 ts=1001    | A ts ecr=1001 | ESTABLISHED | data 0+3
		R seq=9                         | A ts ecr=1001
		send 5                          | PA ts ecr=1001
		+1001ms                         | PA ts ecr=1001
		A seq=4 ack=6 ts=1002           | - | ESTABLISHED | acked
		close                           | FA ts ecr=1002
		+1001ms                         | FA ts ecr=1002
		FA seq=4 ack=7 ts=1003          | A ts ecr=1003 | TIME-WAIT | peer closed, closed: done
		+500ms                          |
		FA seq=4 ack=7 ts=1003          | A ts ecr=1003 | TIME-WAIT
	`)
	newKit(t, Config{}).play(opened + "PA seq=1 ack=1 len=3 ts=9 | A !ts | ESTABLISHED | data 0+3")
}

// The example of RFC 7323 §4.3, as far as an engine that holds nothing out of order can follow it.
func TestTSP_005_TSRecent(t *testing.T) {
	newKit(t, Config{}).play(openedTS + `
		PA seq=1 ack=1 len=10 ts=1001    | A ack=11 ecr=1001 | - | data 0+10    # A1
		PA seq=21 ack=1 len=10 ts=1003   | A ack=11 ecr=1001                    # C3: above Last.ACK.sent
		PA seq=11 ack=1 len=10 ts=1002   | A ack=21 ecr=1002 | - | data 0+10    # B2
		PA seq=41 ack=1 len=10 ts=1005   | A ack=21 ecr=1002                    # E5
		PA seq=21 ack=1 len=20 ts=1004   | A ack=41 ecr=1004 | - | data 0+20    # D4
	`)
}

func TestTSP_006_BadAck(t *testing.T) {
	newKit(t, Config{}).play(openedTS + `
		PA seq=1 ack=50 len=5 ts=2000    | A seq=1 ack=1 ecr=1000 | ESTABLISHED
		PA seq=1 ack=1 len=5 ts=1000     | A seq=1 ack=6 ecr=1000 | ESTABLISHED | data 0+5
	`)
}

func TestTSP_007_PAWS(t *testing.T) {
	newKit(t, Config{}).play(openedTS + `
		PA seq=1 ack=1 len=5 ts=999      | A seq=1 ack=1 ecr=1000 | ESTABLISHED
		A seq=1 ack=1 ts=999             | - | ESTABLISHED
		FA seq=1 ack=1 ts=999            | A seq=1 ack=1 | ESTABLISHED
		PA seq=1 ack=1 len=5 ts=2147484647 | A ack=6 ecr=2147484647 | ESTABLISHED | data 0+5
		PA seq=6 ack=1 len=5 ts=1000     | A ack=6 | ESTABLISHED
	`)
	// TS.Recent 0 is "none yet".
	newKit(t, Config{}).play(`
		S ts=0                                | SA ecr=0
		A seq=1 ack=1 ts=3000000000           | - | ESTABLISHED | established
		PA seq=1 ack=1 len=5 ts=3000000001    | A ack=6 ecr=3000000001 | ESTABLISHED | data 0+5
	`)
}

// TSP-008: kit.heard compares every TSval with the 1 ms clock plus the offset of
// the tuple; here two incarnations and two tuples.
func TestTSP_008_OffsetPerTuple(t *testing.T) {
	k := newKit(t, Config{})
	k.play("S ts=1 | SA ts\nR seq=1 | - | CLOSED")
	first := k.tsLast
	k.play("+10ms |\nS ts=1 | SA ts")
	require.Equal(t, first+10, k.tsLast)
	k.tup.RemotePort++
	k.play("S ts=1 | SA ts")
	require.NotEqual(t, first+10, k.tsLast)
}

func TestISN_001_002_Clock(t *testing.T) {
	k := newKit(t, Config{})
	var last wire.Seq
	for i := range 200 {
		k.play("S | SA\nR seq=1 | - | CLOSED")
		if i > 0 {
			require.Equal(t, wire.Seq(1e9/64), k.iss-last, "64 ns ticks")
			require.True(t, last.Less(k.iss))
		}
		last = k.iss
		k.now += 1e9
	}
	// Neighbouring tuples are uncorrelated: the differences of ISNs spread over all 32 bits.
	k = newKit(t, Config{MaxFlows: 4096, MaxHalfOpen: 4096, Cookies: CookiesNever})
	var ones [32]int
	const n = 2000
	for i := range n {
		k.tup.RemotePort = uint16(1000 + i)
		k.inject([]wire.Segment{k.parse("", "S")})
		d := uint32(k.iss - last)
		last = k.iss
		for b := range ones {
			ones[b] += int(d >> b & 1)
		}
	}
	for b, c := range ones {
		require.InDelta(t, n/2, c, 4.5*22.4, "bit %d", b) // 4.5 sigma
	}
}
