package handshake

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// copies lets the timers run until the record is gone and returns when copies of
// the segment that was sent last went out, the first at 0, and when the record went.
func (k *kit) copies() (at []time.Duration) {
	k.tb.Helper()
	first, begin := k.show(&k.last[0]), k.now
	at = append(at, 0)
	for k.state() != "CLOSED" {
		left, armed := k.e.NextTimer()
		require.True(k.tb, armed)
		// One nanosecond before it is due nothing happens.
		k.advance(time.Duration(left)*time.Millisecond - 1)
		require.Empty(k.tb, k.drain())
		k.advance(1)
		for _, s := range k.drain() {
			require.Equal(k.tb, first, k.show(&s), "the same ISS and options")
			at = append(at, time.Duration(k.now-begin))
		}
	}
	return append(at, time.Duration(k.now-begin))
}

// requireAt compares times in seconds; each timer adds up to a tick of a millisecond.
func requireAt(t *testing.T, want []float64, got []time.Duration) {
	t.Helper()
	require.Len(t, got, len(want), "%v", got)
	for i, w := range want {
		at := time.Duration(w*1000) * time.Millisecond
		require.GreaterOrEqual(t, got[i], at, "%v", got)
		require.LessOrEqual(t, got[i], at+time.Duration(i)*time.Millisecond, "%v", got)
	}
}

// What each preset promises: times of the copies, then the end, in seconds.
var presetTimes = [numRetryPresets]struct{ syn, synAck []float64 }{
	RetryLinux:       {[]float64{0, 1, 3, 7, 15, 31, 63, 127}, []float64{0, 1, 3, 7, 15, 31, 63}},
	RetryLinuxLinear: {[]float64{0, 1, 2, 3, 4, 5, 7, 11, 19, 35, 67, 131}, []float64{0, 1, 3, 7, 15, 31, 63}},
	RetryBSD:         {[]float64{0, 1, 3.2, 7.4, 15.6, 31.8, 64, 75}, []float64{0, 1, 3.2, 7.4, 15.6}},
	RetryTextbook:    {[]float64{0, 5, 15, 35, 75}, []float64{0, 5, 15, 35, 75}},
}

// The schedules of all presets, both roles, both families, by the virtual clock.
func TestRTX_001_002_Presets(t *testing.T) {
	for p, want := range presetTimes {
		retry, err := ParseRetry(RetryPreset(p).String())
		require.NoError(t, err)
		t.Run("RTX-001 SYN-ACK "+RetryPreset(p).String(), func(t *testing.T) {
			eachFamily(t, Config{Retry: retry}, func(t *testing.T, k *kit) {
				k.play("SEC mss=1440 ws=1 sack | SAE seq=0 ack=1 ws=3 sack")
				requireAt(t, want.synAck, k.copies())
				c := k.e.Counters()
				require.EqualValues(t, 1, c.HalfOpenTimedOut)
				require.EqualValues(t, len(want.synAck)-2, c.SynAckRetrans)
				require.Empty(t, k.takeEvents(), "a half-open ends untold")
			})
		})
		t.Run("RTX-002 SYN "+RetryPreset(p).String(), func(t *testing.T) {
			eachFamily(t, Config{Retry: retry}, func(t *testing.T, k *kit) {
				k.play(connecting)
				requireAt(t, want.syn, k.copies())
				c := k.e.Counters()
				require.EqualValues(t, 1, c.TimedOut)
				require.EqualValues(t, len(want.syn)-2, c.SynRetrans)
				require.Equal(t, "closed: timed out", k.takeEvents())
			})
		})
		t.Run("SIM-004 crossed "+RetryPreset(p).String(), func(t *testing.T) {
			k := newKit(t, Config{Retry: retry})
			k.play(crossed)
			requireAt(t, want.syn, k.copies())
			require.Equal(t, "closed: timed out", k.takeEvents())
		})
	}
	// A configuration that says nothing is Linux.
	cfg, err := Config{}.withDefaults()
	require.NoError(t, err)
	require.Equal(t, RetryLinux.Retry(), cfg.Retry)
}

// A repeated SYN starts the wait anew at the step of the schedule that was reached.
func TestLSN_006_RepeatRestartsTheWait(t *testing.T) {
	newKit(t, Config{Retry: RetryTextbook.Retry()}).play(`
		S mss=1460   | SA seq=0 ack=1 | SYN-RECEIVED
		+5001ms      | SA seq=0 ack=1 | SYN-RECEIVED
		+9s          | - | SYN-RECEIVED
		S mss=1460   | SA seq=0 ack=1 | SYN-RECEIVED
		+10s         | - | SYN-RECEIVED
		+1ms         | SA seq=0 ack=1 | SYN-RECEIVED
	`)
}

// The time to give up is the user's to choose, up to the three minutes of RFC 9293 and beyond.
func TestACT_016_Schedules(t *testing.T) {
	for _, c := range []struct {
		cfg  Config
		want []float64
	}{
		{Config{SYNRetries: 1}, []float64{0, 1, 3}},
		{Config{SYNRetries: -1}, []float64{0, 1}},
		{Config{SYNRetries: 7, MaxRTO: 64 * time.Second}, []float64{0, 1, 3, 7, 15, 31, 63, 127, 191}},
		{Config{InitialRTO: 200 * time.Millisecond, MaxRTO: time.Second, SYNRetries: 4}, []float64{0, 0.2, 0.6, 1.4, 2.4, 3.4}},
		{Config{Retry: RetryTextbook.Retry(), SYNRetries: 2}, []float64{0, 5, 15, 35}},
		{Config{Retry: RetryBSD.Retry(), SYNRetries: -1}, []float64{0, 1}},
		{Config{Retry: Retry{SYN: Schedule{20 * time.Second, 160 * time.Second}}}, []float64{0, 20, 180}},
		{Config{Retry: Retry{SYN: Schedule{9 * time.Second, time.Second, 9 * time.Second}}}, []float64{0, 9, 10, 19}},
	} {
		k := newKit(t, c.cfg)
		k.play(connecting)
		requireAt(t, c.want, k.copies())
	}
	// One role may have a schedule and the other not.
	k := newKit(t, Config{Retry: Retry{SYNACK: Schedule{2 * time.Second, 3 * time.Second}}})
	k.play(halfOpen)
	requireAt(t, []float64{0, 2, 5}, k.copies())
}

func TestParseRetry(t *testing.T) {
	for i, name := range RetryPresets() {
		p := RetryPreset(i)
		require.Equal(t, name, p.String())
		r, err := ParseRetry(name)
		require.NoError(t, err)
		require.Equal(t, p.Retry(), r)
		again, err := ParseRetry(r.SYN.String())
		require.NoError(t, err)
		require.Equal(t, r.SYN, again.SYN, "what String writes can be read")
	}
	require.Equal(t, "unknown", numRetryPresets.String())
	r, err := ParseRetry("1s, 500ms,2m")
	require.NoError(t, err)
	require.Equal(t, Schedule{time.Second, time.Second / 2, 2 * time.Minute}, r.SYN)
	require.Equal(t, r.SYN, r.SYNACK)
	require.Equal(t, 121500*time.Millisecond, r.SYN.Total())
	for _, s := range []string{"", "windows", "1s,", "1", "-1s", "1us", "2h", "1s,0s"} {
		_, err := ParseRetry(s)
		require.ErrorContains(t, err, "handshake: ", "%q", s)
	}
	long := make(Schedule, maxRetries+2)
	for i := range long {
		long[i] = time.Second
	}
	_, err = ParseRetry(long.String())
	require.ErrorContains(t, err, "want 1 to 31")
	_, err = ParseRetry(long[1:].String())
	require.NoError(t, err)
	for _, c := range []Config{
		{Retry: Retry{SYN: Schedule{}}},
		{Retry: Retry{SYNACK: long}},
		{Retry: Retry{SYN: Schedule{time.Second}}, SYNRetries: 1},
		{Retry: RetryBSD.Retry(), SYNACKRetries: 4},
	} {
		_, err := c.withDefaults()
		require.Error(t, err, "%v", c.Retry)
	}
}

// The engine keeps no reference to the schedule it was given.
func TestRetryIsCopied(t *testing.T) {
	r := RetryLinux.Retry()
	cfg, err := Config{Retry: r}.withDefaults()
	require.NoError(t, err)
	r.SYN[0] = time.Hour
	require.Equal(t, time.Second, cfg.Retry.SYN[0])
}

// As many classes as a configuration can ask for.
func TestTimerClasses(t *testing.T) {
	c := Config{InitialRTO: time.Millisecond, MaxRTO: time.Hour}
	for i := range maxRetries + 1 {
		c.Retry.SYN = append(c.Retry.SYN, time.Duration(1000+7*i)*time.Millisecond)
		c.Retry.SYNACK = append(c.Retry.SYNACK, time.Duration(1000+7*i)*time.Millisecond)
	}
	cfg, err := c.withDefaults()
	require.NoError(t, err)
	var tm timers
	tm.init(&cfg)
	require.Less(t, tm.classes, maxClasses)
	for n := range uint8(maxRetries + 1) {
		require.Equal(t, ms(c.Retry.SYN[n]), tm.delay[tm.syn.class(n)], fmt.Sprint(n))
		require.Equal(t, ms(c.Retry.SYNACK[n]), tm.delay[tm.synAck.class(n)])
		require.Equal(t, ms(min(time.Millisecond<<n, time.Hour)), tm.delay[tm.data.class(n)])
		require.NotEqual(t, tm.syn.class(n), tm.synAck.class(n), "half-opens have classes of their own")
	}
}
