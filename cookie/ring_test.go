package cookie

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestCKI_002_EpochFromUTC(t *testing.T) {
	for _, length := range []time.Duration{time.Second, 1500 * time.Millisecond, time.Minute, 64 * time.Second} {
		r, err := NewRing(testSecret(t), time.Unix(0, 0), RingConfig{Epoch: length})
		require.NoError(t, err)
		require.Zero(t, r.Load().Epoch())
		zone := time.FixedZone("elsewhere", 5*3600)
		for _, e := range []int64{1, 2, 1 << 20, -1, -7} {
			start := time.Unix(0, e*int64(length))
			for _, wall := range []time.Time{start, start.Add(length - 1), start.In(zone)} {
				next := r.Advance(wall)
				require.Equal(t, e, r.Load().Epoch(), "%v", wall)
				require.True(t, next.Equal(start.Add(length)), "%v", next)
			}
		}
	}
}

func TestRingPublishesOnlyOnChange(t *testing.T) {
	r := testRing(t, 2*time.Second)
	k := r.Load()
	next := r.Advance(testWall.Add(time.Second))
	require.Same(t, k, r.Load())
	require.True(t, next.Equal(testWall.Add(38*time.Second)), "2 s before the epoch ends")
	next = r.Advance(next)
	require.NotSame(t, k, r.Load())
	require.Equal(t, k.Epoch(), r.Load().Epoch(), "mints as before")
	require.True(t, next.Equal(testWall.Add(40*time.Second)))
	r.Advance(next)
	require.Equal(t, k.Epoch()+1, r.Load().Epoch())
}

func TestRingConfigErrors(t *testing.T) {
	for _, cfg := range []RingConfig{
		{Epoch: time.Millisecond},
		{Epoch: 25 * time.Hour},
		{Epoch: -time.Minute},
		{Epoch: time.Second + 1},
		{Skew: -1},
		{Skew: 16 * time.Second},
		{Epoch: time.Second, Skew: time.Second},
	} {
		_, err := NewRing(testSecret(t), testWall, cfg)
		require.ErrorContains(t, err, "cookie: new ring: ", "%+v", cfg)
	}
	_, err := NewRing(Secret{}, testWall, RingConfig{})
	require.ErrorIs(t, err, ErrSecret)
}

// Every cookie lives at least one epoch and at most two, at each phase of minting.
func TestCKI_003_Lifetime(t *testing.T) {
	for _, skew := range []time.Duration{0, 2 * time.Second} {
		for _, opts := range []Opts{0, TS} {
			for phase := range 60 {
				r := testRing(t, skew)
				start := testWall.Truncate(time.Minute).Add(time.Duration(phase) * time.Second)
				r.Advance(start)
				in := testInput(1, false, opts)
				m := mintOne(r.Load(), in)
				for age := range 130 {
					r.Advance(start.Add(time.Duration(age) * time.Second))
					ok := verifyOne(r.Load(), ackFor(&in, &m, uint32(age)*1000)).OK
					require.Equal(t, phase+age < 120-int(skew.Seconds()), ok, "skew %v minted at %d s, age %d s", skew, phase, age)
				}
			}
		}
	}
}

func TestCKI_017_Rotate(t *testing.T) {
	other, err := NewSecret([]byte("another 16 bytes"))
	require.NoError(t, err)
	r := testRing(t, 0)
	require.ErrorIs(t, r.Rotate(Secret{}, testWall), ErrSecret)
	from := testWall.Add(DefaultEpoch)
	require.NoError(t, r.Rotate(other, from))
	require.ErrorContains(t, r.Rotate(testSecret(t), from.Add(10*DefaultEpoch)), "rotate later", "two secrets at most")

	in := testInput(1, false, HasWScale)
	late := testRing(t, 0) // learns of it only afterwards
	for i := range 5 {
		wall := testWall.Add(time.Duration(i) * DefaultEpoch)
		m := mintOne(r.Load(), in)
		r.Advance(wall)
		require.True(t, verifyOne(r.Load(), ackFor(&in, &m, 0)).OK, "no cookie is lost, epoch +%d", i)
	}
	late.Advance(testWall.Add(4 * DefaultEpoch))
	m := mintOne(r.Load(), in)
	require.False(t, verifyOne(late.Load(), ackFor(&in, &m, 0)).OK)
	require.NoError(t, late.Rotate(other, from))
	require.True(t, verifyOne(late.Load(), ackFor(&in, &m, 0)).OK)

	fresh, err := NewRing(other, testWall.Add(4*DefaultEpoch), RingConfig{})
	require.NoError(t, err)
	require.True(t, verifyOne(fresh.Load(), ackFor(&in, &m, 0)).OK, "the new secret alone")
	require.ErrorContains(t, r.Rotate(testSecret(t), from.Add(DefaultEpoch)), "rotate later", "two epochs apart")
	require.NoError(t, r.Rotate(testSecret(t), from.Add(6*DefaultEpoch)))
}

func TestCKI_018_Fleet(t *testing.T) {
	a, b := testRing(t, 0), testRing(t, 0)
	ha, err := testSecret(t).Hasher()
	require.NoError(t, err)
	hb, err := testSecret(t).Hasher()
	require.NoError(t, err)
	stranger, err := NewSecret([]byte("another 16 bytes"))
	require.NoError(t, err)
	c, err := NewRing(stranger, testWall, RingConfig{})
	require.NoError(t, err)
	d, err := NewRing(testSecret(t), testWall, RingConfig{Epoch: 64 * time.Second})
	require.NoError(t, err)
	for i := range uint32(256) {
		for _, opts := range []Opts{0, TS} {
			tuple := tupleN(i, i%2 == 1)
			in := Input{
				Sum: ha.SumOne(&tuple), IRS: i, TSNow: TSNow(testWall.UnixNano()),
				MSS: 1460, WScale: 9, Opts: opts | HasWScale | SACK, V6: i%2 == 1,
			}
			m := mintOne(a.Load(), in)
			require.Equal(t, m, mintOne(b.Load(), in), "a SYN sent twice is answered alike by both")
			ack := ackFor(&in, &m, 30)
			ack.Sum = hb.SumOne(&tuple)
			require.True(t, verifyOne(b.Load(), ack).OK)
			require.False(t, verifyOne(c.Load(), ack).OK, "another secret")
			require.False(t, verifyOne(d.Load(), ack).OK, "another epoch length")
		}
	}
}

// The other node's clock is 1.5 s ahead, across the end of the epoch.
func TestCKI_018_ClockSkew(t *testing.T) {
	const ahead = 1500 * time.Millisecond
	for _, skew := range []time.Duration{0, 2 * time.Second} {
		fast, slow := testRing(t, skew), testRing(t, skew)
		for ms := range 4000 {
			wall := testWall.Truncate(time.Minute).Add(58*time.Second + time.Duration(ms)*time.Millisecond)
			slow.Advance(wall)
			fast.Advance(wall.Add(ahead))
			for _, opts := range []Opts{0, TS} {
				in := testInput(1, false, opts)
				in.TSNow = TSNow(wall.Add(ahead).UnixNano())
				m := mintOne(fast.Load(), in)
				ack := ackFor(&in, &m, 0)
				ack.TSNow = TSNow(wall.UnixNano())
				apart := fast.Load().Epoch() != slow.Load().Epoch()
				require.Equal(t, skew > 0 || !apart && opts == 0, verifyOne(slow.Load(), ack).OK, "skew %v at %v opts %d", skew, wall, opts)

				in.TSNow = TSNow(wall.UnixNano())
				m = mintOne(slow.Load(), in)
				ack = ackFor(&in, &m, uint32(ahead.Milliseconds()))
				require.True(t, verifyOne(fast.Load(), ack).OK, "a node ahead needs no allowance")
			}
		}
	}
}

// Readers see whole key sets while the control goroutine goes through epochs.
func TestRingConcurrent(t *testing.T) {
	r := testRing(t, 0)
	in := testInput(1, false, HasWScale|SACK)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				k := r.Load()
				m := mintOne(k, in)
				if !verifyOne(k, ackFor(&in, &m, 0)).OK {
					t.Errorf("epoch %d refused its own cookie", k.Epoch())
					return
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	for i := range 500 {
		r.Advance(testWall.Add(time.Duration(i) * DefaultEpoch))
	}
	close(stop)
	wg.Wait()
}
