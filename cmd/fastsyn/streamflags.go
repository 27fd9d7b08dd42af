package main

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fastsyn/fastsyn"
	"github.com/fastsyn/fastsyn/dataplane/flow"
)

// streamFlags are the flags of serve about the streams of established flows;
// docs/serve.md explains them.
type streamFlags struct {
	window, send, memory   int
	keepAlive, userTimeout time.Duration
	nagle                  bool
}

// streamFlagNames are their names, in the order of the help.
var streamFlagNames = []string{"rcv-window", "send-buffer", "text-memory", "keep-alive", "user-timeout", "nagle"}

func (o *streamFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.Var(sizeFlag{n: &o.window}, "rcv-window", "receive window of each flow, and so what a peer may send that is not read yet (default 256K)")
	f.Var(sizeFlag{n: &o.send}, "send-buffer", "text of each flow that waits for its peer's ACK, at most (default 1M)")
	f.Var(sizeFlag{n: &o.memory}, "text-memory", "text of all flows of a worker, waiting to be sent, acknowledged or put in order (default 256M)")
	f.DurationVar(&o.keepAlive, "keep-alive", 0, "probe a peer that has been silent for so long, then each 75 s, and reset the flow after 9 probes (0: never)")
	f.DurationVar(&o.userTimeout, "user-timeout", 0, "reset a flow whose peer has not acknowledged anything for so long (RFC 5482; 0: after 15 retransmissions)")
	f.BoolVar(&o.nagle, "nagle", false, "hold back short segments while text is in flight (RFC 896)")
}

// apply checks the flags and puts them into cfg.
func (o *streamFlags) apply(cfg *fastsyn.Config) error {
	if o.window != 0 {
		if least, most := 1460, 65535<<14; o.window < least || o.window > most {
			return usagef("--rcv-window %d: want %d to %d bytes (RFC 7323 §2.3)", o.window, least, most)
		}
		cfg.Engine.RcvWindow = o.window
	}
	if o.keepAlive < 0 {
		return usagef("--keep-alive %v: want a time, 0 for never", o.keepAlive)
	}
	// Each by itself, so that an error can name the flag.
	for _, f := range []struct {
		name string
		c    flow.Config
	}{
		{"send-buffer", flow.Config{SendBuffer: o.send}},
		{"text-memory", flow.Config{Memory: o.memory}},
		{"keep-alive", flow.Config{KeepAlive: o.keepAlive != 0, KeepAliveIdle: o.keepAlive}},
		{"user-timeout", flow.Config{UserTimeout: o.userTimeout}},
	} {
		if err := f.c.Validate(); err != nil {
			return usagef("--%s: %w", f.name, err)
		}
	}
	cfg.Flow = flow.Config{
		SendBuffer: o.send, Memory: o.memory, Nagle: o.nagle,
		KeepAlive: o.keepAlive != 0, KeepAliveIdle: o.keepAlive, UserTimeout: o.userTimeout,
	}
	return nil
}

// sizeFlag reads a number of bytes, with K, M or G for 2 to the 10th, 20th and 30th.
type sizeFlag struct {
	n    *int
	zero bool // 0 is a size as well
}

func (f sizeFlag) Type() string { return "bytes" }

func (f sizeFlag) String() string {
	if f.n == nil || *f.n < 0 || *f.n == 0 && !f.zero {
		return ""
	}
	return strconv.Itoa(*f.n)
}

var errSize = errors.New("want a number of bytes such as 65536, 64K, 256M or 1G")

func (f sizeFlag) Set(s string) error {
	digits, shift := s, 0
	if i := strings.IndexAny("KMG", strings.ToUpper(s[max(len(s)-1, 0):])); s != "" && i >= 0 {
		digits, shift = s[:len(s)-1], 10*(i+1)
	}
	n, err := strconv.ParseUint(digits, 10, 62)
	if err != nil || n == 0 && !f.zero || n > math.MaxInt>>shift {
		return fmt.Errorf("%q: %w", s, errSize)
	}
	*f.n = int(n << shift)
	return nil
}
