// Package doctor looks at a machine for what costs fastsyn performance or keeps
// it from working. Each finding says what was found, what it costs, and the command
// that changes it. It changes nothing itself, and reads no secrets.
//
// Everything is read from a file system that holds a root directory, so a test
// can make up a machine; only facts of network devices come from ioctls.
package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// Schema names the form of a Report in JSON. Fields are only added within a version.
const Schema = "fastsyn.doctor/v1"

// Severity is how much a finding matters.
type Severity string

// The severities.
const (
	OK   Severity = "ok"
	Note Severity = "note" // matters to some uses, or a fact to know
	Warn Severity = "warn" // costs performance
	Bad  Severity = "bad"  // something does not work
)

// Finding is the outcome of one check.
type Finding struct {
	Area     string   `json:"area"`
	Check    string   `json:"check"`
	Severity Severity `json:"severity"`
	Found    string   `json:"found"`
	Cost     string   `json:"cost,omitempty"` // what it costs, one clause; "" when ok
	Fix      string   `json:"fix,omitempty"`  // a command, or what to ask for
}

// Report is what Examine returns.
type Report struct {
	Schema   string           `json:"schema"`
	Count    map[Severity]int `json:"count"`
	Findings []Finding        `json:"findings"`
	Errors   []string         `json:"errors"` // checks that failed themselves
}

// Machine is what is examined.
type Machine struct {
	Root fs.FS  // of a Linux system
	Arch string // as GOARCH
	// Device asks a network device, by ioctls.
	Device func(name string) (Device, error)
	// Iface limits the network checks to one interface; "" for all of interest.
	Iface string
}

// examination is one run over a machine.
type examination struct {
	Machine
	area     string
	findings []Finding

	cpus  []int // online
	nodes int
	caps  uint64
}

// The areas, in the order of the report.
var areas = []struct {
	name  string
	check func(*examination) error
}{
	{"cpu", (*examination).cpu},
	{"topology", (*examination).topology},
	{"isolation", (*examination).isolation},
	{"power", (*examination).power},
	{"mitigations", (*examination).mitigations},
	{"virtualisation", (*examination).virtualisation},
	{"memory", (*examination).memory},
	{"privileges", (*examination).privileges},
	{"kernel", (*examination).kernel},
	{"network", (*examination).network},
	{"dpdk", (*examination).dpdk},
}

// Examine runs all checks. A check that fails, as opposed to one that finds
// something, does not keep the others from running; err says which failed.
func Examine(m Machine) (*Report, error) {
	x := &examination{Machine: m}
	r := &Report{Schema: Schema, Count: map[Severity]int{OK: 0, Note: 0, Warn: 0, Bad: 0}, Errors: []string{}}
	var failed error
	for _, a := range areas {
		x.area = a.name
		if err := a.check(x); err != nil {
			err = fmt.Errorf("%s: %w", a.name, err)
			r.Errors = append(r.Errors, err.Error())
			failed = errors.Join(failed, err)
		}
	}
	r.Findings = x.findings
	for _, f := range r.Findings {
		r.Count[f.Severity]++
	}
	return r, failed
}

func (x *examination) add(check string, s Severity, found, cost, fix string) {
	x.findings = append(x.findings, Finding{Area: x.area, Check: check, Severity: s, Found: found, Cost: cost, Fix: fix})
}

func (x *examination) ok(check, format string, args ...any) {
	x.add(check, OK, fmt.Sprintf(format, args...), "", "")
}

// text returns a file without surrounding space, "" if it cannot be read.
func (x *examination) text(name string) string {
	b, err := fs.ReadFile(x.Root, name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// number returns the number in a file, false if there is none.
func (x *examination) number(name string) (int64, bool) {
	n, err := strconv.ParseInt(x.text(name), 10, 64)
	return n, err == nil
}

// names lists a directory, nothing if it is not there.
func (x *examination) names(dir string) []string {
	entries, err := fs.ReadDir(x.Root, dir)
	if err != nil {
		return nil
	}
	out := make([]string, 0, len(entries))
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func (x *examination) exists(name string) bool {
	_, err := fs.Stat(x.Root, name)
	return err == nil
}

// link returns the last element of what a symbolic link points to, "" if it is none.
func (x *examination) link(name string) string {
	to, err := fs.ReadLink(x.Root, name)
	if err != nil {
		return ""
	}
	return path.Base(to)
}

// parseList reads a list of CPUs or nodes such as "0-2,7", cpuset(7).
func parseList(s string) ([]int, error) {
	var out []int
	for part := range strings.SplitSeq(strings.TrimSpace(s), ",") {
		if part == "" {
			continue
		}
		from, to, isRange := strings.Cut(part, "-")
		a, err := strconv.Atoi(from)
		b := a
		if err == nil && isRange {
			b, err = strconv.Atoi(to)
		}
		if err != nil || a < 0 || b < a || b > 1<<16 {
			return nil, fmt.Errorf("list %q: want numbers and ranges such as 0-2,7", s)
		}
		for i := a; i <= b; i++ {
			out = append(out, i)
		}
	}
	return out, nil
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
