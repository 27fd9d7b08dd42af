//go:build !dpdk || !cgo || !linux

package dpdk

import (
	"errors"
	"fmt"

	"github.com/fastsyn/fastsyn/dataplane"
)

// Port is an opened device. In this build there are none.
type Port struct{}

// Available says why this build has no DPDK.
func Available() error {
	return fmt.Errorf("this program was built without DPDK: install libdpdk-dev and pkg-config, then build with CGO_ENABLED=1 go build -tags dpdk ./cmd/fastsyn (docs/dpdk.md): %w", errors.ErrUnsupported)
}

// Open fails: this build has no DPDK.
func Open(cfg Config) (*Port, error) {
	if err := cfg.normalize(); err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("dpdk: %s: %w", cfg.Device, Available())
}

// Devices fails: this build has no DPDK.
func Devices(EALConfig, ...string) ([]Device, error) {
	return nil, fmt.Errorf("dpdk: %w", Available())
}

// Version is "": this build has no DPDK.
func Version() string { return "" }

// Shutdown does nothing.
func Shutdown() error { return nil }

// Info returns the zero Info.
func (p *Port) Info() dataplane.Info { return dataplane.Info{Driver: "dpdk"} }

// Queue returns nil: there is no opened Port to call it on.
func (p *Port) Queue(int) dataplane.Queue { return nil }

// Stats returns zeros.
func (p *Port) Stats(int) dataplane.Stats { return dataplane.Stats{} }

// Close does nothing.
func (p *Port) Close() error { return nil }

// Adopt fails: this build has no DPDK.
func Adopt(a Adoption) (*Port, error) {
	return nil, fmt.Errorf("dpdk: port %d: %w", a.Port, Available())
}
