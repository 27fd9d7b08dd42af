package hugepages

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// StateDir is where reservations are remembered by default. It is on a tmpfs, so
// it forgets at a reboot, as the pools do.
const StateDir = "/run/fastsyn/hugepages"

// recordSchema is the form of the files in it.
const recordSchema = "fastsyn.hugepages.reservation/v1"

// AnyNode asks for pages on whatever NUMA nodes the kernel chooses.
const AnyNode = -1

// Reservation is what one call of Reserve added to a pool.
type Reservation struct {
	Schema    string      `json:"schema"`
	ID        string      `json:"id"`
	PageBytes uint64      `json:"page_bytes"`
	Node      int         `json:"node"` // as asked, or AnyNode
	Asked     uint64      `json:"asked_pages"`
	Shares    []NodeShare `json:"shares"` // what is still ours
	Mount     *MadeMount  `json:"mount,omitempty"`
	Owner     Owner       `json:"owner"`
	Since     time.Time   `json:"since"`
	// Pending: written before the pool was changed. Only a process that died in
	// between leaves it set; what it added is then taken from the pool's growth.
	Pending bool `json:"pending"`
	// Life is not stored: it is found out when read.
	Life Life `json:"life,omitempty"`
	// Short says why fewer pages came than were asked for, "" if all did.
	Short string `json:"short,omitempty"`
}

// NodeShare is the part of a reservation on one NUMA node.
type NodeShare struct {
	Node   int    `json:"node"` // AnyNode where the kernel shows no nodes
	Pages  uint64 `json:"pages"`
	Before uint64 `json:"before_pages"` // the pool then, without surplus
	Others uint64 `json:"others_pages"` // of these, not reserved by fastsyn: never taken away
}

// MadeMount is a hugetlbfs that we mounted, and therefore unmount.
type MadeMount struct {
	Path    string `json:"path"`
	Device  string `json:"device"` // major:minor, to recognise it by
	MadeDir bool   `json:"made_directory"`
}

// Pages returns how many pages are still ours.
func (r *Reservation) Pages() uint64 {
	var n uint64
	for _, s := range r.Shares {
		n += s.Pages
	}
	return n
}

// String describes the reservation, as in "512 pages of 2 MiB on node 0".
func (r *Reservation) String() string {
	s := fmt.Sprintf("%d pages of %s", r.Pages(), BytesText(r.PageBytes))
	var on []string
	for _, share := range r.Shares {
		if share.Pages > 0 && share.Node != AnyNode {
			on = append(on, fmt.Sprintf("%d", share.Node))
		}
	}
	if len(on) > 0 {
		s += " on node " + strings.Join(on, ",")
	}
	return s
}

// recordsFS reads the reservations remembered in dir, oldest first. It returns
// those that can be read, whatever is wrong with others.
func recordsFS(root fs.FS, dir string) ([]Reservation, error) {
	files, err := fs.ReadDir(root, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("hugepages: reservations: %w", err)
	}
	var out []Reservation
	var bad error
	for _, f := range files {
		if path.Ext(f.Name()) != ".json" {
			continue
		}
		b, err := fs.ReadFile(root, path.Join(dir, f.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue // released meanwhile
		}
		if err != nil {
			bad = errors.Join(bad, fmt.Errorf("hugepages: reservations: %w", err))
			continue
		}
		var r Reservation
		if err := json.Unmarshal(b, &r); err != nil {
			bad = errors.Join(bad, fmt.Errorf("hugepages: reservation %s: %w: delete it, and set nr_hugepages by hand", path.Join("/", dir, f.Name()), err))
			continue
		}
		if r.Schema != recordSchema {
			bad = errors.Join(bad, fmt.Errorf("hugepages: reservation %s: schema %q, want %q: release it with the version of fastsyn that made it", path.Join("/", dir, f.Name()), r.Schema, recordSchema))
			continue
		}
		r.ID = strings.TrimSuffix(f.Name(), ".json")
		out = append(out, r)
	}
	for i := 1; i < len(out); i++ { // few, and mostly in order
		for j := i; j > 0 && out[j].Since.Before(out[j-1].Since); j-- {
			out[j], out[j-1] = out[j-1], out[j]
		}
	}
	return out, bad
}

// writeRecord replaces the file of r at once, so that no reader sees half of it.
func writeRecord(dir string, r *Reservation) error {
	c := *r
	c.Life, c.Short = "", ""
	b, err := json.MarshalIndent(&c, "", "  ")
	if err != nil {
		return fmt.Errorf("hugepages: reservation %s: %w", r.ID, err)
	}
	name := filepath.Join(dir, r.ID+".json")
	if err := os.WriteFile(name+".new", append(b, '\n'), 0o644); err != nil {
		return fmt.Errorf("hugepages: remember reservation: %w", err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		return fmt.Errorf("hugepages: remember reservation: %w", err)
	}
	return nil
}

func removeRecord(dir string, r *Reservation) error {
	if err := os.Remove(filepath.Join(dir, r.ID+".json")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("hugepages: forget reservation: %w", err)
	}
	return nil
}
