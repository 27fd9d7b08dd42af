package lab

import (
	"fmt"
	"time"
)

// Options change how scenarios are played.
type Options struct {
	RTT        time.Duration // of the scenarios about latency
	InitialRTO time.Duration // first timeout of fastsyn's SYNs and SYN-ACKs in the scenarios about loss
	Pcap       string        // directory for captures; empty: none are kept
}

// Bounds and defaults of Options.
const (
	DefaultRTT = 100 * time.Millisecond
	minRTT     = 2 * time.Millisecond
	maxRTT     = 500 * time.Millisecond
	DefaultRTO = time.Second
	minRTO     = 50 * time.Millisecond
	maxRTO     = 3 * time.Second
)

// Validate checks the options; the error names the flag.
func (o *Options) Validate() error {
	switch {
	case o.RTT < minRTT || o.RTT > maxRTT:
		return fmt.Errorf("--rtt %v: want %v to %v: less cannot be seen, and from 1s on both ends send again what is only late", o.RTT, minRTT, maxRTT)
	case o.InitialRTO < minRTO || o.InitialRTO > maxRTO:
		return fmt.Errorf("--initial-rto %v: want %v to %v (RFC 6298 says 1s)", o.InitialRTO, minRTO, maxRTO)
	}
	return nil
}

// Scenario is one of the chapter's.
type Scenario struct {
	Name    string // of the command line
	Title   string // one line
	Section string // of the chapter
	Text    string // what it shows, and what to look at
	play    func(*play)
}

// Names lists the names of all scenarios in the order of the chapter.
func Names() (names []string) {
	for _, s := range Scenarios() {
		names = append(names, s.Name)
	}
	return names
}

// find returns the scenario of a name.
func find(name string) (Scenario, bool) {
	for _, s := range Scenarios() {
		if s.Name == name {
			return s, true
		}
	}
	return Scenario{}, false
}
