package compare

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/bench"
)

// pair are two runs of which the second is slower by a fifth.
func pair(t *testing.T) (a, b Side) {
	r := rand.New(rand.NewPCG(3, 4))
	slower := calm
	slower.latency *= 1.2
	a, b = sideOf(t, calm, 1, r), sideOf(t, slower, 1, r)
	a.Files, b.Files = []string{"a.json"}, []string{"b.json"}
	return a, b
}

func conditions(t *testing.T, texts ...string) (out []Condition) {
	for _, s := range texts {
		c, err := ParseCondition(s)
		require.NoError(t, err)
		out = append(out, c)
	}
	return out
}

func TestCompare(t *testing.T) {
	a, b := pair(t)
	res, err := Compare(a, b, nil, DefaultConfidence)
	require.NoError(t, err)
	require.Equal(t, Schema, res.Schema)
	require.Empty(t, res.Warnings)
	by := map[string]Difference{}
	for _, d := range res.Differences {
		by[d.Metric] = d
	}
	require.True(t, by["p50"].Significant)
	require.InDelta(t, 0.2, by["p50"].Ratio.Value, 0.06)
	require.Equal(t, "latency", by["p50"].Of)
	require.False(t, by["rate"].Significant)
	require.Contains(t, by, "failed")
	require.Contains(t, by, "timed_out")
	require.NotContains(t, by, "refused", "zero on both sides")
	require.NotContains(t, by, "cpu", "neither knows it")

	again, err := Compare(a, b, nil, DefaultConfidence)
	require.NoError(t, err)
	require.Equal(t, res, again, "the same files give the same answer")

	same, err := Compare(a, a, nil, DefaultConfidence)
	require.NoError(t, err)
	for _, d := range same.Differences {
		require.Zero(t, d.Change.Value)
		require.False(t, d.Significant)
	}
	back, err := Compare(b, a, nil, DefaultConfidence)
	require.NoError(t, err)
	for i, d := range back.Differences {
		require.InDelta(t, -res.Differences[i].Change.Low, d.Change.High, 1e-6*max(1, d.A.Value), "the other way round is the negative: %s", d.Metric)
	}

	var text bytes.Buffer
	require.NoError(t, res.WriteText(&text))
	require.Contains(t, text.String(), "A  a.json\nB  b.json\n\nmetric")
	require.Regexp(t, `p50 \(latency\) +\S+µs +\S+µs +\+\d+\.\d\d % +\+\d+\.\d\d % to \+\d+\.\d\d % +beyond noise\n`, text.String())
	require.Contains(t, text.String(), "Runs differ by more")
	for line := range strings.Lines(text.String()) {
		require.Equal(t, strings.TrimRight(line, " \n"), strings.TrimSuffix(line, "\n"))
	}
	var js bytes.Buffer
	require.NoError(t, res.WriteJSON(&js))
	var m map[string]any
	require.NoError(t, json.Unmarshal(js.Bytes(), &m))
	require.Equal(t, false, m["failed"])
	require.Equal(t, []any{}, m["conditions"])
}

func TestConditions(t *testing.T) {
	a, b := pair(t)
	for text, want := range map[string]struct {
		failed bool
		why    string
	}{
		"p50>+10%":         {true, "beyond noise"},
		"p50 > +40 %":      {false, "%"},
		"p50>+10us":        {true, "beyond noise"},
		"p50>+1ms":         {false, ""},
		"p50>110us":        {true, "B has 1"},
		"p50>1ms":          {false, "B has 1"},
		"latency.p50>+10%": {true, "beyond noise"},
		"p99.9>100s":       {false, "B has "},
		"p50<-5%":          {false, ""},
		"rate<-50%":        {false, ""},
		"rate<+50%":        {false, "which is within noise"},
		"rate<+50% anyway": {true, ""},
		"rate>1":           {true, "B has "},
		"rate<1":           {false, "B has "},
		"failed>0":         {true, "B has "},
		"failed>0.1%":      {true, "B has "},
		"failed>50%":       {false, "B has "},
		"failed>+50pp":     {false, "pp"},
		"refused>0":        {false, "B has 0"},
		"refused>+10%":     {false, ""},
		"max>+0%anyway":    {false, "error"},
		"rate.syns<1":      {false, "error"},
		"mean>=+10%":       {true, "beyond noise"},
	} {
		c, err := ParseCondition(text)
		if err == nil {
			var v Verdict
			if v, err = c.judge(a, b, DefaultConfidence); err == nil {
				require.Equal(t, want.failed, v.Failed, "%s: %s", text, v.Why)
				require.Contains(t, v.Why, want.why, text)
				continue
			}
		}
		require.Equal(t, "error", want.why, "%s: %v", text, err)
	}
	res, err := Compare(a, b, conditions(t, "rate<-50%", "p50>+10%"), DefaultConfidence)
	require.NoError(t, err)
	require.True(t, res.Failed)
	require.Len(t, res.Conditions, 2)
	var text bytes.Buffer
	require.NoError(t, res.WriteText(&text))
	require.Contains(t, text.String(), "\nok    rate<-50%: ")
	require.Contains(t, text.String(), "\nFAIL  p50>+10%: +")

	// Without anything that tells the noise, the values decide.
	for _, r := range []*bench.Report{a.Reports[0], b.Reports[0]} {
		r.Intervals = nil
	}
	b.Reports[0].Rate.HandshakesPerS /= 2
	res, err = Compare(a, b, conditions(t, "rate<-5%"), DefaultConfidence)
	require.NoError(t, err)
	require.True(t, res.Failed)
	require.Contains(t, res.Conditions[0].Why, "nothing tells the noise")
	require.Equal(t, MethodNone, res.Conditions[0].Of.Method)
}

func TestConditionErrors(t *testing.T) {
	a, b := pair(t)
	for text, want := range map[string]string{
		"":                  "want METRIC",
		"p99":               "want METRIC",
		"p99>":              "want METRIC",
		"p99=5%":            "want METRIC",
		"p99>5 % twice now": "want METRIC",
		"p99>+5% always":    `unknown word "always"`,
		"p99>5furlongs":     `unknown unit "furlongs"`,
		"p99>2ms anyway":    "is about changes",
		"rite>+5%":          `unknown metric "rite"; did you mean "rate"?`,
		"fail>0":            `did you mean "failed"?`,
		"zzzzz>0":           "known are rate, mean, p50",
		"http.p99>+5%":      `not all reports have "http.p99"`,
		"rate>5ms":          `the unit "ms" does not suit rate; rate is in events per second; write for example rate>100000`,
		"rate>5%":           `the unit "%" does not suit rate`,
		"p99>5":             `the unit "" does not suit p99; p99 is in units of time; write for example p99>2ms`,
		"p99>+5pp":          `p99>+10%`,
		"failed>+5ms":       `failed>+0.1pp`,
	} {
		c, err := ParseCondition(text)
		if err == nil {
			_, err = c.judge(a, b, DefaultConfidence)
		}
		var e *ConditionError
		require.ErrorAs(t, err, &e, text)
		require.Contains(t, err.Error(), want)
	}
}

// What differs beside the result is said, and what makes a comparison senseless refused.
func TestWarnings(t *testing.T) {
	a, b := pair(t)
	x, y := a.Reports[0], b.Reports[0]
	x.Host = bench.Host{CPU: "Old", Kernel: "Linux 6.1", Mitigations: map[string]string{"mds": "Vulnerable"}, NIC: bench.NIC{Driver: "loop", Device: "bench-1"}}
	y.Host = bench.Host{CPU: "New", Kernel: "Linux 6.1", Mitigations: map[string]string{"mds": "Not affected"}, NIC: bench.NIC{Driver: "loop", Device: "bench-2"}}
	x.Config = map[string]any{"seed": 1.0, "retry": "bsd"}
	y.Config = map[string]any{"seed": 2.0, "no-sack": true}
	res, err := Compare(a, b, nil, DefaultConfidence)
	require.NoError(t, err)
	require.Equal(t, []string{
		"config.no-sack: none in a.json, true in b.json",
		"config.retry: bsd in a.json, none in b.json",
		"host.cpu: Old in a.json, New in b.json",
		"host.mitigations.mds: Vulnerable in a.json, Not affected in b.json",
	}, res.Warnings)

	y.Scenario = bench.ScenarioEcho
	_, err = Compare(a, b, nil, DefaultConfidence)
	require.EqualError(t, err, "b.json:scenario: echo cannot be compared with handshake of a.json; compare reports of one scenario")
}

// Several runs on one side only: each side brings its own interval.
func TestOneAgainstSeveral(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	w := calm
	w.seconds = 8
	a, b := sideOf(t, w, 4, r), sideOf(t, w, 1, r)
	res, err := Compare(a, b, nil, DefaultConfidence)
	require.NoError(t, err)
	for _, d := range res.Differences {
		require.Less(t, d.A.Low, d.A.High, d.Metric)
		require.Equal(t, MethodSeconds, d.Method, d.Metric)
	}
}
