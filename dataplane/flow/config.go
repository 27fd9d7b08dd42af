package flow

import (
	"fmt"
	"time"
)

// Config is the constant set-up of a Table. The zero value of each field means the
// default named beside it.
type Config struct {
	// Memory is the text that the flows of a core hold in total, in bytes: to be
	// sent, to be acknowledged, and received out of order. Default 256 MiB, which is address
	// space until it is used.
	Memory int
	// SendBuffer is the text that one flow takes from its application beyond what is
	// acknowledged. Default 1 MiB.
	SendBuffer int
	// Statics is how many texts may be under way at a time that WriteStatic gave. Default 65536.
	Statics int
	Held    HoldLimits

	// AckDelay is how long an ACK waits for text to go with it. Default 40 ms; negative:
	// not at all; at most MaxAckDelay.
	AckDelay time.Duration
	// Nagle holds back what does not fill a segment while something is in flight
	// (RFC 896). Off by default, as with package net; Table.SetNoDelay sets it for one flow.
	Nagle bool
	// KeepAlive has flows probe a silent peer from the beginning, see Table.SetKeepAlive, after
	// KeepAliveIdle without a segment, each KeepAliveInterval, and gives it up after
	// KeepAliveProbes of them. Defaults: off, 2 h, 75 s, 9 (KAL-001).
	KeepAlive                        bool
	KeepAliveIdle, KeepAliveInterval time.Duration
	KeepAliveProbes                  int
	// Retries is how many times in a row the retransmission timer may expire before the
	// flow is given up (R2 of §3.8.3). Default 15, which is a quarter of an hour (DAT-007).
	Retries int
	// UserTimeout ends a flow whose text, FIN or probe of a closed window is not answered
	// for so long (RFC 5482; KAL-005). Default 0: Retries alone.
	UserTimeout time.Duration
}

// Defaults of Config.
const (
	DefaultMemory     = 256 << 20
	DefaultSendBuffer = 1 << 20
)

// Validate says what is wrong with c, naming the field.
func (c Config) Validate() error {
	_, err := c.withDefaults()
	return err
}

func (c Config) withDefaults() (Config, error) {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	defD := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	def(&c.Memory, DefaultMemory)
	if c.Memory < 64*BlockSize || c.Memory > MaxBlocks*BlockSize {
		return c, fmt.Errorf("flow: Memory %d: want %d..%d bytes", c.Memory, 64*BlockSize, MaxBlocks*BlockSize)
	}
	def(&c.SendBuffer, DefaultSendBuffer)
	if c.SendBuffer < BlockSize || c.SendBuffer > maxSend {
		return c, fmt.Errorf("flow: SendBuffer %d: want %d..%d bytes", c.SendBuffer, BlockSize, maxSend)
	}
	def(&c.Statics, 65536)
	if c.Statics < 1 || c.Statics > 1<<26 {
		return c, fmt.Errorf("flow: Statics %d: want 1..%d", c.Statics, 1<<26)
	}
	defD(&c.AckDelay, 40*time.Millisecond)
	if c.AckDelay > MaxAckDelay*time.Microsecond {
		return c, fmt.Errorf("flow: AckDelay %v: want at most %v (RFC 9293 §3.8.6.3)", c.AckDelay, MaxAckDelay*time.Microsecond)
	}
	c.AckDelay = max(c.AckDelay, 0)
	defD(&c.KeepAliveIdle, 2*time.Hour)
	defD(&c.KeepAliveInterval, 75*time.Second)
	def(&c.KeepAliveProbes, 9)
	const day = 24 * time.Hour
	if c.KeepAliveIdle < time.Second || c.KeepAliveIdle > 20*day || c.KeepAliveInterval < time.Second || c.KeepAliveInterval > 20*day ||
		c.KeepAliveProbes < 1 || c.KeepAliveProbes > 127 {
		return c, fmt.Errorf("flow: keep-alive after %v, each %v, %d probes: want 1 s to 20 days, and 1 to 127 probes",
			c.KeepAliveIdle, c.KeepAliveInterval, c.KeepAliveProbes)
	}
	def(&c.Retries, 15)
	if c.Retries < 1 || c.Retries > 255 {
		return c, fmt.Errorf("flow: Retries %d: want 1..255", c.Retries)
	}
	if c.UserTimeout < 0 || c.UserTimeout > maxUserTimeout {
		return c, fmt.Errorf("flow: UserTimeout %v: want 0 (none) to %v", c.UserTimeout, maxUserTimeout)
	}
	return c, nil
}

// A user timeout is kept in tenths of a second.
const (
	userTick       = 100 * time.Millisecond
	maxUserTimeout = 65535 * userTick
)
