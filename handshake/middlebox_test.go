package handshake

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// The options of a handshake, by bit of a set.
var kinds = [...]struct {
	name string
	kind uint8
	has  wire.OptionSet
}{
	{"mss", wire.OptMSS, wire.HasMSS},
	{"ws", wire.OptWScale, wire.HasWScale},
	{"sack", wire.OptSACKPermitted, wire.HasSACKPermitted},
	{"ts", wire.OptTimestamps, wire.HasTimestamps},
}

// kindSet names a set of options.
func kindSet(set int) (s string) {
	for bit, k := range kinds {
		if set>>bit&1 != 0 {
			s += " " + k.name
		}
	}
	if s == "" {
		return " nothing"
	}
	return s
}

// strip removes a set of options from a frame: by leaving them out, or by NOPs in their place.
func strip(frame []byte, set int, nop bool) []byte {
	var kept []byte
	for _, o := range options(frame) {
		gone := false
		for bit, k := range kinds {
			gone = gone || o[0] == k.kind && set>>bit&1 != 0
		}
		switch {
		case !gone:
			kept = append(kept, o...)
		case nop:
			kept = append(kept, bytes.Repeat([]byte{wire.OptNOP}, len(o))...)
		}
	}
	return withOptions(frame, kept)
}

// isSYN reports whether a frame has SYN.
func isSYN(frame []byte) bool { return tcpOf(frame).Flags()&wire.FlagSYN != 0 }

// eachCrossing runs f for both families, stateful and by cookie.
func eachCrossing(t *testing.T, cfg Config, f func(t *testing.T, x *crossing, v6, byCookie bool)) {
	t.Helper()
	for _, policy := range []CookiePolicy{CookiesNever, CookiesAlways} {
		server := cfg
		server.Cookies = policy
		x := newCrossing(t, cfg, server)
		for _, v6 := range []bool{false, true} {
			t.Run(fmt.Sprintf("cookies=%v v6=%v", policy, v6), func(t *testing.T) {
				x.tb = t
				f(t, x, v6, policy == CookiesAlways)
			})
		}
	}
}

// Any options removed from the SYN and any from the SYN-ACK, left out or
// overwritten: the flow opens with what is left, and text passes both ways.
func TestMiddlebox_ACT_010_OPT_012_Stripped(t *testing.T) {
	eachCrossing(t, Config{}, func(t *testing.T, x *crossing, v6, byCookie bool) {
		for syn := range 1 << len(kinds) {
			for synAck := range 1 << len(kinds) {
				for _, nop := range []bool{false, true} {
					what := fmt.Sprintf("SYN without%s, SYN-ACK without%s, NOPs %v", kindSet(syn), kindSet(synAck), nop)
					x.open(v6, func(toServer bool, frame []byte) []byte {
						switch {
						case !isSYN(frame):
							return frame
						case toServer:
							return strip(frame, syn, nop)
						}
						return strip(frame, synAck, nop)
					})
					offered := x.seen[0].Opt.Has // what came to the server
					answered := x.seen[1].Opt.Has
					require.Equal(t, 1, x.client.established, what)
					requireOptions(t, &x.client.info, answered, what)
					require.Zero(t, answered&^(offered|wire.HasMSS), what)
					if byCookie && offered&wire.HasTimestamps != 0 && answered&wire.HasTimestamps == 0 {
						// The one thing that is left of such a cookie is its sequence number; what the
						// SYN-ACK promised rode in the timestamp that is gone, so it is refused (CKI-011).
						require.Zero(t, x.server.established, what)
						require.Equal(t, []CloseReason{ReasonReset}, x.client.closed, what)
						continue
					}
					require.Equal(t, 1, x.server.established, what)
					require.Equal(t, byCookie, x.server.info.Cookie, what)
					requireOptions(t, &x.server.info, offered, what)
					requireMSS(t, x, v6, what)
					x.talk()
				}
			}
		}
	})
}

func requireOptions(t *testing.T, i *Info, has wire.OptionSet, what string) {
	t.Helper()
	require.Equal(t, has&wire.HasWScale != 0, i.WScale, what)
	require.Equal(t, has&wire.HasSACKPermitted != 0, i.SACK, what)
	require.Equal(t, has&wire.HasTimestamps != 0, i.Timestamps, what)
}

// requireMSS compares what both ends may send with what they were told.
func requireMSS(t *testing.T, x *crossing, v6 bool, what string) {
	t.Helper()
	told := func(o *wire.Options) uint16 {
		if o.Has&wire.HasMSS != 0 {
			return o.MSS
		}
		if v6 {
			return 1220 // OPT-001
		}
		return 536
	}
	require.Equal(t, told(&x.seen[1].Opt), x.client.info.MSS, what)
	if want := told(&x.seen[0].Opt); x.server.info.Cookie {
		require.LessOrEqual(t, x.server.info.MSS, want, what)
		require.Greater(t, x.server.info.MSS, want*4/5, what)
	} else {
		require.Equal(t, want, x.server.info.MSS, what)
	}
}

// permutations calls f with each order of n things.
func permutations(n int, f func(order []int)) {
	order := make([]int, 0, n)
	var rec func()
	rec = func() {
		if len(order) == n {
			f(order)
			return
		}
		for i := range n {
			if !slices.Contains(order, i) {
				order = append(order, i)
				rec()
				order = order[:len(order)-1]
			}
		}
	}
	rec()
}

// Options in any order, on either side, with and without padding between them:
// the outcome is that of the order we send.
func TestMiddlebox_OPT_009_Reordered(t *testing.T) {
	eachCrossing(t, Config{}, func(t *testing.T, x *crossing, v6, _ bool) {
		x.open(v6, nil)
		client, server := x.client.info, x.server.info
		require.Equal(t, 1, x.server.established)
		permutations(len(kinds), func(order []int) {
			for pad := range 4 {
				x.open(v6, func(_ bool, frame []byte) []byte {
					list := options(frame)
					if !isSYN(frame) {
						return frame
					}
					var opts []byte
					for _, i := range order {
						opts = append(opts, bytes.Repeat([]byte{wire.OptNOP}, pad)...)
						opts = append(opts, list[i]...)
					}
					return withOptions(frame, opts)
				})
				for _, e := range []struct {
					got  *end
					want Info
				}{{&x.client, client}, {&x.server, server}} {
					require.Equal(t, 1, e.got.established)
					got := e.got.info
					e.want.Tuple, e.want.ISS, e.want.IRS, e.want.RTT, e.want.RTO = got.Tuple, got.ISS, got.IRS, got.RTT, got.RTO
					require.Equal(t, e.want, got, "order %v, %d NOPs", order, pad)
				}
				x.talk()
			}
		})
	})
}

// A tunnel that lowers the MSS on its way, in both SYNs, as routers do by themselves
// and by request (iptables TCPMSS). Text then fits through it.
func TestMiddlebox_OPT_003_MSSClamped(t *testing.T) {
	eachCrossing(t, Config{}, func(t *testing.T, x *crossing, v6, byCookie bool) {
		for _, mss := range []uint16{1380, 1300, 1220, 536, 217} {
			longest := 0
			x.open(v6, func(_ bool, frame []byte) []byte {
				longest = max(longest, len(tcpOf(frame).Payload()))
				for _, o := range options(frame) {
					if o[0] == wire.OptMSS && binary.BigEndian.Uint16(o[2:]) > mss {
						binary.BigEndian.PutUint16(o[2:], mss) // in place
					}
				}
				return resum(frame)
			})
			require.Equal(t, mss, x.client.info.MSS)
			require.LessOrEqual(t, x.server.info.MSS, mss)
			if !byCookie {
				require.Equal(t, mss, x.server.info.MSS)
			}
			x.talk()
			require.Equal(t, int(mss)-12, longest)
		}
	})
}

// What a middlebox may add or leave behind: unknown kinds, options twice, a Fast Open
// request of somebody, a list that ends early or is malformed after what counts.
func TestMiddlebox_OPT_004to008_Added(t *testing.T) {
	for _, c := range []struct {
		id, front, back string
	}{
		{"OPT-008 unknown kinds", "\x1e\x03\xaa\xfd\x04\xbb\xbb", "\x4c\x02"},
		{"OPT-008 TFO request stripped to its padding", "", "\x01\x01\x01\x01"},
		{"OPT-008 TFO request", "", "\x22\x02"},
		{"OPT-008 TFO cookie of another server", "", "\x22\x0a12345678"},
		{"OPT-008 experimental TFO request", "\xfe\x04\xf9\x89", ""},
		{"OPT-004 twice, the last one wins", "\x02\x04\x02\x18\x03\x03\x01", ""},
		{"OPT-005 wrong lengths", "\x02\x03\x05\x03\x02\x04\x03\x00", ""},
		{"OPT-006 malformed tail", "", "\x08\x0a\x00"},
		{"OPT-006 length 0", "", "\x05\x00\x01\x01"},
		{"OPT-007 list ended by EOL", "", "\x00\x02\x04\x00\x40\x03\x03\x00"},
		{"OPT-007 NOPs before", "\x01\x01\x01\x01\x01\x01\x01", ""},
	} {
		t.Run(c.id, func(t *testing.T) {
			eachCrossing(t, Config{}, func(t *testing.T, x *crossing, v6, byCookie bool) {
				x.open(v6, func(_ bool, frame []byte) []byte {
					if !isSYN(frame) {
						return frame
					}
					opts := []byte(c.front)
					for _, o := range options(frame) {
						opts = append(opts, o...)
					}
					return withOptions(frame, append(opts, c.back...))
				})
				require.Len(t, x.seen, 3)
				for _, e := range []*end{&x.client, &x.server} {
					require.Equal(t, 1, e.established)
					requireOptions(t, &e.info, wire.HasWScale|wire.HasSACKPermitted|wire.HasTimestamps, c.id)
					require.Contains(t, []uint16{1460, 1440}, e.info.MSS)
					require.EqualValues(t, 3, e.info.SndShift)
				}
				x.talk()
			})
		})
	}
}

// ECN cleared on the way, or by half: never a reset, and ECN only where both ends
// can believe in it.
func TestMiddlebox_ECN_001to004_Bleached(t *testing.T) {
	flags := func(set, clear wire.Flags) func([]byte) {
		return func(frame []byte) {
			s := tcpOf(frame)
			s.SetFlags(s.Flags()&^clear | set)
		}
	}
	mark := func(codepoint byte) func([]byte) {
		return func(frame []byte) {
			if frame[12] == 0x86 {
				frame[15] = frame[15]&^0x30 | codepoint<<4
			} else {
				frame[15] = frame[15]&^3 | codepoint
			}
			resum(frame)
		}
	}
	keep := func([]byte) {}
	for _, c := range []struct {
		name           string
		syn, synAck    func([]byte)
		server, client bool
	}{
		{"ECN-001 untouched", keep, keep, true, true},
		{"ECN-001 request cleared", flags(0, ecnAsk), keep, false, false},
		{"ECN-001 CWR cleared", flags(0, wire.FlagCWR), keep, false, false},
		{"ECN-001 ECE cleared", flags(0, wire.FlagECE), keep, false, false},
		{"ECN-002 codepoint rewritten to ECT(0)", mark(2), keep, false, false},
		{"ECN-002 codepoint rewritten to CE", mark(3), keep, false, false},
		{"ECN-002 made an AccECN request", flags(wire.FlagAE, 0), keep, true, true},
		{"ECN-004 answer cleared", keep, flags(0, wire.FlagECE), true, false},
		{"ECN-004 flags reflected", keep, flags(wire.FlagCWR, 0), true, false},
		{"ECN-004 flags reflected by a path that clears the request", flags(0, ecnAsk), flags(ecnAsk, 0), false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachCrossing(t, Config{ECN: ECNOn}, func(t *testing.T, x *crossing, v6, _ bool) {
				x.open(v6, func(toServer bool, frame []byte) []byte {
					switch {
					case isSYN(frame) && toServer:
						c.syn(frame)
					case isSYN(frame):
						c.synAck(frame)
					}
					return frame
				})
				require.Equal(t, c.server, x.server.info.ECN)
				require.Equal(t, c.client, x.client.info.ECN)
				x.talk()
			})
		})
	}
}

// A queue that marks instead of dropping, once ECN is on: the mark is echoed until the
// sender has said that it heard (ECN-007).
func TestMiddlebox_ECN_007_Marked(t *testing.T) {
	eachCrossing(t, Config{ECN: ECNOn}, func(t *testing.T, x *crossing, v6, _ bool) {
		marked := 0
		x.open(v6, func(toServer bool, frame []byte) []byte {
			if len(tcpOf(frame).Payload()) == 0 {
				return frame
			}
			at, bits := 15, byte(ce)
			if v6 {
				bits = ce << 4
			}
			require.Equal(t, bits&0x22, frame[at]&bits, "text is ECT(0): ECN-005")
			if toServer && marked < 1 {
				marked++
				frame[at] |= bits
				resum(frame)
			}
			return frame
		})
		ece := func() (n int) {
			for i := range x.seen {
				n += b2i(x.seen[i].Remote == x.tup.Remote && x.seen[i].Flags&(wire.FlagECE|wire.FlagSYN) == wire.FlagECE)
			}
			return n
		}
		x.say(&x.client) // marked
		require.Equal(t, 1, ece())
		x.say(&x.server)
		require.Equal(t, 2, ece(), "no CWR yet")
		x.say(&x.client) // with CWR
		require.NotZero(t, x.seen[len(x.seen)-2].Flags&wire.FlagCWR)
		x.say(&x.client)
		x.say(&x.server)
		require.Equal(t, 2, ece())
		require.Equal(t, x.client.sent, x.server.got)
	})
}

// A firewall that does not pass what it does not know: SYNs with timestamps, at first.
func TestMiddlebox_RTX_002_DropsThenStrips(t *testing.T) {
	eachCrossing(t, Config{}, func(t *testing.T, x *crossing, v6, _ bool) {
		syns := 0
		x.open(v6, func(toServer bool, frame []byte) []byte {
			if !isSYN(frame) || !toServer {
				return frame
			}
			if syns++; syns <= 2 {
				return nil
			}
			return strip(frame, 8, false)
		})
		require.Zero(t, x.client.established)
		x.pass(1001 * time.Millisecond)
		require.Zero(t, x.client.established)
		x.pass(2001 * time.Millisecond)
		require.Equal(t, 1, x.client.established)
		require.Equal(t, 1, x.server.established)
		require.False(t, x.client.info.Timestamps || x.server.info.Timestamps)
		require.True(t, x.client.info.Retrans)
		require.Equal(t, 3*time.Second, x.client.info.RTO, "RTX-004")
		x.talk()
	})
}

// A firewall that gives flows other sequence numbers, as some do against weak ones.
func TestMiddlebox_SequenceNumbersRewritten(t *testing.T) {
	eachCrossing(t, Config{}, func(t *testing.T, x *crossing, v6, _ bool) {
		const up, down = wire.Seq(0x80000123), wire.Seq(0xfffff001)
		x.open(v6, func(toServer bool, frame []byte) []byte {
			s, seq, ack := tcpOf(frame), up, down
			if !toServer {
				seq, ack = down, up
			}
			s.SetSeq(s.Seq() + seq)
			if s.Flags()&wire.FlagACK != 0 {
				s.SetAck(s.Ack() - ack)
			}
			return frame
		})
		require.Equal(t, x.client.info.ISS+up, x.server.info.IRS)
		require.Equal(t, x.server.info.ISS+down, x.client.info.IRS)
		x.talk()
	})
}
