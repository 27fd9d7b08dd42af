package handshake

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

const (
	connecting = "connect | S seq=0 | SYN-SENT\n"
	connected  = connecting + "SA seq=0 ack=1 mss=1460 | A seq=1 ack=1 | ESTABLISHED | established\n"
	crossed    = connecting + "S seq=0 mss=1460 | SA seq=0 ack=1 | SYN-RECEIVED\n"
)

func TestACT_001_002_Open(t *testing.T) {
	t.Run("v4", func(t *testing.T) {
		newKit(t, Config{}).play(`
			connect | S seq=0 win=65160 mss=1460 ws=3 sack ts ecr=0 len=0 | SYN-SENT
			SA seq=0 ack=1 mss=1460 ws=7 sack ts=500 | A seq=1 ack=1 win=32768 ts ecr=500 !mss !ws !sack | ESTABLISHED | established
		`)
	})
	t.Run("v6", func(t *testing.T) {
		newKit(t, Config{}).v6().play(`
			connect | S seq=0 win=64260 mss=1440 ws=3 sack ts ecr=0 | SYN-SENT
			SA seq=0 ack=1 mss=1440 | A seq=1 ack=1 win=65535 !opt | ESTABLISHED | established
		`)
	})
}

func TestACT_003_UnacceptableAck(t *testing.T) {
	k := newKit(t, Config{})
	k.play(connecting + `
		A seq=5 ack=0      | R seq=0 & S seq=0 | SYN-SENT     # the SYN again at once, but only once
		SA seq=0 ack=2     | R seq=2 | SYN-SENT
		PA seq=5 ack=-9 len=3 | R seq=-9 | SYN-SENT
		SA seq=0 ack=1     | A seq=1 ack=1 | ESTABLISHED | established
	`)
	require.Zero(t, k.info.RTT)
}

func TestACT_004_008_Refused(t *testing.T) {
	for _, rst := range []string{"RA seq=0 ack=1", "RA seq=12345 ack=1", "SRA seq=0 ack=1"} {
		k := newKit(t, Config{})
		k.play(connecting + rst + " | - | CLOSED | closed: refused")
		require.EqualValues(t, 1, k.e.Counters().Refused)
	}
}

func TestACT_005_IgnoredReset(t *testing.T) {
	newKit(t, Config{}).play(connecting + `
		R seq=0           | - | SYN-SENT
		RA seq=0 ack=0    | - | SYN-SENT
		RA seq=0 ack=2    | - | SYN-SENT
	`)
}

func TestACT_006_NoSyn(t *testing.T) {
	newKit(t, Config{}).play(connecting + `
		A seq=0 ack=1           | - | SYN-SENT
		FA seq=0 ack=1          | - | SYN-SENT
		PA seq=0 ack=1 len=5    | - | SYN-SENT
		F                       | - | SYN-SENT
		.                       | - | SYN-SENT
		P len=5                 | - | SYN-SENT
	`)
}

func TestACT_007_TextOnSynAck(t *testing.T) {
	newKit(t, Config{}).play(connecting + `
		SFA seq=0 ack=1 len=7   | A seq=1 ack=1 | ESTABLISHED | established
	`)
}

func TestACT_009_EchoedTimestamp(t *testing.T) {
	newKit(t, Config{}).play(connecting + `
		+30ms                               |
		SA seq=0 ack=1 ts=9 ecr=first-1     | R seq=1 | SYN-SENT
		SA seq=0 ack=1 ts=9 ecr=first+31    | R seq=1 | SYN-SENT
		SA seq=0 ack=1 ts=9 ecr=first+30    | A seq=1 ack=1 | ESTABLISHED | established
	`)
	newKit(t, Config{}).play(connecting + `
		SA seq=0 ack=1 ts=9 ecr=0           | A seq=1 ack=1 | ESTABLISHED | established
	`)
	newKit(t, Config{}).play(connecting + `
		+30ms                               |
		SA seq=0 ack=1 ts=9 ecr=first       | A seq=1 ack=1 | ESTABLISHED | established
	`)
}

func TestACT_010_OptionsNotOffered(t *testing.T) {
	k := newKit(t, Config{NoTimestamps: true, NoSACK: true, NoWScale: true})
	k.play(`
		connect | S seq=0 mss=1460 !ws !sack !ts win=64240 | SYN-SENT
		SA seq=0 ack=1 mss=1400 ws=7 sack ts=5 win=1000 | A seq=1 ack=1 !opt win=65535 | ESTABLISHED | established
	`)
	require.False(t, k.info.WScale || k.info.SACK || k.info.Timestamps)
	require.EqualValues(t, 1000, k.info.SndWnd)
	require.EqualValues(t, 1400, k.info.MSS)
}

func TestACT_011_ZeroWindow(t *testing.T) {
	k := newKit(t, Config{})
	k.play(connecting + "SA seq=0 ack=1 win=0 | A seq=1 ack=1 | ESTABLISHED | established")
	require.Zero(t, k.e.SendRoom(k.flow))
	k.play("A seq=1 ack=1 win=100 | - | ESTABLISHED")
	require.Equal(t, 100, k.e.SendRoom(k.flow))
}

func TestACT_012_CloseInSynSent(t *testing.T) {
	for _, how := range []string{"close", "abort"} {
		newKit(t, Config{}).play(connecting + how + ` | - | CLOSED
			SA seq=0 ack=1    | R seq=1 | CLOSED
		`)
	}
}

func TestACT_013_ICMP(t *testing.T) {
	newKit(t, Config{}).play(connecting + `
		icmp hard seq=2     | - | SYN-SENT
		icmp hard seq=-1    | - | SYN-SENT
		icmp other seq=0    | - | SYN-SENT
		icmp hard seq=0     | - | CLOSED | closed: unreachable
	`)
	newKit(t, Config{}).play(connecting + `
		icmp soft seq=0     | - | SYN-SENT
		SA seq=0 ack=1      | A seq=1 ack=1 | ESTABLISHED | established
	`)
	// A soft error is the reason when nothing better came.
	k := newKit(t, Config{SYNRetries: -1})
	k.play(connecting + "icmp soft seq=0 | - | SYN-SENT\n+1001ms | - | CLOSED | closed: unreachable")
	require.EqualValues(t, 1, k.e.Counters().Unreachable)
	require.EqualValues(t, 1, k.e.Counters().SoftErrors)
}

func TestACT_015_ImpossibleAddresses(t *testing.T) {
	k := newKit(t, Config{})
	for _, c := range []struct {
		name string
		set  func(*wire.Tuple)
	}{
		{"unspecified", func(t *wire.Tuple) { t.Remote = wire.Addr4(0) }},
		{"unspecified v6", func(t *wire.Tuple) { t.Remote, t.Local = wire.Addr{}, our6 }},
		{"multicast", func(t *wire.Tuple) { t.Remote = wire.Addr4(0xe0000001) }},
		{"multicast top", func(t *wire.Tuple) { t.Remote = wire.Addr4(0xefffffff) }},
		{"broadcast", func(t *wire.Tuple) { t.Remote = wire.Addr4(0xffffffff) }},
		{"multicast v6", func(t *wire.Tuple) { t.Remote, t.Local = wire.Addr{Hi: 0xff02 << 48, Lo: 1}, our6 }},
		{"self", func(t *wire.Tuple) { t.Remote, t.RemotePort = t.Local, t.LocalPort }},
		{"mixed families", func(t *wire.Tuple) { t.Local = our6 }},
		{"port 0", func(t *wire.Tuple) { t.RemotePort = 0 }},
		{"own port 0", func(t *wire.Tuple) { t.LocalPort = 0 }},
	} {
		tup := k.tup
		c.set(&tup)
		_, err := k.e.Connect(&tup, 0, 0)
		require.ErrorIs(t, err, ErrUnreachable, c.name)
	}
	require.Zero(t, k.e.Counters().Attempted)
	k.play(connecting)
	_, err := k.e.Connect(&k.tup, 0, 0)
	require.ErrorIs(t, err, ErrTupleInUse)
}

func TestConnectLimits(t *testing.T) {
	k := newKit(t, Config{MaxFlows: 2})
	for i := range 2 {
		k.tup.LocalPort = uint16(1000 + i)
		k.play(connecting)
	}
	k.tup.LocalPort = 2000
	_, err := k.e.Connect(&k.tup, 0, 0)
	require.ErrorIs(t, err, ErrTableFull)

	k = newKit(t, Config{MaxFlows: 2 * maxOutput})
	for i := range maxOutput {
		k.tup.LocalPort = uint16(1000 + i)
		_, err = k.e.Connect(&k.tup, 0, 0)
		require.NoError(t, err)
	}
	require.Zero(t, k.e.OutputRoom())
	k.tup.LocalPort = 10000
	_, err = k.e.Connect(&k.tup, 0, 0)
	require.ErrorIs(t, err, ErrOutputFull)
	// Timers wait for room as well, and none is lost.
	require.Zero(t, k.e.Advance(k.now+2e9, 1<<20))
	k.e.Sent(1000)
	require.Equal(t, 1000, k.e.Advance(k.now+2e9, 1<<20))
	k.e.Sent(maxOutput)
	require.Equal(t, 24, k.e.Advance(k.now+2e9, 1<<20))
}

// A batch opens what single calls open, and says where it stopped.
func TestConnectMany(t *testing.T) {
	tuples := make([]wire.Tuple, MaxBurst)
	for i := range tuples {
		tuples[i] = wire.Tuple{Remote: peer4, Local: our4, RemotePort: 80, LocalPort: uint16(1000 + i)}
	}
	one, many := newKit(t, Config{}), newKit(t, Config{})
	taken := &tuples[5]
	for _, k := range []*kit{one, many} {
		_, err := k.e.Connect(taken, 1, 0)
		require.NoError(t, err)
	}
	for i := range tuples {
		_, err := one.e.Connect(&tuples[i], 2, 3)
		require.Equal(t, i == 5, err != nil)
	}
	ids := make([]FlowID, MaxBurst)
	n, err := many.e.ConnectMany(tuples, 2, 3, ids)
	require.NoError(t, err)
	require.Equal(t, MaxBurst, n)
	for i, id := range ids {
		require.Equal(t, i != 5, id.Valid())
		if i != 5 {
			require.Equal(t, tuples[i], many.e.Tuple(id))
			require.Equal(t, SynSent, many.e.State(id))
		}
	}
	require.Equal(t, one.e.Output(), many.e.Output())
	require.Equal(t, one.e.Counters(), many.e.Counters())

	tuples[7].Remote = wire.Addr4(0xe0000001)
	k := newKit(t, Config{})
	n, err = k.e.ConnectMany(tuples, 0, 0, ids)
	require.ErrorIs(t, err, ErrUnreachable)
	require.Equal(t, 7, n)
	require.EqualValues(t, 7, k.e.Counters().Attempted)

	k = newKit(t, Config{MaxFlows: 3})
	n, err = k.e.ConnectMany(tuples[:7], 0, 0, ids)
	require.ErrorIs(t, err, ErrTableFull)
	require.Equal(t, 3, n)

	k = newKit(t, Config{MaxFlows: 2 * maxOutput})
	for range maxOutput/MaxBurst - 1 {
		for i := range tuples {
			tuples[i].Remote, tuples[i].RemotePort = peer4, tuples[i].RemotePort+1
		}
		n, err = k.e.ConnectMany(tuples, 0, 0, ids)
		require.NoError(t, err)
		require.Equal(t, MaxBurst, n)
	}
	_, err = k.e.Connect(&k.tup, 0, 0)
	require.NoError(t, err)
	for i := range tuples {
		tuples[i].RemotePort++
	}
	n, err = k.e.ConnectMany(tuples, 0, 0, ids)
	require.ErrorIs(t, err, ErrOutputFull)
	require.Equal(t, MaxBurst-1, n)
	require.Zero(t, k.e.OutputRoom())
	require.Zero(t, testing.AllocsPerRun(10, func() { _, _ = k.e.ConnectMany(tuples, 0, 0, ids) }))
}

func TestSIM_001_SimultaneousOpen(t *testing.T) {
	eachFamily(t, Config{}, func(_ *testing.T, k *kit) {
		k.play(connecting + `
			S seq=0       | SA seq=0 ack=1 ws=3 sack ts= ecr=0 | SYN-RECEIVED
			A seq=1 ack=1 | - | ESTABLISHED | established
		`)
	})
	k := newKit(t, Config{})
	k.play(connecting + `
		S seq=0 ts=77       | SA seq=0 ack=1 mss=1460 ws=3 sack ts ecr=77 | SYN-RECEIVED
		A seq=1 ack=1 ts=78 | - | ESTABLISHED | established
	`)
	require.True(t, k.info.Active && k.info.Timestamps)
	require.False(t, k.info.SACK || k.info.WScale, "an option counts only if both SYNs had it")
	require.EqualValues(t, 1, k.e.Counters().SimultaneousOpens)
	require.EqualValues(t, 1, k.e.Counters().Connected)
	require.Zero(t, k.e.Counters().Accepted)
}

func TestSIM_002_Completion(t *testing.T) {
	newKit(t, Config{}).play(crossed + `
		SA seq=0 ack=1 mss=1460 | A seq=1 ack=1 | ESTABLISHED | established
	`)
	newKit(t, Config{}).play(crossed + `
		A seq=1 ack=1           | - | ESTABLISHED | established
	`)
	newKit(t, Config{}).play(crossed + `
		FPA seq=1 ack=1 len=3   | A seq=1 ack=5 | CLOSE-WAIT | established, data 0+3, peer closed
	`)
}

func TestSIM_003_SynAgain(t *testing.T) {
	newKit(t, Config{}).play(crossed + `
		S seq=0    | A seq=1 ack=1 | SYN-RECEIVED
		S seq=0    | - | SYN-RECEIVED
	`)
}

func TestSIM_004_Retransmission(t *testing.T) {
	newKit(t, Config{SYNRetries: 2}).play(crossed + `
		+999ms   |
		+2ms     | SA seq=0 ack=1 mss=1460 ws=3 sack ts ecr=0 | SYN-RECEIVED
		+2001ms  | SA seq=0 ack=1 | SYN-RECEIVED
		+4001ms  | - | CLOSED | closed: timed out
	`)
}

func TestSIM_005_Refused(t *testing.T) {
	k := newKit(t, Config{})
	k.play(crossed + `
		A seq=1 ack=2   | R seq=2 | SYN-RECEIVED
		SA seq=0 ack=0  | R seq=0 | SYN-RECEIVED
		R seq=2         | A seq=1 ack=1 | SYN-RECEIVED
		R seq=0         | - | SYN-RECEIVED
		R seq=1         | - | CLOSED | closed: refused
	`)
	require.EqualValues(t, 1, k.e.Counters().Refused)
	require.Zero(t, k.e.Counters().HalfOpenReset)
}

func TestSIM_006_TextOnCrossingSyn(t *testing.T) {
	for _, in := range []string{"S seq=0 len=9", "SF seq=0", "SFPU seq=0 len=9"} {
		k := newKit(t, Config{})
		k.play(connecting + in + ` | SA seq=0 ack=1 len=0 | SYN-RECEIVED
			FPA seq=1 ack=1 len=9 | A seq=1 ack=11 | CLOSE-WAIT | established, data 0+9, peer closed
		`)
		require.EqualValues(t, 9, k.e.Counters().PayloadBytes)
	}
}

// What the SYN promised, the SYN-ACK of a crossing does not take back.
func TestSIM_001_WND_005_SameWindow(t *testing.T) {
	for _, in := range []string{"S seq=0 mss=1460", "S seq=0 mss=1460 ts=7"} {
		k := newKit(t, Config{})
		k.play("connect | S seq=0 win=65160 | SYN-SENT\n" + in + ` | SA seq=0 ack=1 win=65160 ws=3 | SYN-RECEIVED
			+1001ms         | SA seq=0 ack=1 win=65160 | SYN-RECEIVED
			R seq=65161     | - | SYN-RECEIVED
			R seq=65160     | A seq=1 ack=1 | SYN-RECEIVED
		`)
	}
	k := newKit(t, Config{NoTimestamps: true})
	k.play("connect | S seq=0 win=64240 !ts | SYN-SENT\nS seq=0 mss=1460 ts=7 | SA seq=0 ack=1 win=64240 !ts | SYN-RECEIVED")
}

func TestSIM_002_Timestamps(t *testing.T) {
	const crossedTS = connecting + "S seq=0 mss=1460 ts=1000 | SA seq=0 ack=1 ts ecr=1000 | SYN-RECEIVED\n"
	newKit(t, Config{}).play(crossedTS + `
		SA seq=0 ack=1 ts=1005   | A seq=1 ack=1 ts ecr=1005 | ESTABLISHED | established
	`)
	newKit(t, Config{}).play(crossedTS + `
		SA seq=0 ack=1 ts=999    | A seq=1 ack=1 ecr=1000 | SYN-RECEIVED     # TSP-007
		SA seq=0 ack=1 ts=1000   | A seq=1 ack=1 ecr=1000 | ESTABLISHED | established
	`)
	// The window of a SYN-ACK is not scaled, that of an ACK is (WND-001).
	for _, c := range []struct {
		in   string
		want uint32
	}{{"SA seq=0 ack=1 win=1000 ts=1", 1000 >> 7 << 7}, {"A seq=1 ack=1 win=1000 ts=1", 1000 << 7}} {
		k := newKit(t, Config{})
		k.play(connecting + "S seq=0 ws=7 ts=1 win=500 | SA | SYN-RECEIVED")
		k.inject([]wire.Segment{k.parse("", c.in)})
		require.Equal(t, "established", k.takeEvents())
		require.Equal(t, c.want, k.e.recs[1].sndWnd(), c.in)
	}
}

// Text on the SYN-ACK that completes a crossing is not acknowledged either.
func TestSIM_002_TextOnSynAck(t *testing.T) {
	newKit(t, Config{}).play(crossed + `
		SFA seq=0 ack=1 len=5  | A seq=1 ack=1 | ESTABLISHED | established
		PA seq=1 ack=1 len=5   | A seq=1 ack=6 | ESTABLISHED | data 0+5
	`)
	// A SYN-ACK elsewhere is none of this handshake (SYN-002).
	newKit(t, Config{}).play(crossed + `
		SA seq=1 ack=1   | A seq=1 ack=1 | SYN-RECEIVED
		SA seq=9 ack=1   | - | SYN-RECEIVED
	`)
}

func TestSIM_005_CloseWhileCrossing(t *testing.T) {
	for _, how := range []string{"close", "abort"} {
		k := newKit(t, Config{})
		k.play(crossed + how + " | RA seq=1 ack=1 win=0 | CLOSED\nA seq=1 ack=1 | R seq=1 | CLOSED")
		require.EqualValues(t, 1, k.e.Counters().AttemptAborted)
	}
}

func TestACT_016_GiveUpTime(t *testing.T) {
	for _, c := range []struct {
		cfg   Config
		sends []int // s
		end   int
	}{
		{Config{}, []int{1, 3, 7, 15, 31, 63}, 127},                         // as Linux
		{Config{SYNRetries: 7}, []int{1, 3, 7, 15, 31, 63, 127}, 247},       // MUST-23: more than 3 minutes
		{Config{SYNRetries: -1}, nil, 1},                                    // one SYN
		{Config{SYNRetries: 3, MaxRTO: 2 * time.Second}, []int{1, 3, 5}, 7}, // capped
		{Config{SYNRetries: 2, InitialRTO: 3 * time.Second}, []int{3, 9}, 21},
	} {
		k := newKit(t, c.cfg)
		k.play(connecting)
		start := k.now
		var sends []int
		for {
			left, armed := k.e.NextTimer()
			if !armed {
				break
			}
			k.advance(time.Duration(left) * time.Millisecond)
			at := time.Duration(k.now - start)
			require.Less(t, at%time.Second, 10*time.Millisecond, "a timer may be a millisecond late, but never early")
			out := k.drain()
			if len(out) == 0 {
				require.Equal(t, c.end, int(at/time.Second))
				break
			}
			require.Len(t, out, 1)
			require.Equal(t, wire.FlagSYN, out[0].Flags)
			require.Equal(t, k.iss, out[0].Seq)
			sends = append(sends, int(at/time.Second))
		}
		require.Equal(t, c.sends, sends)
		require.Equal(t, "CLOSED", k.state())
		require.Equal(t, "closed: timed out", k.takeEvents())
		require.EqualValues(t, len(c.sends), k.e.Counters().SynRetrans)
		require.EqualValues(t, 1, k.e.Counters().TimedOut)
	}
}

func TestACT_003to006_Counted(t *testing.T) {
	for _, c := range []struct {
		name, in, out string
		outcome       Outcome
	}{
		{"ACT-003 SA below", "SA seq=0 ack=0", "R seq=0 len=0 !opt & S seq=0 | SYN-SENT", AnsweredReset},
		{"ACT-003 SA above", "SA seq=0 ack=2 ts=4", "R seq=2 !opt & S seq=0 | SYN-SENT", AnsweredReset},
		{"ACT-003 A, half the space away", "A seq=0 ack=2147483648", "R seq=-2147483648 & S | SYN-SENT", AnsweredReset},
		{"ACT-003 FA", "FA seq=0 ack=-1", "R seq=-1 & S | SYN-SENT", AnsweredReset},
		{"ACT-004 RA", "RA seq=4000000 ack=1", "- | CLOSED | closed: refused", Consumed},
		{"ACT-005 R", "R seq=0", "- | SYN-SENT", DropRST},
		{"ACT-005 R at 1", "R seq=1", "- | SYN-SENT", DropRST},
		{"ACT-005 RA below", "RA seq=0 ack=0", "- | SYN-SENT", DropRST},
		{"ACT-005 RA above", "RA seq=0 ack=2", "- | SYN-SENT", DropRST},
		{"ACT-005 SR", "SR seq=0", "- | SYN-SENT", DropRST},
		{"ACT-006 A", "A seq=0 ack=1", "- | SYN-SENT", DropBadFlags},
		{"ACT-006 FA", "FA seq=0 ack=1", "- | SYN-SENT", DropBadFlags},
		{"ACT-006 PA", "PA seq=0 ack=1 len=4", "- | SYN-SENT", DropBadFlags},
		{"ACT-006 F", "F seq=0", "- | SYN-SENT", DropBadFlags},
		{"ACT-006 null", ".", "- | SYN-SENT", DropBadFlags},
		{"ACT-006 text", "P len=4", "- | SYN-SENT", DropBadFlags},
		{"ACT-008 SRA", "SRA seq=0 ack=1", "- | CLOSED | closed: refused", Consumed},
		{"ACT-008 everything", "SFRPAUEC seq=0 ack=1", "- | CLOSED | closed: refused", Consumed},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachFamily(t, Config{}, func(t *testing.T, k *kit) {
				k.play(connecting + c.in + " | " + c.out)
				ctr := k.e.Counters()
				require.EqualValues(t, 1, ctr.Outcome[c.outcome])
				require.EqualValues(t, b2i(k.state() == "SYN-SENT"), ctr.Opening)
			})
		})
	}
}

func TestSIM_007_Origin(t *testing.T) {
	k := newKit(t, Config{})
	k.play(crossed)
	require.Zero(t, k.e.Counters().HalfOpen)
	require.EqualValues(t, 1, k.e.Counters().Opening)
	k.play("abort | RA seq=1 ack=1 | CLOSED") // §3.10.5
	require.EqualValues(t, 1, k.e.Counters().AttemptAborted)
	require.Zero(t, k.e.Counters().Opening)

	k = newKit(t, Config{})
	k.play(crossed + `
		icmp soft seq=0 | - | SYN-RECEIVED
		icmp hard seq=0 | - | SYN-RECEIVED
	`)
}

func TestSYN_001_ByState(t *testing.T) {
	newKit(t, Config{}).play("S lport=9 | RA rawseq=0 ack=1 | CLOSED")
	newKit(t, Config{}).play("S | SA seq=0 ack=1 | SYN-RECEIVED")
	newKit(t, Config{}).play(connecting + "S | SA seq=0 ack=1 | SYN-RECEIVED")
	newKit(t, Config{}).play(halfOpen + "S mss=1460 | SA seq=0 ack=1 | SYN-RECEIVED")
	newKit(t, Config{}).play(crossed + "S | A seq=1 ack=1 | SYN-RECEIVED")
}
