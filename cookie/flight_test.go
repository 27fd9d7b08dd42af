package cookie

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Millions of handshakes go on while epochs pass and the secret is replaced, a hundred
// thousand at a time; every ACK comes back within an epoch and none may be lost. Time is
// virtual, the seed is fixed.
func TestCKI_017_RotationInFlightLosesNone(t *testing.T) {
	const (
		burst   = 64
		step    = 5 * time.Millisecond
		minutes = 4
	)
	perStep := 3 // bursts
	if testing.Short() {
		perStep = 1
	}
	other, err := NewSecret([]byte("another 16 bytes"))
	require.NoError(t, err)
	h, ring := NewHasher(testKey), testRing(t, 0)
	start := testWall.Truncate(time.Minute).Add(30 * time.Second)
	rng := rand.New(rand.NewPCG(17, 3))

	// What is in flight comes back after at most one epoch, in the order of a ring of
	// steps: each burst is put where it is due.
	type flight struct {
		sum  [burst]Sum
		syn  [burst]Input
		mint [burst]Minted
	}
	var pool []*flight
	due := make(map[int][]*flight)
	steps := int(minutes * time.Minute / step)
	var (
		tuples  [burst]Tuple
		acks    [burst]VerifyInput
		results [burst]Result
		minted  int
		checked int
		lost    int
		most    int
		flying  int
		n       uint32
	)
	rotated := false
	last := steps - int(DefaultEpoch/step) // nothing new in the last epoch, so that all come home
	stride := 1
	if perStep == 1 {
		stride = 4
	}
	for s := range steps {
		wall := start.Add(time.Duration(s) * step)
		ring.Advance(wall)
		now := TSNow(wall.UnixNano())
		if !rotated && s == steps/4 {
			require.NoError(t, ring.Rotate(other, wall.Add(DefaultEpoch)))
			rotated = true
		}
		keys := ring.Load()
		if s < last && s%stride == 0 {
			for range perStep {
				var f *flight
				if l := len(pool); l > 0 {
					f, pool = pool[l-1], pool[:l-1]
				} else {
					f = new(flight)
				}
				for i := range f.syn {
					n++
					tuples[i] = tupleN(n*2654435761, n%8 == 0)
				}
				h.Sum(f.sum[:], tuples[:])
				for i := range f.syn {
					f.syn[i] = Input{
						Sum: f.sum[i], IRS: n + uint32(i)*0x9e3779b9, TSNow: now, MSS: 1460, WScale: 7,
						Opts: HasWScale | SACK | TS*Opts(i%2), V6: !tuples[i].Is4(),
					}
				}
				keys.Mint(f.mint[:], f.syn[:])
				minted += burst
				// Nine in ten come back soon, the rest any time within the epoch.
				delay := rng.IntN(40)
				if rng.IntN(10) == 0 {
					delay = rng.IntN(int(DefaultEpoch / step))
				}
				due[s+delay] = append(due[s+delay], f)
				flying += burst
				most = max(most, flying)
			}
		}
		for _, f := range due[s] {
			for i := range acks {
				acks[i] = ackFor(&f.syn[i], &f.mint[i], now-f.syn[i].TSNow)
			}
			keys.Verify(results[:], acks[:])
			for i := range results {
				r, m := &results[i], &f.mint[i]
				if !r.OK || r.MSS != m.MSS || r.Opts != m.Opts || r.WScale != m.WScale || r.IRS != f.syn[i].IRS {
					lost++
				}
			}
			checked += burst
			flying -= burst
			pool = append(pool, f)
		}
		delete(due, s)
	}
	t.Logf("%d handshakes over %d epochs and one rotation, up to %d in flight, %d lost", minted, minutes+1, most, lost)
	require.Zero(t, lost)
	require.Equal(t, minted, checked)
	if !testing.Short() {
		require.Greater(t, minted, 2_000_000)
	}
	in := testInput(1, false, 0)
	fresh, err := NewRing(other, start.Add(minutes*time.Minute), RingConfig{})
	require.NoError(t, err)
	require.Equal(t, mintOne(fresh.Load(), in), mintOne(ring.Load(), in), "the new secret is in use")
}

// After a rotation, or in the next epoch, the cookies of the same SYNs look like those of
// strangers: no more of them repeat, and no more differences between neighbours, than chance has it.
func TestISN_002_NoPatternAcrossRotation(t *testing.T) {
	const n = 1 << 16
	ring := testRing(t, 0)
	before := ring.Load()
	ring.Advance(testWall.Add(2 * time.Minute)) // same parity
	next := ring.Load()
	other, err := NewSecret([]byte("another 16 bytes"))
	require.NoError(t, err)
	renewed, err := NewRing(other, testWall, RingConfig{})
	require.NoError(t, err)
	for name, after := range map[string]*Keys{"epoch": next, "secret": renewed.Load()} {
		for _, ts := range []Opts{0, TS} {
			a, b := make([]Minted, n), make([]Minted, n)
			syn, h := make([]Input, n), NewHasher(testKey)
			for i := range syn {
				tuple := tupleN(uint32(i), i%2 == 1)
				syn[i] = Input{Sum: h.SumOne(&tuple), IRS: testIRS, TSNow: 1e6, MSS: 1460, WScale: 7, Opts: HasWScale | SACK | ts, V6: i%2 == 1}
			}
			before.Mint(a, syn)
			after.Mint(b, syn)
			var hist, steps [256]int
			same, sameStep, flips := 0, 0, 0
			for i := range a {
				d := a[i].ISS ^ b[i].ISS
				hist[byte(d)]++
				for ; d != 0; d &= d - 1 {
					flips++
				}
				if a[i].ISS == b[i].ISS {
					same++
				}
				if i > 0 {
					da, db := a[i].ISS-a[i-1].ISS, b[i].ISS-b[i-1].ISS
					steps[byte(da-db)]++
					if da == db {
						sameStep++
					}
				}
			}
			// 2^16 pairs at 2^-32, or 2^-28 where the data agree: none is expected.
			require.LessOrEqual(t, same, 1, name)
			require.LessOrEqual(t, sameStep, 1, name)
			require.InDelta(t, 16, float64(flips)/n, 5*math.Sqrt(8.0/n)+0.05, "%s: bits that change", name)
			for what, h := range map[string][256]int{"xor": hist, "step": steps} {
				chi := 0.0
				for _, c := range h {
					d := float64(c) - n/256
					chi += d * d / (n / 256)
				}
				require.InDelta(t, 255, chi, 5*22.6, "%s %s", name, what)
			}
		}
	}
}

// Form T with 28 bits of MAC: 2^29 tries would take long, but which of the 2^32 values
// pass is known to be 16 (TestCKI_019_ValuesAccepted), so it is enough that a random sample
// of 2^26 with a present time has no more than a few.
func TestCKI_019_ForgeryOddsFormTMeasured(t *testing.T) {
	trials := 1 << 26
	if testing.Short() || bestKernel == kernelGeneric {
		trials = 1 << 20
	}
	keys := testRing(t, 0).Load()
	rng := rand.New(rand.NewPCG(19, 29))
	var in [64]VerifyInput
	var out [64]Result
	sum := testInput(1, false, 0).Sum
	for i := range in {
		in[i] = VerifyInput{Sum: sum, HasTS: true, TSNow: 1e6, TSEcr: packTS(1e6-1000, 7) + sum.TSOff}
	}
	passed := 0
	for range trials / len(in) {
		for i := range in {
			x := rng.Uint64()
			in[i].Seq, in[i].Ack = uint32(x), uint32(x>>32)
		}
		keys.Verify(out[:], in[:])
		for i := range out {
			if out[i].OK {
				passed++
			}
		}
	}
	expected := float64(trials) / (1 << 28)
	t.Logf("%d of %d random ACKs passed, %.2f expected", passed, trials, expected)
	require.LessOrEqual(t, passed, 4, "odds of more: 7e-6")
}
