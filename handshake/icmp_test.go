package handshake

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// Which type and code does what, for each role and with each setting.
func TestLSN_021_ACT_013_Codes(t *testing.T) {
	type want struct{ halfOpen, attempt, fast string }
	const (
		gone, stays = "CLOSED", "SYN-RECEIVED"
		waits       = "SYN-SENT"
	)
	soft := want{gone, waits, "CLOSED"}
	hard := want{stays, "CLOSED", "CLOSED"}
	refused := want{stays, waits, "CLOSED"}
	nothing := want{stays, waits, waits}
	for _, c := range []struct {
		v6        bool
		typ, code uint8
		want      want
	}{
		{false, 3, 0, soft},
		{false, 3, 1, soft},
		{false, 3, 2, hard},
		{false, 3, 3, hard},
		{false, 3, 4, nothing}, // fragmentation needed
		{false, 3, 5, refused},
		{false, 3, 6, refused},
		{false, 3, 9, refused},
		{false, 3, 10, refused},
		{false, 3, 13, refused},
		{false, 3, 15, refused},
		{false, 4, 0, nothing}, // source quench: ACT-014
		{false, 11, 0, soft},
		{false, 11, 1, soft},
		{false, 12, 0, soft},
		{false, 5, 0, nothing},
		{true, 1, 0, soft},
		{true, 1, 1, refused},
		{true, 1, 2, refused},
		{true, 1, 3, soft},
		{true, 1, 4, hard},
		{true, 1, 5, refused},
		{true, 1, 6, refused},
		{true, 2, 0, nothing}, // packet too big
		{true, 3, 0, soft},
		{true, 4, 0, soft},
	} {
		t.Run(fmt.Sprintf("v6=%v type %d code %d", c.v6, c.typ, c.code), func(t *testing.T) {
			send := func(cfg Config, script string) *kit {
				k := newKit(t, cfg)
				if c.v6 {
					k.v6()
				}
				k.play(script)
				q := wire.Quote{Tuple: k.tup, Seq: k.iss, Type: c.typ, Code: c.code, MTU: 1400}
				k.e.ICMPError(&q)
				k.drain()
				return k
			}
			require.Equal(t, c.want.halfOpen, send(Config{}, halfOpen).state())
			for _, fast := range []bool{false, true} {
				k, want := send(Config{FailFast: fast}, connecting), c.want.attempt
				if fast {
					want = c.want.fast
				}
				require.Equal(t, want, k.state(), "fail fast %v", fast)
				if want == "CLOSED" {
					require.Equal(t, "closed: unreachable", k.takeEvents())
					require.EqualValues(t, 1, k.e.Counters().Unreachable)
				} else {
					require.Empty(t, k.takeEvents())
				}
			}
			k := send(Config{FailFast: true}, opened)
			require.Equal(t, "ESTABLISHED", k.state(), "MTU-008")
			require.Empty(t, k.takeEvents())
		})
	}
}

// A half-open listens to an error about its very SYN-ACK only, and not at all by cookie.
func TestLSN_021_OnlyItsISS(t *testing.T) {
	for _, seq := range []int{-1, 1, 2, 1 << 30} {
		k := newKit(t, Config{})
		k.play(halfOpen + fmt.Sprintf("icmp soft seq=%d | - | SYN-RECEIVED", seq))
		require.Zero(t, k.e.Counters().HalfOpenReset)
	}
	newKit(t, Config{Cookies: CookiesAlways}).play(cookieOut + `
		icmp soft seq=0 | - | CLOSED
		A seq=1 ack=1   | - | ESTABLISHED | established
	`)
}

func TestACT_013_FailFast(t *testing.T) {
	cfg := Config{FailFast: true}
	newKit(t, cfg).play(connecting + `
		icmp soft seq=2     | - | SYN-SENT                # not under way
		icmp soft seq=-1    | - | SYN-SENT
		icmp other seq=0    | - | SYN-SENT
		icmp soft seq=1     | - | CLOSED | closed: unreachable
	`)
	newKit(t, cfg).play(connecting + "icmp refused seq=0 | - | CLOSED | closed: unreachable")
	newKit(t, cfg).play(crossed + "icmp refused seq=0 | - | CLOSED | closed: unreachable")
	newKit(t, cfg).play(connected + "icmp soft seq=1 | - | ESTABLISHED") // MTU-008
	// Without it the error is remembered, and forgotten when the peer answers.
	k := newKit(t, Config{SYNRetries: 1})
	k.play(connecting + `
		icmp refused seq=0  | - | SYN-SENT
		+1001ms             | S
		+2001ms             | - | CLOSED | closed: unreachable
	`)
	require.EqualValues(t, 1, k.e.Counters().SoftErrors)
	k = newKit(t, Config{DataRetries: -1})
	k.play(connecting + `
		icmp soft seq=0         | - | SYN-SENT
		SA seq=0 ack=1          | A | ESTABLISHED | established
		send 5                  | PA
		+1001ms                 | - | CLOSED | closed: timed out
	`)
}

func TestACT_014_SourceQuench(t *testing.T) {
	k := newKit(t, Config{FailFast: true})
	k.play(connecting)
	q := wire.Quote{Tuple: k.tup, Seq: k.iss, Type: wire.ICMPSourceQuench}
	require.False(t, k.e.ICMPError(&q))
	k.play("+1001ms | S | SYN-SENT")
	require.Zero(t, k.e.Counters().SoftErrors)
}

const openedSend = "S mss=1460 | SA seq=0 ack=1 | SYN-RECEIVED\nA seq=1 ack=1 | - | ESTABLISHED | established\nsend 1460 | PA seq=1 len=1460\n"

func TestMTU_004_TooBig(t *testing.T) {
	k := newKit(t, Config{})
	k.play(openedSend + `
		icmp mtu=1400 seq=1461    | PA seq=1 ack=1 len=1360 | ESTABLISHED    # sent again at once, shorter
		A seq=1 ack=1361          | - & PA seq=1361 len=100                  # and the rest
		A seq=1 ack=1461          | - | - | acked
	`)
	require.Equal(t, 1360, k.e.SendRoom(k.flow))
	require.EqualValues(t, 1, k.e.Counters().PathMTUs)
	// Only what is under way counts, and only for a flow that there is.
	for _, seq := range []int{0, -1, 1462, 1 << 30} {
		k := newKit(t, Config{})
		k.play(openedSend + fmt.Sprintf("icmp mtu=1400 seq=%d | -", seq))
		require.EqualValues(t, 1460, k.e.recs[1].mss)
	}
	k = newKit(t, Config{})
	k.play("icmp mtu=1400 seq=0 | - | CLOSED")
	// Never raised, not even back.
	k = newKit(t, Config{})
	k.play(opened + `
		icmp mtu=1400 seq=1       | -
		icmp mtu=1400 seq=1       | -
		icmp mtu=1500 seq=1       | -
		icmp mtu=65535 seq=1      | -
		send 1360                 | PA seq=1 len=1360
		icmp mtu=1480 seq=1       | -
	`)
	require.EqualValues(t, 1360, k.e.recs[1].mss)
	require.EqualValues(t, 1, k.e.Counters().PathMTUs)
	// What fits is not sent again, and a FIN goes behind the last piece.
	k = newKit(t, Config{})
	k.play(opened + "send 100 fin | FPA seq=1 len=100\nicmp mtu=1400 seq=1 | -")
	k = newKit(t, Config{})
	k.play(openedTS + `
		send 1448 fin                | FPA seq=1 len=1448
		icmp mtu=600 seq=1           | PA seq=1 len=548
		+1001ms                      | PA seq=1 len=548                     # lost as well
		A seq=1 ack=549 ts=1001      | - & PA seq=549 len=548 | FIN-WAIT-1
		A seq=1 ack=1097 ts=1001     | - & FPA seq=1097 len=352 | FIN-WAIT-1
		A seq=1 ack=1450 ts=1001     | - | FIN-WAIT-2 | acked
	`)
	k = newKit(t, Config{}).v6()
	k.play(`
		S mss=1440                   | SA
		A seq=1 ack=1                | - | ESTABLISHED | established
		send 1440                    | PA len=1440
		icmp mtu=1280 seq=1          | PA seq=1 len=1220
	`)
}

func TestMTU_005_Floors(t *testing.T) {
	for _, c := range []struct {
		v6   bool
		mtu  uint32
		want uint16
	}{
		{false, 551, 512},
		{false, 552, 512},
		{false, 553, 513},
		{false, 300, 512},
		{false, 68, 512},
		{false, 0, 512}, // a router older than RFC 1191
		{true, 1279, 1440},
		{true, 0, 1440},
		{true, 1280, 1220},
		{true, 1281, 1221},
	} {
		k := newKit(t, Config{})
		if c.v6 {
			k.v6()
		}
		k.play(fmt.Sprintf("S mss=1460 | SA\nA seq=1 ack=1 | - | ESTABLISHED | established\nicmp mtu=%d seq=1 | -", c.mtu))
		require.Equal(t, c.want, k.e.recs[1].mss, "%+v", c)
	}
}

func TestMTU_006_007_InSynSent(t *testing.T) {
	k := newKit(t, Config{})
	k.play(connecting + `
		icmp mtu=1300 seq=0      | - | SYN-SENT           # noted; the SYN is short enough
		icmp mtu=1350 seq=0      | - | SYN-SENT           # never raised
		+1001ms                  | S seq=0 mss=1460       # announced as the link has it: MTU-007
		SA seq=0 ack=1 mss=1460  | A | ESTABLISHED | established
	`)
	require.EqualValues(t, 1260, k.info.MSS)
	// The smaller of both wins.
	k = newKit(t, Config{})
	k.play(connecting + "icmp mtu=1300 seq=0 | -\nSA seq=0 ack=1 mss=1000 | A | ESTABLISHED | established")
	require.EqualValues(t, 1000, k.info.MSS)
	k = newKit(t, Config{})
	k.play(connecting + "icmp mtu=1300 seq=0 | -\nSA seq=0 ack=1 | A | ESTABLISHED | established")
	require.EqualValues(t, 536, k.info.MSS)
	// Crossing SYNs, before and after.
	k = newKit(t, Config{}).v6()
	k.play(connecting + `
		icmp mtu=1400 seq=0      | - | SYN-SENT
		S seq=0 mss=1440         | SA mss=1440 | SYN-RECEIVED
		icmp mtu=1380 seq=0      | - | SYN-RECEIVED
		A seq=1 ack=1            | - | ESTABLISHED | established
	`)
	require.EqualValues(t, 1320, k.info.MSS)
	// Out of window, and a link of ours that is narrower still.
	k = newKit(t, Config{MTU: 1280})
	k.play(connecting + "icmp mtu=1300 seq=0 | -\nicmp mtu=1000 seq=5 | -\nSA seq=0 ack=1 mss=1460 | A | ESTABLISHED | established")
	require.EqualValues(t, 1240, k.info.MSS)
	require.Zero(t, k.e.Counters().PathMTUs)
	// A half-open does not listen: its SYN-ACK is short.
	k = newKit(t, Config{})
	k.play(halfOpen + "icmp mtu=600 seq=0 | - | SYN-RECEIVED\nA seq=1 ack=1 | - | ESTABLISHED | established")
	require.EqualValues(t, 1460, k.info.MSS)
}

func TestMTU_008_ReasonOfTheTimeout(t *testing.T) {
	for _, kind := range []string{"soft", "hard", "refused"} {
		k := newKit(t, Config{DataRetries: 1})
		k.play(opened + `
			send 5                  | PA
			icmp ` + kind + ` seq=1 | - | ESTABLISHED
			+1001ms                 | PA
			+2001ms                 | - | CLOSED | closed: unreachable
		`)
		c := k.e.Counters()
		require.EqualValues(t, 1, c.Broken)
		require.EqualValues(t, 1, c.SoftErrors)
	}
	// An error from before the peer's last ACK counts no longer, nor does one out of window.
	newKit(t, Config{DataRetries: -1}).play(opened + `
		send 5                  | PA
		icmp soft seq=1         | - | ESTABLISHED
		A seq=1 ack=6           | - | - | acked
		send 5                  | PA
		icmp soft seq=5         | - | ESTABLISHED
		icmp soft seq=12        | - | ESTABLISHED
		+1001ms                 | - | CLOSED | closed: timed out
	`)
	// Nothing is under way any more, or nobody would hear of it.
	for _, script := range []string{toFinWait2, toTimeWait} {
		k := newKit(t, Config{})
		k.play(opened + script)
		require.False(t, k.e.ICMP(k.tup, k.iss+2, ICMPSoft))
		require.False(t, k.e.PathMTU(&k.tup, k.iss+2, 1000))
	}
}

func TestMTU_009_ForeignTuple(t *testing.T) {
	for _, edit := range []func(*wire.Tuple){
		func(t *wire.Tuple) { t.RemotePort++ },
		func(t *wire.Tuple) { t.LocalPort++ },
		func(t *wire.Tuple) { t.Remote.Lo++ },
		func(t *wire.Tuple) { t.Remote, t.Local = t.Local, t.Remote },
	} {
		k := newKit(t, Config{FailFast: true})
		k.play(connecting)
		q := wire.Quote{Tuple: k.tup, Seq: k.iss, Type: wire.ICMPUnreachable, Code: 3}
		edit(&q.Tuple)
		require.False(t, k.e.ICMPError(&q))
		q.Code = wire.ICMPFragNeeded
		require.False(t, k.e.ICMPError(&q))
		require.Equal(t, "SYN-SENT", k.state())
		require.Empty(t, k.drain())
	}
}
