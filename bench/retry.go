package bench

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/fastsyn/fastsyn/handshake"
)

// retry is the schedule of Retry, empty where SYNRetries and InitialRTO make it.
func (c *Config) retry() (r handshake.Retry, err error) {
	if c.Retry != handshake.RetryLinux.String() {
		r, err = handshake.ParseRetry(c.Retry)
	}
	return r, err
}

func (c *Config) retryError() error {
	r, err := c.retry()
	if err != nil {
		return flagError("retry", c.Retry, "neither a preset ("+strings.Join(handshake.RetryPresets(), ", ")+") nor waits",
			"give the wait after each copy, such as 1s,2s,4s")
	}
	switch n := len(r.SYN) - 1; {
	case n < 0:
		return nil
	case c.SYNRetries > n:
		return flagError("syn-retries", c.SYNRetries, fmt.Sprintf("the schedule %s has %d repetitions", c.Retry, n), "leave it out, or give a longer schedule to --retry")
	case c.InitialRTO != 0 && c.InitialRTO != time.Second:
		return flagError("initial-rto", c.InitialRTO, "--retry "+c.Retry+" has waits of its own", "leave one of them out")
	}
	return nil
}

// retrySchedule is the time from a SYN to the timeout of its last repetition
// (RTX-002): 127 s with the defaults.
func (c *Config) retrySchedule() time.Duration { return c.waits().Total() }

// waits are those after each copy of a SYN, as the engine makes them of the same settings.
func (c *Config) waits() handshake.Schedule {
	r, _ := c.retry() // normalize has checked it
	if r.SYN == nil {
		n := cmp.Or(c.SYNRetries, 6)
		return handshake.Backoff(cmp.Or(c.InitialRTO, time.Second), 120*time.Second, max(n, 0))
	}
	if n := c.SYNRetries; n != 0 {
		r.SYN = r.SYN[:max(n, 0)+1]
	}
	return r.SYN
}
