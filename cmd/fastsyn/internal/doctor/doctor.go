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
	"os"
	"runtime"

	"github.com/fastsyn/fastsyn/internal/ethtool"
	"github.com/fastsyn/fastsyn/internal/sysfs"
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
	// Device asks a network device, as ethtool.Ask does.
	Device func(name string) (ethtool.Device, error)
	// DPDK is what this program was built with, such as "DPDK 22.11.11", "" if without.
	DPDK string
	// Iface limits the network checks to one interface; "" for all of interest.
	Iface string
}

// Local returns the machine that this process runs on.
func Local() (Machine, error) {
	if runtime.GOOS != "linux" {
		return Machine{}, fmt.Errorf("doctor: the checks read /proc and /sys of Linux: %w here", errors.ErrUnsupported)
	}
	return Machine{Root: os.DirFS("/"), Arch: runtime.GOARCH, Device: ethtool.Ask}, nil
}

// examination is one run over a machine.
type examination struct {
	Machine
	sysfs.Tree
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
	x := &examination{Machine: m, Tree: sysfs.Tree{FS: m.Root}}
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
