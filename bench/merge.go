package bench

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// ownSettings are what shards of one run may set differently: each has addresses, a device and a share of the load of its own.
var ownSettings = map[string]bool{
	"port": true, "addr": true, "pool": true, "gateway": true, "seed": true, "rate": true, "count": true, "concurrency": true,
	"workers": true, "peer-mac": true, "src-ports": true, "pin": true, "polling": true,
}

// Merge makes one report of those of the shards of a run: generators that had the same scenario and settings, at the same
// time, with sources of their own. Counters, rates and concurrency are summed up, durations are those of the longest, latencies
// come from the merged histograms. names are those of the files, for errors, which are *FileError.
func Merge(reports []*Report, names []string) (*Report, error) {
	if len(reports) == 1 {
		return reports[0], nil
	}
	sum, err := clone(reports[0])
	if err != nil {
		return nil, err
	}
	m := merger{shard: names[0]}
	if err := m.open(sum.Histograms); err != nil {
		return nil, err
	}
	for i, r := range reports[1:] {
		if err := shards(reports[0], r, names[0], names[1+i]); err != nil {
			return nil, err
		}
		other, err := clone(r)
		if err != nil {
			return nil, err
		}
		m.shard = names[1+i]
		if err := m.open(other.Histograms); err != nil {
			return nil, err
		}
		m.add("", reflect.ValueOf(sum).Elem(), reflect.ValueOf(other).Elem())
	}
	if err := m.summaries("", reflect.ValueOf(sum).Elem()); err != nil {
		return nil, err
	}
	sum.repopulate(reports, m.hist)
	if sum.Histograms, err = m.encode(); err != nil {
		return nil, err
	}
	maps.DeleteFunc(sum.Config, func(key string, _ any) bool { return ownSettings[key] }) // no run had those of the sum
	sum.Client.restore()
	if sum.Server != nil {
		sum.Server.restore()
	}
	sum.Recheck()
	sum.Limiter = limiter(sum)
	return sum, nil
}

// clone copies a report by way of its JSON, which is all that another process would have.
func clone(r *Report) (*Report, error) {
	complete(reflect.ValueOf(r))
	b, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	c := new(Report)
	if err := json.Unmarshal(b, c); err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	return c, nil
}

// shards returns why b is no shard of the run that a is of.
func shards(a, b *Report, nameA, nameB string) error {
	differ := func(field string, x, y any) error {
		return &FileError{
			File: nameB, At: field, Reason: fmt.Sprintf("%v, but %s has %v: these are not shards of one run", y, nameA, x),
			Fix: "merge reports of one scenario with the same settings; fastsyn compare tells others apart",
		}
	}
	type pair struct {
		field string
		a, b  any
	}
	pairs := []pair{
		{"scenario", a.Scenario, b.Scenario},
		{"connect", a.Connect, b.Connect},
		{"close", a.Close, b.Close},
		{"time_wait_s", a.TimeWaitS, b.TimeWaitS},
		{"fast_open", a.FastOpen, b.FastOpen},
		{"cookies", a.Cookies, b.Cookies},
		{"server", a.Server != nil, b.Server != nil},
		{"http.body", a.HTTP.Body, b.HTTP.Body},
		{"http.requests", a.HTTP.Requests, b.HTTP.Requests},
		{"http.path", a.HTTP.Path, b.HTTP.Path},
	}
	for _, key := range settingsOf(a, b) {
		if !ownSettings[key] {
			pairs = append(pairs, pair{"config." + key, a.Config[key], b.Config[key]})
		}
	}
	for _, p := range pairs {
		if !reflect.DeepEqual(p.a, p.b) {
			return differ(p.field, p.a, p.b)
		}
	}
	if a.Search != nil || b.Search != nil {
		return &FileError{File: nameB, At: "search", Reason: "the result of a search cannot be added to another", Fix: "merge the runs at the rate that it found"}
	}
	return nil
}

// settingsOf lists the settings of a and b, sorted.
func settingsOf(a, b *Report) []string {
	var keys []string
	for _, r := range []*Report{a, b} {
		for k := range r.Config {
			if !slices.Contains(keys, k) {
				keys = append(keys, k)
			}
		}
	}
	slices.Sort(keys)
	return keys
}

// merger adds up reports field by field.
type merger struct {
	shard string // the file being added, for errors
	hist  map[string]*hdrhistogram.Histogram
}

// Fields that are not what the kind of their type says: counters and rates add up, other numbers and
// texts are settings, which stay if they are the same.
var mergeRules = map[string]func(a, b reflect.Value){
	"workers":        addInt,
	"concurrency":    addInt,
	"client.workers": addInt,
	"server.workers": addInt,
	"target_rate":    addFloat,
	"cpu_s":          addFloat,
	"duration_s":     maxFloat,
	"drain_s":        maxFloat,
	"client.busy":    maxFloat,
	"server.busy":    maxFloat,
	"client.burst":   maxFloat,
	"server.burst":   maxFloat,
	"seed":           sameUint,
	"histograms":     skip, // merged when they are opened
	"config":         skip, // the same but for what the shards have for themselves
}

func skip(_, _ reflect.Value)     {}
func addInt(a, b reflect.Value)   { a.SetInt(a.Int() + b.Int()) }
func addFloat(a, b reflect.Value) { a.SetFloat(a.Float() + b.Float()) }
func maxFloat(a, b reflect.Value) { a.SetFloat(max(a.Float(), b.Float())) }
func sameUint(a, b reflect.Value) {
	if a.Uint() != b.Uint() {
		a.SetUint(0)
	}
}

// add adds the field b at path to a.
func (m *merger) add(path string, a, b reflect.Value) {
	if rule := mergeRules[path]; rule != nil {
		rule(a, b)
		return
	}
	switch x := a.Addr().Interface().(type) {
	case *Latency, *Population, *Quantile: // of the histograms
		return
	case *[]Interval:
		*x = addIntervals(*x, b.Interface().([]Interval))
		return
	case *[]Equation:
		*x = addEquations(*x, b.Interface().([]Equation))
		return
	case *[]Stage:
		m.addStages(x, b.Interface().([]Stage))
		return
	}
	switch a.Kind() {
	case reflect.Pointer:
		if !a.IsNil() && !b.IsNil() {
			m.add(path, a.Elem(), b.Elem())
		}
	case reflect.Struct:
		for i := range a.NumField() {
			if name := jsonName(a.Type().Field(i)); name != "-" {
				m.add(joinPath(path, name), a.Field(i), b.Field(i))
			}
		}
	case reflect.Uint64:
		a.SetUint(a.Uint() + b.Uint())
	case reflect.Float64:
		if strings.HasSuffix(path, "_per_s") {
			addFloat(a, b)
		}
	case reflect.Bool:
		a.SetBool(a.Bool() && b.Bool())
	case reflect.String:
		if s := b.String(); s != a.String() && !slices.Contains(strings.Split(a.String(), " | "), s) {
			a.SetString(a.String() + " | " + s)
		}
	case reflect.Slice:
		a.Set(reflect.AppendSlice(a, b))
	case reflect.Map:
		addMap(a, b)
	default: // settings, and what a host has
	}
}

// addMap adds counters, and joins texts that differ.
func addMap(a, b reflect.Value) {
	for it := b.MapRange(); it.Next(); {
		have := a.MapIndex(it.Key())
		switch {
		case a.Type().Elem().Kind() == reflect.Uint64:
			sum := it.Value().Uint()
			if have.IsValid() {
				sum += have.Uint()
			}
			a.SetMapIndex(it.Key(), reflect.ValueOf(sum))
		case !have.IsValid():
			a.SetMapIndex(it.Key(), it.Value())
		case have.String() != it.Value().String():
			a.SetMapIndex(it.Key(), reflect.ValueOf(have.String()+" | "+it.Value().String()))
		}
	}
}

func (m *merger) addStages(a *[]Stage, b []Stage) {
	for _, s := range b {
		i := slices.IndexFunc(*a, func(x Stage) bool { return x.Name == s.Name })
		if i < 0 {
			*a = append(*a, s)
			continue
		}
		m.add("path", reflect.ValueOf(&(*a)[i]).Elem(), reflect.ValueOf(s))
	}
}

// addEquations adds up those that both have, side by side; others stay as they are.
func addEquations(a, b []Equation) []Equation {
	for _, e := range b {
		i := slices.IndexFunc(a, func(x Equation) bool { return x.Name == e.Name })
		if i < 0 {
			a = append(a, e)
			continue
		}
		a[i].Left += e.Left
		a[i].Right += e.Right
		a[i].Holds = a[i].Holds && e.Holds
	}
	return a
}

// summaries sets each Latency below path from the histogram of its name.
func (m *merger) summaries(path string, v reflect.Value) error {
	if l, ok := v.Addr().Interface().(*Latency); ok {
		name := strings.TrimSuffix(path, "_ns")
		h := m.hist[histogramName(path)]
		if h == nil && l.Count > 0 {
			return &FileError{
				File: m.shard, At: "histograms", Reason: fmt.Sprintf("no histogram %q, without which percentiles cannot be merged", name),
				Fix: "write the reports again with this version",
			}
		}
		*l = Latency{}
		if h != nil {
			*l = summarize(h)
		}
		return nil
	}
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			return m.summaries(path, v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if name := jsonName(v.Type().Field(i)); name != "-" {
				if err := m.summaries(joinPath(path, name), v.Field(i)); err != nil {
					return err
				}
			}
		}
	default: // lists have percentiles of their own
	}
	return nil
}

// histogramName is the key in Report.Histograms of the latency at a path of the JSON.
func histogramName(path string) string {
	return strings.TrimSuffix(strings.ReplaceAll(path, "_ns.", "."), "_ns")
}

// open adds encoded histograms to those of the merger.
func (m *merger) open(encoded map[string]string) error {
	if m.hist == nil {
		m.hist = map[string]*hdrhistogram.Histogram{}
	}
	for name, text := range encoded {
		h, err := hdrhistogram.Decode([]byte(text))
		if err != nil {
			return &FileError{File: m.shard, At: "histograms." + name, Reason: "not an HdrHistogram V2: " + err.Error(), Fix: "write the report again"}
		}
		if have := m.hist[name]; have == nil {
			m.hist[name] = h
		} else if dropped := have.Merge(h); dropped > 0 {
			return &FileError{
				File: m.shard, At: "histograms." + name, Reason: fmt.Sprintf("%d values do not fit the range of the others", dropped),
				Fix: "merge reports of the same version",
			}
		}
	}
	return nil
}

func (m *merger) encode() (map[string]string, error) {
	out := map[string]string{}
	for name, h := range m.hist {
		b, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
		if err != nil {
			return nil, fmt.Errorf("bench: histogram %s: %w", name, err)
		}
		out[name] = string(b)
	}
	return out, nil
}

func jsonName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	if name == "" {
		return "-"
	}
	return name
}

func joinPath(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
