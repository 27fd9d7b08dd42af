package page

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/fastsyn/fastsyn/bench"
)

// sums are the equations of the report.
type sums struct {
	Rows []sum
	More int
	Open int // that do not close
}

type sum struct {
	Name, Left, Right, By string
	Holds                 bool
}

func newSums(list []bench.Equation) *sums {
	if len(list) == 0 {
		return nil
	}
	s := &sums{}
	// Those that do not close are what one looks for.
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b bench.Equation) int {
		return cmp.Compare(btoi(a.Holds), btoi(b.Holds))
	})
	for _, e := range list {
		if !e.Holds {
			s.Open++
		}
	}
	list, s.More = head(list, maxRows)
	for _, e := range list {
		v := sum{Name: clip(e.Name), Left: count(e.Left), Right: count(e.Right), Holds: e.Holds}
		if !e.Holds {
			v.By = "+" + count(e.Left-min(e.Left, e.Right))
			if e.Left < e.Right {
				v.By = "−" + count(e.Right-e.Left)
			}
		}
		s.Rows = append(s.Rows, v)
	}
	return s
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// newGroups are environment and configuration.
func newGroups(r *bench.Report) []group {
	h := &r.Host
	host := group{Title: "Host"}
	host.text("CPU", h.CPU)
	host.number("CPUs", int64(h.Cores))
	host.text("kernel", h.Kernel)
	host.text("hypervisor", h.Virtual)
	host.text("governor", h.Governor)
	host.text("isolated CPUs", h.Isolated)
	host.text("Go", h.Go)
	host.text("commit", h.Commit)
	n := &h.NIC
	nic := group{Title: "Device"}
	nic.text("driver", n.Driver)
	nic.text("device", n.Device)
	nic.text("kernel driver", n.Kernel)
	if n.SpeedMbS > 0 {
		nic.text("speed", count(uint64(n.SpeedMbS))+" Mbit/s")
	}
	nic.number("MTU", int64(n.MTU))
	nic.number("queues", int64(n.Queues))
	for _, k := range slices.Sorted(maps.Keys(n.Offloads)) {
		nic.text(k, n.Offloads[k])
	}
	mitigations := group{Title: "Mitigations"}
	for _, k := range slices.Sorted(maps.Keys(h.Mitigations)) {
		mitigations.text(k, h.Mitigations[k])
	}
	config := group{Title: "Configuration"}
	for _, k := range slices.Sorted(maps.Keys(r.Config)) {
		config.text(k, strings.Join(values(r.Config[k]), ", "))
	}
	run := group{Title: "Run"}
	run.text("polling", r.Polling)
	run.text("pinned", strconv.FormatBool(r.Pinned))
	run.text("seed", strconv.FormatUint(r.Seed, 10))
	if r.CPUSeconds > 0 {
		run.text("processor time", trim(r.CPUSeconds, 2)+" s while sending")
	}
	run.text("frames received", count(r.Frames.RX))
	run.text("frames sent", count(r.Frames.TX))
	return kept(host, nic, run, config, mitigations)
}

func (g *group) text(name, value string) {
	if value != "" {
		g.Pairs = append(g.Pairs, pair{clip(name), clip(value)})
	}
}

func (g *group) number(name string, n int64) {
	if n != 0 {
		g.text(name, strconv.FormatInt(n, 10))
	}
}

// kept are the groups that are not empty, bounded.
func kept(groups ...group) []group {
	var out []group
	for _, g := range groups {
		if len(g.Pairs) > 0 {
			g.Pairs, g.More = head(g.Pairs, maxRows)
			out = append(out, g)
		}
	}
	return out
}

// newCounters are all counters that are not zero.
func newCounters(r *bench.Report) []group {
	side := func(name string, s *bench.Side) []group {
		var out []group
		for _, m := range []struct {
			title string
			m     map[string]uint64
		}{{"engine", s.Counters}, {"port", s.PortJSON}, {"streams", s.StreamCounters}, {"device", s.Device}} {
			g := group{Title: name + ", " + m.title}
			for _, k := range slices.Sorted(maps.Keys(m.m)) {
				if m.m[k] != 0 {
					g.text(k, count(m.m[k]))
				}
			}
			out = append(out, g)
		}
		return out
	}
	all := side("Client", &r.Client)
	if r.Server != nil {
		all = append(all, side("Server", r.Server)...)
	}
	return kept(all...)
}

// values are a setting as text, one for each time its flag is given.
func values(v any) []string {
	switch v := v.(type) {
	case nil:
		return nil
	case string:
		return []string{v}
	case []string:
		return v
	case []any:
		var out []string
		for _, e := range v {
			out = append(out, values(e)...)
		}
		return out
	case float64:
		return []string{strconv.FormatFloat(v, 'f', -1, 64)}
	case bool, int, int64, uint64, uint, json.Number, fmt.Stringer:
		return []string{fmt.Sprint(v)}
	}
	b, err := json.Marshal(v)
	if err != nil {
		return []string{fmt.Sprint(v)}
	}
	return []string{string(b)}
}

// maxCommand bounds a command line, in bytes.
const maxCommand = 4000

// command is the command line that has these settings; empty without any, and if it cannot be shown
// as it is: cut, it would be another one.
func command(config map[string]any) string {
	if len(config) == 0 {
		return ""
	}
	names := slices.Sorted(maps.Keys(config))
	// What is measured comes first, as a person would write it.
	first := []string{"scenario", "port", "connect"}
	slices.SortStableFunc(names, func(a, b string) int {
		rank := func(s string) int {
			if i := slices.Index(first, s); i >= 0 {
				return i
			}
			return len(first)
		}
		return cmp.Compare(rank(a), rank(b))
	})
	out := "fastsyn bench"
	for _, name := range names {
		list := values(config[name])
		if config[name] == true {
			list = []string{""}
		}
		for _, v := range list {
			if len(out)+len(name)+len(v) > maxCommand {
				return ""
			}
			if config[name] == true {
				out += " --" + quote(name)
				continue
			}
			sep := " "
			if config[name] == false || strings.HasPrefix(v, "-") {
				sep = "="
			}
			out += " --" + quote(name) + sep + quote(v)
		}
	}
	if !utf8.ValidString(out) || strings.ContainsFunc(out, hidden) {
		return ""
	}
	return out
}

// quote makes s one word of a POSIX shell.
func quote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:,@+=", r)
	}
	if s != "" && strings.TrimFunc(s, plain) == "" && !strings.ContainsFunc(s, func(r rune) bool { return !plain(r) }) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
