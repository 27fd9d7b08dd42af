package bench

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func load(t testing.TB, text string) *schedule {
	t.Helper()
	s, err := parseLoad(text)
	require.NoError(t, err)
	return s
}

// dueTimes are when the opens of one worker of n are due, up to a limit.
func dueTimes(s *schedule, i, n, limit int) (out []int64) {
	p := newPace(s, i, n, 0)
	for len(out) < limit && p.intended() != never {
		out = append(out, p.intended())
		p.made(1)
	}
	return out
}

// The schedule does not slip: late opens stay late, and all are made up for.
func TestPace(t *testing.T) {
	p := newPace(constant(1000), 0, 1, 5e6)
	require.Equal(t, 0, p.due(5e6-1))
	require.Equal(t, 1, p.due(5e6))
	require.Equal(t, int64(5e6), p.intended())
	p.made(1)
	require.Equal(t, 0, p.due(5.9e6))
	require.Equal(t, int64(6e6), p.intended())
	require.Equal(t, 10, p.due(15e6), "ten milliseconds asleep are ten opens due")
	require.Equal(t, int64(6e6), p.intended(), "and the first of them is late")

	// Two workers share a rate evenly.
	a, b := newPace(constant(1000), 0, 2, 0), newPace(constant(1000), 1, 2, 0)
	require.Equal(t, int64(0), a.intended())
	require.Equal(t, int64(1e6), b.intended())
	a.made(1)
	require.Equal(t, int64(2e6), a.intended())
	// A slow rate needs no whole number per second.
	s := newPace(constant(0.1), 0, 1, 0)
	s.made(1)
	require.Equal(t, int64(10e9), s.intended())
	// The clock is that of the wall, in ns.
	w := newPace(constant(3e6), 0, 1, 1.8e18)
	w.made(3)
	require.Equal(t, int64(1.8e18+1000), w.intended())
}

// Where the opens of each kind of stage must be, by arithmetic.
func TestLoadStages(t *testing.T) {
	ms := func(list ...float64) (out []int64) {
		for _, x := range list {
			out = append(out, int64(math.Round(x*1e6)))
		}
		return out
	}
	for text, want := range map[string][]int64{
		"4/1s":                        ms(0, 250, 500, 750),
		"const:4/1s,2/1s":             ms(0, 250, 500, 750, 1000, 1500),
		"ramp:0..8/1s":                ms(0, 500, 1000*math.Sqrt(0.5), 1000*math.Sqrt(0.75)),
		"ramp:8..0/1s":                ms(0, 1000*(1-math.Sqrt(0.75)), 1000*(1-math.Sqrt(0.5)), 500),
		"ramp:8..8/1s,hold:250ms":     ms(0, 125, 250, 375, 500, 625, 750, 875, 1000, 1125),
		"step:2+2/1s*3":               ms(0, 500, 1000, 1250, 1500, 1750, 2000, 2000+1000./6, 2000+2000./6, 2500, 2000+4000./6, 2000+5000./6),
		"step:4-2/1s*2":               ms(0, 250, 500, 750, 1000, 1500),
		"spike:1^4@1s/500ms":          ms(0, 1000, 1250, 1500),
		"spike:1^4@1s/1s*2":           ms(0, 1000, 1250, 1500, 1750, 2000, 3000, 4000, 4250, 4500, 4750, 5000),
		"2/1s,0/1s,2/1s":              ms(0, 500, 2000, 2500), // nothing is due in a pause, not even at its first instant
		"0/1s, 2/1s":                  ms(1000, 1500),
		"ramp:0..2/1s,hold:1s,hold":   ms(0, 1000, 1500, 2000, 2500),
		"2.5k/1ms":                    ms(0, 0.4, 0.8),
		"ramp:2k..2k/1ms,hold:500us ": ms(0, 0.5, 1),
	} {
		s, err := parseLoad(text)
		require.NoError(t, err, text)
		require.InDeltaSlice(t, want, dueTimes(s, 0, 1, len(want)), 1, text)
		if !math.IsInf(s.end().to, 1) {
			require.Len(t, dueTimes(s, 0, 1, 100), len(want), text)
		}
	}
	s := load(t, "sine:1k..5k/10s*2")
	require.InDelta(t, 20e9, s.end().to, 1)
	require.InDelta(t, 60_000, s.end().last, 1e-3)
	require.InDelta(t, 5000, s.peak(), 1e-6)
	for i := range 20 { // per second: the integral of the cosine, within what the chords are off by
		sec := float64(i)
		exact := 3000 - 2000*10/(2*math.Pi)*(math.Sin(2*math.Pi*(sec+1)/10)-math.Sin(2*math.Pi*sec/10))
		got := float64(s.intended(int64(sec+1)*1e9-1)) - float64(s.intended(int64(sec)*1e9-1))
		if i == 0 {
			got = float64(s.intended(1e9 - 1))
		}
		require.InDelta(t, exact, got, 4000*0.0013/2+2, "second %d", i)
	}
}

func randomLoad(r *rand.Rand) *schedule {
	s := &schedule{}
	for range 1 + r.IntN(6) {
		from, to := math.Pow(10, r.Float64()*5), math.Pow(10, r.Float64()*5)
		switch r.IntN(4) {
		case 0:
			to = from
		case 1:
			from = 0
		case 2:
			to = 0
		}
		if r.IntN(5) == 0 {
			from, to = 0, 0
		}
		s.add(from, to, math.Ceil(1e6+r.Float64()*2e8))
	}
	return s
}

// What due says and what intended says is the same; N(t) and its inverse agree; workers
// interleave to the one schedule; nothing is due twice, or never.
func TestPaceProperties(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		s := randomLoad(r)
		all := dueTimes(s, 0, 1, 1<<20)
		require.InDelta(t, s.end().last, len(all), 1.001, "seed %d", seed)
		for k := 1; k < len(all); k++ {
			require.LessOrEqual(t, all[k-1], all[k], "seed %d, open %d", seed, k)
		}
		for k, at := range all {
			n := opensAt(s, float64(at))
			// A half ns of rounding, at the rate around it.
			require.InDelta(t, float64(k), n, 1e-6+2e-9*s.peak(), "seed %d: N at open %d", seed, k)
		}
		n := 1 + r.IntN(5)
		for i := range n {
			one := dueTimes(s, i, n, 1<<20)
			for j, at := range one {
				require.Equal(t, all[i+j*n], at, "seed %d, worker %d of %d", seed, i, n)
			}
			require.Len(t, one, (len(all)-i+n-1)/n)
		}
		// A worker that looks now and then makes each open once, none before its time.
		i := r.IntN(n)
		p := newPace(s, i, n, 7e9)
		one := dueTimes(s, i, n, 1<<20)
		for now := int64(7e9 - 100); now < 7e9+int64(s.end().to)+1; now += 1 + r.Int64N(int64(1+s.end().to/50)) {
			want := 0
			for j := int(p.done); j < len(one) && one[j]+7e9 <= now; j++ {
				want++
			}
			require.Equal(t, want, p.due(now), "seed %d at %d", seed, now)
			require.Equal(t, p.done+uint64(want), p.dueBy(now))
			require.Equal(t, want > 0, p.intended() <= now)
			if want > 0 {
				p.made(1 + r.IntN(want))
			}
		}
		end := int64(s.end().to)
		require.Equal(t, uint64(len(all)), s.intended(end))
	}
}

// opensAt is N(t) by a sum over all pieces.
func opensAt(s *schedule, t float64) float64 {
	for i := range s.pieces {
		if g := &s.pieces[i]; t <= g.to {
			return g.opens(t)
		}
	}
	return s.end().last
}

func TestLoadErrors(t *testing.T) {
	for text, want := range map[string]string{
		"":                   "--load: stage 1: unknown kind \"\"",
		"rampp:1..2/1s":      `--load rampp:1..2/1s: stage 1: unknown kind "rampp": did you mean "ramp"?; the kinds of stages are const:RATE/TIME, ramp:FROM..TO/TIME`,
		"1k/1s,ramp:1k..2k":  "--load ramp:1k..2k: stage 2: it has no time; write ramp:FROM..TO/TIME, such as ramp:1k..50k/30s",
		"ramp:1k-2k/1s":      `stage 1: no .. between two rates in "1k-2k"`,
		"ramp:..2k/1s":       "stage 1: a rate is missing",
		"ramp:1k..2x/1s":     `"2x" is no rate: want 0 to 1e9 per second, such as 500, 2.5k or 1M`,
		"2G":                 `unknown kind "2G"`,
		"const:2G":           `"2G" is no rate`,
		"const:-1":           `"-1" is no rate`,
		"const:1/1":          `"1" is no time: want more than 0, to 24h, such as 500ms or 30s`,
		"const:1/0s":         `"0s" is no time`,
		"step:1k/5s*2":       `no + or - between the first rate and the height of a step in "1k"`,
		"step:1k-600/5s*3":   "the last step has a rate of -200: want 0 to 1e9",
		"step:1k+1k/5s*0":    `"0" is no count`,
		"step:1+1/1s*65537":  `"65537" is no count`,
		"spike:1k..2k@1s/1s": "no ^ between base and peak",
		"spike:1k^2k/1s":     "stage 1: ",
		"sine:1..2/1s*1025":  "1025 periods: want at most 1024",
		"hold:1s":            "no stage before it has a rate to hold",
		"1k,hold:1s":         "stage 2: it never begins, as the stage before it has no end",
		"0/1s":               "the rate is 0 all the time",
		"step:1+1/1s*40000,1/1s,step:1+1/1s*40000": "more than 65536 pieces",
	} {
		_, err := parseLoad(text)
		var flag *FlagError
		require.ErrorAs(t, err, &flag, text)
		require.Equal(t, "load", flag.Flag)
		require.ErrorContains(t, err, want, text)
		require.NotEmpty(t, flag.Fix)
	}
}

func TestLoadSettings(t *testing.T) {
	c, err := Config{Load: "ramp:1k..2k/2s,hold:1s"}.normalize()
	require.NoError(t, err)
	require.Equal(t, 3*time.Second, c.Duration)
	c, err = Config{Load: "ramp:1k..2k/2s,hold"}.normalize()
	require.NoError(t, err)
	require.Equal(t, DefaultDuration, c.Duration)
	c, err = Config{Load: "ramp:1k..2k/2s", Duration: time.Second}.normalize()
	require.NoError(t, err)
	require.Equal(t, time.Second, c.Duration)
	c, err = Config{Load: "5k", Count: 10}.normalize()
	require.NoError(t, err)
	require.Zero(t, c.Duration)
	c, err = Config{Rate: 5}.normalize()
	require.NoError(t, err)
	require.InDelta(t, 5, c.plan.peak(), 1e-9)
	c, err = Config{}.normalize()
	require.NoError(t, err)
	require.Nil(t, c.plan)
	for text, bad := range map[string]Config{
		"--rate 5: --load 1k has rates of its own; leave one of them out":                 {Load: "1k", Rate: 5},
		"--duration 10s: longer than the load, which ends after 2s; leave it out, or let": {Load: "1k/2s", Duration: 10 * time.Second},
	} {
		err := bad.Validate()
		var flag *FlagError
		require.True(t, errors.As(err, &flag))
		require.ErrorContains(t, err, text)
	}
}

func TestPaceAllocatesNothing(t *testing.T) {
	s := load(t, "ramp:1k..2M/1s,hold")
	p := newPace(s, 0, 1, 0)
	now := int64(0)
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		now += 100e3
		for range p.due(now) {
			p.made(1)
		}
	}))
	require.NotZero(t, p.done)
}

func BenchmarkPace(b *testing.B) {
	for _, text := range []string{"1M", "ramp:1M..2M/1h", "sine:1M..2M/1s*1000"} {
		b.Run(text, func(b *testing.B) {
			p := newPace(load(b, text), 0, 1, 0)
			late := int64(0)
			for now := int64(0); b.Loop(); now += 700 {
				for range p.due(now) {
					late += now - p.intended()
					p.made(1)
				}
			}
			if late < 0 {
				b.Fatal("an open before its time")
			}
		})
	}
}
