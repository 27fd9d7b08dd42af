package compare

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/fastsyn/fastsyn/bench"
)

// Schema names the JSON form of Result; docs/compare.md describes it.
const Schema = "fastsyn.compare/v1"

// DefaultConfidence is that of the intervals.
const DefaultConfidence = 0.95

// Side is one or more reports of the same thing, and the names of their files.
type Side struct {
	Files   []string
	Reports []*bench.Report
}

// Result is the outcome of Compare.
type Result struct {
	Schema      string       `json:"schema"`
	A           []string     `json:"a"` // files
	B           []string     `json:"b"`
	Scenario    string       `json:"scenario"`
	Confidence  float64      `json:"confidence"`
	Warnings    []string     `json:"warnings"` // what else differs
	Differences []Difference `json:"differences"`
	Conditions  []Verdict    `json:"conditions"` // of those asked for
	Failed      bool         `json:"failed"`     // one of them holds
}

// How the interval of a Difference was found.
const (
	MethodRuns    = "runs"    // from several reports on each side
	MethodSeconds = "seconds" // from what varies within the one report of a side
	MethodNone    = "none"    // there is no interval: nothing tells the noise
)

// Difference is what B has otherwise than A.
type Difference struct {
	Metric string   `json:"metric"`
	Of     string   `json:"of"`   // what it is of, if the name does not say
	Unit   string   `json:"unit"` // "/s", "ns" or "share" of the attempts
	A      Estimate `json:"a"`
	B      Estimate `json:"b"`
	Change Estimate `json:"change"` // B - A
	// Ratio is B/A - 1, null where A or B may be zero.
	Ratio  *Estimate `json:"ratio"`
	Method string    `json:"method"`
	// Significant: the interval of Change leaves zero out, so that noise alone makes such a difference in one of
	// 1/(1-confidence) comparisons. False without an interval.
	Significant    bool `json:"significant"`
	countA, countB uint64
}

// Compare compares b with a in the usual metrics, and judges the conditions. The error is of reports that cannot be compared, a
// *bench.FileError, or of a condition, a *ConditionError.
func Compare(a, b Side, conditions []Condition, confidence float64) (*Result, error) {
	all := slices.Concat(a.Reports, b.Reports)
	files := slices.Concat(a.Files, b.Files)
	for i, r := range all[1:] {
		if r.Scenario != all[0].Scenario {
			return nil, &bench.FileError{
				File: files[1+i], At: "scenario", Reason: fmt.Sprintf("%s cannot be compared with %s of %s", r.Scenario, all[0].Scenario, files[0]),
				Fix: "compare reports of one scenario",
			}
		}
	}
	res := &Result{
		Schema: Schema, A: a.Files, B: b.Files, Scenario: all[0].Scenario, Confidence: confidence,
		Warnings: warnings(a, b), Differences: []Difference{}, Conditions: []Verdict{},
	}
	wanted := slices.Clone(shown)
	wanted = append(wanted, sorted(shares)...)
	for _, name := range wanted {
		d, ok := compare(name, a, b, confidence)
		if ok && (d.Unit != string(share) || d.countA+d.countB > 0) {
			res.Differences = append(res.Differences, d)
		}
	}
	for _, c := range conditions {
		v, err := c.judge(a, b, confidence)
		if err != nil {
			return nil, err
		}
		res.Conditions = append(res.Conditions, v)
		res.Failed = res.Failed || v.Failed
	}
	return res, nil
}

// compare compares in one metric; false if a side does not have it.
func compare(name string, a, b Side, confidence float64) (d Difference, ok bool) {
	m := lookup(name, slices.Concat(a.Reports, b.Reports))
	if m == nil {
		return d, false
	}
	d = Difference{Metric: m.name, Of: m.of, Unit: string(m.unit)}
	var values [2][]float64
	var known [2]bool
	var within [2]Estimate
	for i, s := range []Side{a, b} {
		for _, r := range s.Reports {
			e, k, has := m.value(r, confidence)
			if !has {
				return d, false
			}
			values[i], within[i], known[i] = append(values[i], e.Value), e, k
			if m.count != nil {
				n := &d.countA
				if i == 1 {
					n = &d.countB
				}
				*n += m.count(r)
			}
		}
	}
	runs := [2]bool{len(values[0]) > 1, len(values[1]) > 1}
	for i, e := range []*Estimate{&d.A, &d.B} {
		if *e = within[i]; runs[i] {
			*e, known[i] = mean(values[i], confidence), true
		}
	}
	d.between(values, runs, known, confidence)
	return d, true
}

// between fills in the change, by the means that there are.
func (d *Difference) between(values [2][]float64, runs, known [2]bool, confidence float64) {
	set := func(e Estimate, ok bool) {
		if ok {
			d.Ratio = &e
		}
	}
	switch {
	case runs[0] && runs[1]:
		d.Method, d.Change = MethodRuns, welch(values[0], values[1], confidence)
		if slices.Min(slices.Concat(values[0], values[1])) > 0 {
			e := unlog(welch(logs(values[0]), logs(values[1]), confidence))
			set(e, true)
		}
	case known[0] && known[1]:
		d.Method, d.Change = MethodSeconds, difference(d.A, d.B)
		set(ratio(d.A, d.B))
	default:
		d.Method, d.Change = MethodNone, exactly(d.B.Value-d.A.Value)
		if min(d.A.Value, d.B.Value) > 0 {
			set(exactly(d.B.Value/d.A.Value-1), true)
		}
	}
	of := d.Change
	if d.Ratio != nil {
		of = *d.Ratio
	}
	d.Significant = d.Method != MethodNone && (of.Low > 0 || of.High < 0)
}

func logs(x []float64) (out []float64) {
	for _, v := range x {
		out = append(out, exactly(v).log().Value)
	}
	return out
}

// warnings are what differs between and within the sides beside the result: the machine, the program and the settings.
func warnings(a, b Side) []string {
	out := []string{}
	first := facts(a.Reports[0])
	for i, r := range slices.Concat(a.Reports, b.Reports)[1:] {
		name := slices.Concat(a.Files, b.Files)[1+i]
		other := facts(r)
		keys := map[string]bool{}
		for k := range first {
			keys[k] = true
		}
		for k := range other {
			keys[k] = true
		}
		for _, k := range sorted(keys) {
			if first[k] != other[k] {
				out = append(out, fmt.Sprintf("%s: %s in %s, %s in %s", k, orNone(first[k]), a.Files[0], orNone(other[k]), name))
			}
		}
	}
	return out
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// facts are what must be the same for a difference to say anything about the program.
func facts(r *bench.Report) map[string]string {
	m := map[string]string{
		"port": r.Port, "connect": r.Connect, "workers": fmt.Sprint(r.Workers), "concurrency": fmt.Sprint(r.Concurrency), "target_rate": fmt.Sprint(r.TargetRate),
		"polling": r.Polling, "pinned": fmt.Sprint(r.Pinned), "close": r.Close, "cookies": r.Cookies,
	}
	h := r.Host
	v := reflect.ValueOf(h)
	for i := range v.NumField() {
		name := "host." + v.Type().Field(i).Tag.Get("json")
		switch x := v.Field(i).Interface().(type) {
		case bench.NIC:
			m[name] = strings.TrimSpace(fmt.Sprintf("%s %s %s, MTU %d, %d queues, %d Mbit/s", x.Driver, x.Device, x.Kernel, x.MTU, x.Queues, x.SpeedMbS))
			if x.Kernel == "" { // a wire has a name of its own in each run
				m[name] = x.Driver
			}
			for k, on := range x.Offloads {
				m[name+".offloads."+k] = on
			}
		case map[string]string:
			for k, s := range x {
				m[name+"."+k] = s
			}
		default:
			m[name] = fmt.Sprint(x)
		}
	}
	for k, x := range r.Config {
		if k != "seed" {
			m["config."+k] = fmt.Sprint(x)
		}
	}
	maps.DeleteFunc(m, func(_, s string) bool { return s == "" })
	return m
}

// WriteJSON writes the result, indented.
func (res *Result) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(res)
}
