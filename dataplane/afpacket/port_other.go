//go:build !linux

package afpacket

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/fastsyn/fastsyn/dataplane"
)

// Port is an opened interface. It exists on Linux only.
type Port struct{}

// Open fails: AF_PACKET is a Linux socket family.
func Open(cfg Config) (*Port, error) {
	if err := cfg.normalize(); err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("afpacket: %s: AF_PACKET sockets do not exist on %s: use the loop: driver here, or run on Linux: %w",
		cfg.Interface, runtime.GOOS, errors.ErrUnsupported)
}

// Info returns the zero Info.
func (p *Port) Info() dataplane.Info { return dataplane.Info{Driver: "afpacket"} }

// Queue returns nil: there is no opened Port to call it on.
func (p *Port) Queue(int) dataplane.Queue { return nil }

// Stats returns zeros.
func (p *Port) Stats(int) dataplane.Stats { return dataplane.Stats{} }

// Close does nothing.
func (p *Port) Close() error { return nil }
