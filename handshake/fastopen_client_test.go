package handshake

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// fastClient has a cache for Fast Open.
func fastClient(tb testing.TB, cfg Config) *kit {
	tb.Helper()
	cfg.FastOpenCache = 64
	if cfg.TimeWait == 0 {
		cfg.TimeWait = -1
	}
	return newKit(tb, cfg)
}

func eachFastClient(t *testing.T, cfg Config, f func(t *testing.T, k *kit)) {
	t.Helper()
	t.Run("v4", func(t *testing.T) { f(t, fastClient(t, cfg)) })
	t.Run("v6", func(t *testing.T) { f(t, fastClient(t, cfg).v6()) })
}

// learn opens a flow that asks for a cookie and gets one, and ends it.
func (k *kit) learn() {
	k.tb.Helper()
	k.play("connect 100 | S tfo= !exp len=0 | SYN-SENT\n" +
		"SA seq=0 ack=1 mss=1000 tfo=a1a2a3a4a5a6a7a8 | - & PA seq=1 ack=1 len=100 | ESTABLISHED | established\n" +
		"R seq=1 | - | CLOSED | closed: reset")
}

func TestTFO_014_016_ClientWithCookie(t *testing.T) {
	eachFastClient(t, Config{}, func(t *testing.T, k *kit) {
		k.learn()
		require.Equal(t, FastOpenCounters{Asked: 1, Learned: 1}, k.e.Counters().FastOpen)
		k.play("connect 100 | S seq=0 len=100 tfo=a1a2a3a4a5a6a7a8 !exp | SYN-SENT")
		require.True(t, k.outs[0].Payload)
		require.EqualValues(t, 100, k.outs[0].Text)
		require.EqualValues(t, 1, k.e.Counters().FastOpen.Sending)
		k.play("+20ms | -\n SA seq=0 ack=101 mss=1000 | A seq=101 ack=1 len=0 | ESTABLISHED | established fast, acked")
		require.Equal(t, 20*time.Millisecond, k.info.RTT, "RTX-007: from SYN to SYN-ACK")
		require.True(t, k.info.Active)
		require.False(t, k.info.Cookie)
		require.Equal(t, FastOpenCounters{Asked: 1, Learned: 1, Sent: 1, Taken: 1}, k.e.Counters().FastOpen)
		_, armed := k.e.NextTimer()
		require.False(t, armed)
		k.play(`
			send 50           | PA seq=101 ack=1 len=50
			A seq=1 ack=151 len=7 | A seq=151 ack=8 | ESTABLISHED | acked, data 0+7
		`)
	})
	t.Run("TFO-014 as much as fits", func(t *testing.T) {
		k := fastClient(t, Config{})
		k.learn()
		k.play("connect 1400 | S len=960 | SYN-SENT") // the cached MSS of 1000 less all options
		require.EqualValues(t, 1400, k.outs[0].Text)
		k.play("SA seq=0 ack=961 mss=1000 | - & PA seq=961 ack=1 len=440 | ESTABLISHED | established fast")
		require.EqualValues(t, 440, k.outs[0].Text)
		k.play("A seq=1 ack=1401 | - | ESTABLISHED | acked")
		k = fastClient(t, Config{})
		require.Equal(t, 1448, k.e.TextRoom(peer4))
		require.Equal(t, 1428, k.e.TextRoom(peer6))
		_, err := k.e.ConnectText(&k.tup, 0, 0, 1449)
		require.ErrorIs(t, err, ErrTextTooLong)
		_, err = k.e.ConnectText(&k.tup, 0, 0, -1)
		require.ErrorIs(t, err, ErrTextTooLong)
		require.Zero(t, k.e.Counters().Attempted)
		k.tup.Remote = k.tup.Local
		_, err = k.e.ConnectText(&k.tup, 0, 0, 1)
		require.ErrorIs(t, err, ErrUnreachable)
	})
	t.Run("TFO-014 own MTU", func(t *testing.T) {
		k := fastClient(t, Config{MTU: 600, NoTimestamps: true})
		k.learn()
		k.play("connect 560 | S len=520 | SYN-SENT\n SA ack=521 mss=1000 | - & PA seq=521 len=40 | ESTABLISHED | established fast")
	})
	t.Run("TFO-014 no text", func(t *testing.T) {
		k := fastClient(t, Config{})
		k.play("connect 0 | S len=0 tfo= | SYN-SENT\n SA ack=1 tfo=00112233 | A len=0 | ESTABLISHED | established\n abort | RA")
		k.play("connect 0 | S len=0 tfo=00112233 | SYN-SENT\n SA ack=1 | A len=0 | ESTABLISHED | established")
		require.Zero(t, k.e.Counters().FastOpen.Sent)
	})
	t.Run("TFO-014 experimental", func(t *testing.T) {
		k := fastClient(t, Config{})
		k.play("connect 9 | S tfo= !exp | SYN-SENT\n SA ack=1 mss=1460 tfo=00112233445566778899aabbccddeeff exp | - & PA len=9 | ESTABLISHED | established\n abort | RA")
		k.play("connect 9 | S len=9 tfo=00112233445566778899aabbccddeeff exp | SYN-SENT")
	})
}

func TestTFO_015_Cache(t *testing.T) {
	t.Run("TFO-015 a repeated SYN is plain, its late cookie is kept", func(t *testing.T) {
		k := fastClient(t, Config{})
		k.learn()
		k.play(`
			connect 100 | S len=100 tfo=a1a2a3a4a5a6a7a8 | SYN-SENT
			+1.1s       | S seq=0 len=0 !tfo | SYN-SENT
			+2.1s       | S seq=0 len=0 !tfo | SYN-SENT
			SA ack=1 mss=1000 tfo=b1b2b3b4b5b6b7b8 | - & PA seq=1 ack=1 len=100 | ESTABLISHED | established
		`)
		require.True(t, k.info.Retrans)
		require.Zero(t, k.info.RTT)
		require.Equal(t, FastOpenCounters{Asked: 1, Learned: 2, Sent: 1, Declined: 1}, k.e.Counters().FastOpen)
		k.play("abort | RA\n connect 100 | S len=100 tfo=b1b2b3b4b5b6b7b8 | SYN-SENT")
	})
	t.Run("TFO-015 late answer to the first SYN", func(t *testing.T) {
		k := fastClient(t, Config{})
		k.learn()
		k.play(`
			connect 100       | S len=100 | SYN-SENT
			+1.1s             | S len=0 !tfo | SYN-SENT
			SA ack=101        | A seq=101 | ESTABLISHED | established fast, acked
		`)
	})
	t.Run("TFO-015 unsolicited", func(t *testing.T) {
		k := fastClient(t, Config{})
		k.play(`
			connect           | S !tfo | SYN-SENT
			SA ack=1 tfo=a1a2a3a4a5a6a7a8 | A | ESTABLISHED | established
			abort             | RA
			connect 5         | S tfo= | SYN-SENT
		`)
		require.Zero(t, k.e.Counters().FastOpen.Learned)
	})
	t.Run("TFO-015 odd and oversized", func(t *testing.T) {
		k := fastClient(t, Config{})
		for _, raw := range [][]byte{{34, 5, 1, 2, 3}, {34, 20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18}} {
			k.play("connect 5 | S tfo= | SYN-SENT")
			s := k.parse("", "SA ack=1")
			wire.ParseOptions(raw, true, &s.Opt)
			k.compare("", "- & PA len=5", k.inject([]wire.Segment{s}), 1)
			k.takeEvents()
			k.play("abort | RA")
		}
		require.Zero(t, k.e.Counters().FastOpen.Learned)
	})
	t.Run("TFO-015 per pair of addresses, not of ports", func(t *testing.T) {
		k := fastClient(t, Config{})
		k.learn()
		k.tup.LocalPort++
		k.tup.RemotePort++
		k.play("connect 100 | S len=100 tfo=a1a2a3a4a5a6a7a8 | SYN-SENT")
		k.tup.Local = wire.Addr4(0xc0000202)
		k.play("connect 100 | S len=0 tfo= | SYN-SENT")
		k.tup.Local, k.tup.Remote = our4, wire.Addr4(0xc6336403)
		k.play("connect 100 | S len=0 tfo= | SYN-SENT")
	})
	t.Run("TFO-015 bounded", func(t *testing.T) {
		k := fastClient(t, Config{})
		require.Len(t, k.e.fast.cache.sets, 16)
		put := func(n uint32) {
			k.tup.Remote = wire.Addr4(0x0a000000 + n)
			p := k.e.fastPeerFor(&k.tup)
			p.n, p.cookie[0] = 4, byte(n)
		}
		known := func(n uint32) bool {
			k.tup.Remote = wire.Addr4(0x0a000000 + n)
			p := k.e.fastPeer(&k.tup)
			require.True(t, p == nil || p.cookie[0] == byte(n))
			return p != nil
		}
		for n := range uint32(1000) {
			k.advance(time.Millisecond)
			put(n)
			require.True(t, known(0) && known(n), "what is used stays")
		}
		kept := 0
		for n := range uint32(1000) {
			if known(n) {
				kept++
				require.True(t, n == 0 || n > 800, n)
			}
		}
		require.Equal(t, 64, kept)
	})
}

func TestTFO_016_Fallback(t *testing.T) {
	eachFastClient(t, Config{}, func(t *testing.T, k *kit) {
		k.learn()
		k.play(`
			connect 100             | S len=100 | SYN-SENT
			SA ack=102              | R seq=102 & S len=0 !tfo | SYN-SENT  # beyond SND.NXT
			SA ack=0                | R seq=0 | SYN-SENT
			SA seq=0 ack=1 mss=1000 | - & PA seq=1 ack=1 len=100 | ESTABLISHED | established
			+3.1s                   | PA seq=1 len=100 | ESTABLISHED
			A seq=1 ack=101         | - | ESTABLISHED | acked
		`)
		require.False(t, k.info.FastOpen)
		require.Equal(t, FastOpenCounters{Asked: 1, Learned: 1, Sent: 1, Declined: 1}, k.e.Counters().FastOpen)
		k.play("abort | RA\n connect 100 | S len=100 tfo=a1a2a3a4a5a6a7a8") // the cache is as it was
	})
	t.Run("TFO-016 in part", func(t *testing.T) {
		k := fastClient(t, Config{})
		k.learn()
		k.play(`
			connect 100         | S len=100 | SYN-SENT
			SA ack=41 mss=1000  | - & PA seq=41 ack=1 len=60 | ESTABLISHED | established fast
			A seq=1 ack=101     | - | ESTABLISHED | acked
		`)
		require.EqualValues(t, 1, k.e.Counters().FastOpen.Taken)
	})
	t.Run("TFO-016 the cookie was wrong", func(t *testing.T) {
		k := fastClient(t, Config{})
		k.learn()
		k.play(`
			connect 100 | S len=100 | SYN-SENT
			SA ack=1 mss=1000 tfo=b1b2b3b4b5b6b7b8 | - & PA seq=1 len=100 | ESTABLISHED | established
			abort       | RA
			connect 100 | S len=100 tfo=b1b2b3b4b5b6b7b8
		`)
	})
	t.Run("TFO-016 a peer with a smaller MSS or window gets it piece by piece", func(t *testing.T) {
		k := fastClient(t, Config{})
		k.play(`
			connect 1400               | S tfo= | SYN-SENT
			SA ack=1 mss=600 win=60000 | - & PA seq=1 len=600 | ESTABLISHED | established
		`)
		require.EqualValues(t, 1400, k.outs[0].Text)
		k.play("+1.1s | PA seq=1 len=600\n A seq=1 ack=601 win=500 | - & PA seq=601 len=500")
		require.EqualValues(t, 800, k.outs[0].Text)
		k.play(`
			A seq=1 ack=1101 win=0 | - & PA seq=1101 len=1
			A seq=1 ack=1102 win=0 | -
			+1.1s                  | PA seq=1102 len=1
			A seq=1 ack=1103 win=9000 | -
			+1.1s                  | PA seq=1103 len=298
			A seq=1 ack=1401       | - | ESTABLISHED | acked
		`)
	})
	t.Run("TFO-016 closed meanwhile", func(t *testing.T) {
		k := fastClient(t, Config{})
		k.play(`
			connect 1000      | S tfo= | SYN-SENT
			SA ack=1 mss=600  | - & PA seq=1 len=600 | ESTABLISHED | established
			close             | FA seq=1001 | FIN-WAIT-1
			A seq=1 ack=601   | - & FPA seq=601 len=400 | FIN-WAIT-1
			A seq=1 ack=1002  | - | FIN-WAIT-2 | acked
		`)
	})
	t.Run("TFO-016 refused, timed out, aborted", func(t *testing.T) {
		k := fastClient(t, Config{SYNRetries: 1})
		k.learn()
		k.play(`
			connect 100 | S len=100
			RA ack=101  | - | CLOSED | closed: refused
			connect 100 | S len=100
			RA ack=1    | - | CLOSED | closed: refused
			connect 100 | S len=100
			abort       | - | CLOSED
			connect 100 | S len=100
			+1.1s       | S len=0
			+2.1s       | - | CLOSED | closed: timed out
		`)
		require.Equal(t, FastOpenCounters{Asked: 1, Learned: 1, Sent: 4, Unanswered: 4}, k.e.Counters().FastOpen)
	})
	t.Run("TFO-016 an impossible timestamp", func(t *testing.T) {
		k := fastClient(t, Config{})
		k.learn()
		k.play("connect 100 | S len=100\n SA ack=101 ts=5 ecr=last+1 | R seq=101 | SYN-SENT\n SA ack=41 ts=5 ecr=1 | R seq=41 | SYN-SENT")
		k.play("SA ack=41 ts=5 ecr=last | - & PA seq=41 len=60 | ESTABLISHED | established fast")
	})
	t.Run("TFO-016 without Fast Open the text follows the handshake", func(t *testing.T) {
		k := newKit(t, Config{})
		k.play(`
			connect 100       | S len=0 !tfo | SYN-SENT
			SA ack=1 tfo=a1a2a3a4 | - & PA seq=1 ack=1 len=100 | ESTABLISHED | established
			A seq=1 ack=101   | - | ESTABLISHED | acked
			abort             | RA
			connect 0         | S len=0 | SYN-SENT
			SA ack=1          | A seq=1 len=0 | ESTABLISHED | established
		`)
		require.Zero(t, k.e.Counters().FastOpen)
	})
	t.Run("TFO-016 Output is full", func(t *testing.T) {
		k := fastClient(t, Config{})
		k.play("connect 100 | S tfo= | SYN-SENT")
		full := k.e.out
		k.e.out = k.e.out[:0:0]
		segs := []wire.Segment{k.parse("", "SA ack=1 mss=1000")}
		k.compare("", "A seq=1 ack=1 len=0", k.inject(segs), 1)
		require.Equal(t, "established", k.takeEvents())
		k.e.out = full[:0]
		k.play("+1.1s | PA seq=1 len=100 | ESTABLISHED\n A seq=1 ack=101 | - | ESTABLISHED | acked")
	})
}

// Text and FIN on the SYN-ACK of a server that answers as fast, as packetdrill has it.
func TestTFO_016_ACT_007_TextOnSYNACK(t *testing.T) {
	k := fastClient(t, Config{})
	k.learn()
	k.play(`
		connect 100              | S len=100
		SA ack=101 len=30        | A seq=101 ack=31 | ESTABLISHED | established fast, data 0+30, acked
		abort                    | RA
		connect 100              | S len=100
		FSA ack=1 len=30         | A seq=1 ack=32 & PA seq=1 ack=32 len=100 | CLOSE-WAIT | established, data 0+30, peer closed
		A seq=32 ack=101         | - | CLOSE-WAIT | acked
		abort                    | RA
		connect                  | S len=0
		SA ack=1 len=30          | A seq=1 ack=1 | ESTABLISHED | established      # not asked for (ACT-007)
	`)
}

func TestTFO_017_ExperimentalOnce(t *testing.T) {
	k := fastClient(t, Config{})
	round := func(syn, synack string) {
		t.Helper()
		k.play("connect 9 | S " + syn + " | SYN-SENT\n SA ack=1 mss=1460 " + synack + " | - & PA len=9 | ESTABLISHED | established\n abort | RA")
	}
	round("tfo= !exp", "")
	round("tfo= exp", "")
	round("tfo= !exp", "")
	round("tfo= !exp", "")
	round("tfo= !exp", "tfo=a1a2a3a4 exp")
	k.play("connect 9 | S len=9 tfo=a1a2a3a4 exp | SYN-SENT\n SA ack=10 | A | ESTABLISHED | established fast, acked\n abort | RA")
	// Nothing is concluded from a SYN that was repeated without the option.
	k = fastClient(t, Config{})
	k.play("connect 9 | S tfo= !exp\n +1.1s | S !tfo\n SA ack=1 | - & PA len=9 | ESTABLISHED | established\n abort | RA")
	round("tfo= !exp", "")
	round("tfo= exp", "tfo=a1a2a3a4 exp")
}

func TestTFO_018_BlackHole(t *testing.T) {
	const base = 10 * time.Second
	cfg := Config{FastOpenBlackHole: base, DataRetries: 10, SYNRetries: 6}
	suspended := func(k *kit) bool {
		k.tb.Helper()
		id, err := k.e.ConnectText(&k.tup, 0, 0, 9)
		require.NoError(k.tb, err)
		out := k.drain()
		k.e.Abort(id)
		return out[0].Opt.Has&wire.HasFastOpen == 0
	}
	for name, script := range map[string]string{
		"third timeout of a SYN with text": "connect 9 | S len=9\n +1.1s | S\n +2.1s | S\n +4.1s | S\n abort | -",
		"third timeout of the text":        "connect 9 | S len=9\n SA ack=1 | - & PA | ESTABLISHED | established\n +1.1s | PA\n +2.1s | PA\n +4.1s | PA\n abort | RA",
		"RST out of order":                 "connect 9 | S len=9\n SA ack=10 | A | ESTABLISHED | established fast, acked\n R seq=5 | A | ESTABLISHED\n abort | RA",
		"FIN out of order":                 "connect 9 | S len=9\n SA ack=10 | A | ESTABLISHED | established fast, acked\n FA seq=50 ack=10 | A ack=1 | ESTABLISHED\n abort | RA",
	} {
		t.Run("TFO-018 "+name, func(t *testing.T) {
			k := fastClient(t, cfg)
			k.learn()
			require.False(t, suspended(k))
			k.play(script)
			require.True(t, suspended(k))
			k.advance(base - time.Millisecond)
			require.True(t, suspended(k))
			k.advance(time.Millisecond)
			require.False(t, suspended(k))
			c := k.e.Counters().FastOpen
			require.EqualValues(t, 1, c.BlackHoles)
			require.EqualValues(t, 2, c.Suspended)

			off := fastClient(t, Config{DataRetries: 10})
			off.learn()
			off.play(script)
			require.False(t, suspended(off), "base 0 never suspends")
		})
	}
	for name, script := range map[string]string{
		"two timeouts":           "connect 9 | S len=9\n +1.1s | S\n +2.1s | S\n abort | -",
		"progress between":       "connect 9 | S len=9\n SA ack=1 | - & PA | ESTABLISHED | established\n +1.1s | PA\n +2.1s | PA\n A seq=1 ack=3 | - | ESTABLISHED\n +1.1s | PA seq=3\n abort | RA",
		"an open without text":   "connect | S !tfo\n +1.1s | S\n +2.1s | S\n +4.1s | S\n abort | -",
		"after text of the peer": "connect 9 | S len=9\n SA ack=10 | A | ESTABLISHED | established fast, acked\n A seq=1 ack=10 len=5 | A | ESTABLISHED | data 0+5\n R seq=9 | A | ESTABLISHED\n FA seq=50 ack=10 | A | ESTABLISHED\n abort | RA",
		"text out of order":      "connect 9 | S len=9\n SA ack=10 | A | ESTABLISHED | established fast, acked\n FA seq=50 ack=10 len=9 | A | ESTABLISHED\n abort | RA",
	} {
		t.Run("TFO-018 not "+name, func(t *testing.T) {
			k := fastClient(t, cfg)
			k.learn()
			k.play(script)
			require.False(t, suspended(k))
			require.Zero(t, k.e.Counters().FastOpen.BlackHoles)
		})
	}
	t.Run("TFO-018 doubles up to 64 times, success ends it", func(t *testing.T) {
		k := fastClient(t, Config{FastOpenBlackHole: base, SYNRetries: -1}) // one timeout is all there is
		k.learn()
		for n := range 9 {
			k.play("connect 9 | S len=9\n +1.1s | - | CLOSED | closed: timed out")
			for k.now < k.e.fast.until-1 {
				k.advance(min(time.Minute, time.Duration(k.e.fast.until-1-k.now)))
			}
			require.True(t, suspended(k))
			k.advance(1)
			require.False(t, suspended(k))
			require.EqualValues(t, n+1, k.e.Counters().FastOpen.BlackHoles)
			if n == 8 {
				break
			}
		}
		before := k.now
		k.play("connect 9 | S len=9\n +1.1s | - | CLOSED | closed: timed out")
		require.Equal(t, 64*base, time.Duration(k.e.fast.until-k.now))
		require.Less(t, before, k.now)
		for k.now < k.e.fast.until {
			k.advance(min(time.Minute, time.Duration(k.e.fast.until-k.now)))
		}
		k.play("connect 9 | S len=9\n SA ack=10 | A | ESTABLISHED | established fast, acked\n abort | RA")
		k.play("connect 9 | S len=9\n +1.1s | - | CLOSED | closed: timed out")
		require.Equal(t, base, time.Duration(k.e.fast.until-k.now))
	})
}

func TestRTX_003_RepeatedSYNIsPlain(t *testing.T) {
	k := fastClient(t, Config{})
	k.learn()
	k.play("connect 100 | S len=100 tfo=a1a2a3a4a5a6a7a8 | SYN-SENT")
	for range 6 {
		k.advance(64 * time.Second)
		out := k.drain()
		require.Len(t, out, 1)
		require.Zero(t, out[0].Opt.Has&wire.HasFastOpen)
		require.Zero(t, out[0].Len)
		require.NotZero(t, out[0].Opt.Has&wire.HasTimestamps)
	}
}

// SYNs with text cross: both fall back to acknowledging the SYN, and the text follows.
func TestSIM_006_FastOpenCrosses(t *testing.T) {
	k := fastClient(t, Config{})
	k.learn()
	k.play(`
		connect 100              | S len=100 | SYN-SENT
		S seq=0 len=50 tfo=a1a2a3a4a5a6a7a8 mss=1000 | SA seq=0 ack=1 !tfo len=0 | SYN-RECEIVED
		S seq=0 len=50           | A seq=1 ack=1 | SYN-RECEIVED                   # SIM-003
		+1.1s                    | SA seq=0 ack=1 len=0 !tfo | SYN-RECEIVED       # SIM-004
		A seq=1 ack=102          | R seq=102 | SYN-RECEIVED                       # SIM-005
		SA seq=0 ack=1 mss=1000  | A seq=1 ack=1 & PA seq=1 ack=1 len=100 | ESTABLISHED | established
		A seq=1 ack=101 len=50   | A seq=101 ack=51 | ESTABLISHED | acked, data 0+50
	`)
	require.Equal(t, FastOpenCounters{Asked: 1, Learned: 1, Sent: 1, Declined: 1}, k.e.Counters().FastOpen)
	require.EqualValues(t, 1, k.e.Counters().SimultaneousOpens)
	t.Run("SIM-006 completed by text", func(t *testing.T) {
		k := fastClient(t, Config{})
		k.learn()
		k.play(`
			connect 100             | S len=100 | SYN-SENT
			S seq=0 len=50 mss=1000 | SA seq=0 ack=1 len=0 | SYN-RECEIVED
			A seq=1 ack=1 len=50    | A seq=1 ack=51 & PA seq=1 ack=51 len=100 | ESTABLISHED | established, data 0+50
		`)
	})
	t.Run("SIM-006 a peer that takes the text", func(t *testing.T) {
		k := fastClient(t, Config{})
		k.learn()
		k.play(`
			connect 100             | S len=100 | SYN-SENT
			S seq=0 mss=1000        | SA seq=0 ack=1 len=0 | SYN-RECEIVED
			A seq=1 ack=101         | - | ESTABLISHED | established, acked
		`)
	})
	t.Run("SIM-006 without a cookie", func(t *testing.T) {
		k := fastClient(t, Config{})
		k.play(`
			connect 100        | S len=0 tfo= | SYN-SENT
			S seq=0 mss=1000   | SA seq=0 ack=1 | SYN-RECEIVED
			R seq=1            | - | CLOSED | closed: refused
			connect 100        | S len=0 tfo= | SYN-SENT
			S seq=0 mss=1000   | SA seq=0 ack=1 | SYN-RECEIVED
			abort              | RA | CLOSED
			connect 0          | S len=0 tfo= | SYN-SENT
			S seq=0 mss=1000   | SA seq=0 ack=1 | SYN-RECEIVED
			SA seq=0 ack=1     | A | ESTABLISHED | established
		`)
	})
}

// know puts a cookie for the peer into the cache.
func (k *kit) know(cookie []byte) {
	p := k.e.fastPeerFor(&k.tup)
	p.mss, p.n = 1460, uint8(copy(p.cookie[:], cookie))
}

// Simultaneous Fast Open: under every loss pattern both connect, and the text of
// each arrives once.
func TestSIM_006_008_FastOpenEveryLossPattern(t *testing.T) {
	for pattern := range 64 {
		for _, order := range []bool{false, true} {
			d := newDuo(t, Config{FastOpenCache: 4})
			d.swap = order
			d.k[0].tup.LocalPort, d.k[1].tup.RemotePort = 5000, 5000 // nobody listens
			d.drop = func(n int) bool { return n <= 6 && pattern>>(n-1)&1 != 0 }
			for i, k := range d.k {
				k.know([]byte("cookies."))
				id, err := k.e.ConnectText(&k.tup, 0, 0, 100*(i+1))
				require.NoError(t, err)
				k.flow = id
			}
			d.run(t, 400*time.Second)
			for i, k := range d.k {
				require.Equal(t, "ESTABLISHED", k.state(), "%06b %v", pattern, d.events)
				c := k.e.Counters()
				require.EqualValues(t, 1, c.Connected)
				require.EqualValues(t, 100*(2-i), c.PayloadBytes, "%06b %v", pattern, d.events)
				require.Equal(t, FastOpenCounters{Sent: 1, Declined: 1}, c.FastOpen)
				require.Contains(t, d.events[i], "acked")
			}
		}
	}
}

// Two of our own engines, with every loss pattern of the first seven segments: request
// and answer arrive once, whatever it took.
func TestTFO_003_016_EveryLossPattern(t *testing.T) {
	for _, known := range []bool{true, false} {
		for pattern := range 127 { // the last one is all SYNs there are
			d, answered := newDuo(t, Config{FastOpenCache: 4}), false
			c, s := d.k[0], d.k[1]
			c.tup.RemotePort, s.tup.LocalPort = 80, 80
			require.NoError(t, s.e.FastOpen(wire.Addr{}, 80, 4))
			if known {
				c.know(s.cookie("good"))
			}
			d.drop = func(n int) bool { return n <= 7 && pattern>>(n-1)&1 != 0 }
			d.react = func(side int) { // a server answers when it has the request, handshake or not
				if side == 1 && s.e.Counters().PayloadBytes == 100 && !answered {
					answered = true
					require.True(t, s.e.Send(s.flow, 50, false))
				}
			}
			id, err := c.e.ConnectText(&c.tup, 0, 0, 100)
			require.NoError(t, err)
			c.flow = id
			d.run(t, 400*time.Second)
			require.EqualValues(t, 50, c.e.Counters().PayloadBytes, "%07b %s", pattern, d.events)
			require.Contains(t, d.events[0], "acked")
			require.Contains(t, d.events[1], "acked")
			require.Equal(t, "ESTABLISHED", c.state(), "%06b", pattern)
			require.Equal(t, "ESTABLISHED", s.state(), "%06b", pattern)
			sc, cc := s.e.Counters(), c.e.Counters()
			require.EqualValues(t, 100, sc.PayloadBytes, "%06b %s", pattern, d.events[1])
			require.EqualValues(t, 1, sc.Accepted)
			require.EqualValues(t, b2i(known), cc.FastOpen.Sent)
			fast := known && pattern&1 == 0
			require.EqualValues(t, b2i(fast), sc.FastOpen.Confirmed, "%06b", pattern)
			if pattern == 0 {
				want := [2]string{"established;acked, data 0+50;", "established, data 0+100;acked;"}
				if known { // the answer is a round trip earlier
					want = [2]string{"established fast, acked, data 0+50;", "established fast, data 0+100;confirmed, acked;"}
				}
				require.Equal(t, want, d.events)
			}
		}
	}
}

func TestMTU_006_SYNWithTextTooBig(t *testing.T) {
	for name, v6 := range map[string]bool{"v4": false, "v6": true} {
		t.Run(name, func(t *testing.T) {
			k := fastClient(t, Config{})
			overhead := "40"
			if v6 {
				k, overhead = k.v6(), "60"
			}
			k.know([]byte("cookies."))
			k.e.fastPeer(&k.tup).mss = 1400
			mtu := map[string]string{"40": "640", "60": "1300"}[overhead]
			left := map[string]string{"40": "560", "60": "1200"}[overhead] // of an MSS of 600 or 1240, less all options
			k.play(`
				connect 1300        | S len=1300 tfo=636f6f6b6965732e | SYN-SENT
				icmp mtu=` + mtu + ` seq=9999 | - | SYN-SENT                    # not ours
				icmp mtu=` + mtu + ` seq=0 | S seq=0 len=0 !tfo | SYN-SENT      # at once
				icmp mtu=` + mtu + ` seq=0 | - | SYN-SENT                       # once
			`)
			seg := map[string]string{"40": "600", "60": "1240"}[overhead]
			k.play("SA seq=0 ack=1 mss=1400 | - & PA seq=1 ack=1 len=" + seg + " | ESTABLISHED | established\n abort | RA")
			k.play("connect 1300 | S len=" + left + " tfo=636f6f6b6965732e | SYN-SENT")
			c := k.e.Counters()
			require.EqualValues(t, 1, c.PathMTUs)
			require.EqualValues(t, 1, c.SynRetrans)
			require.EqualValues(t, 1, c.FastOpen.Declined)
		})
	}
	// A SYN without text is short, whatever text waits behind it.
	k := fastClient(t, Config{})
	k.play(`
		connect 1300              | S len=0 tfo= | SYN-SENT
		icmp mtu=640 seq=0        | - | SYN-SENT
		SA seq=0 ack=1 mss=1400   | - & PA len=600 | ESTABLISHED | established
	`)
}
