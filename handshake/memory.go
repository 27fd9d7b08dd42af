package handshake

import (
	"fmt"

	"github.com/fastsyn/fastsyn/hugepages"
)

// allocate carves the tables for n flows: 64 bytes of record and 8 of hash
// table each, and 32 more where the addresses of an IPv6 flow lie, which stay out of memory
// until there are some. All of it is address space until it is touched.
func (e *Engine) allocate(n int) error {
	records := n + 1 // index 0 is nil
	size := 0
	for _, f := range []func() (int, error){
		func() (int, error) { return hugepages.SizeFor[record](records) },
		func() (int, error) { return hugepages.SizeFor[bucket](tableBuckets(n)) },
		func() (int, error) { return hugepages.SizeFor[addrs6](records) },
	} {
		s, err := f()
		if err != nil {
			return err
		}
		size += s
	}
	arena, err := hugepages.Alloc(size, hugepages.Options{NoTHP: e.cfg.noHugePages})
	if err != nil {
		return err
	}
	e.arena = arena
	e.recs, err = hugepages.Slice[record](arena, records)
	if err == nil {
		e.tab.buckets, err = hugepages.Slice[bucket](arena, tableBuckets(n))
	}
	if err == nil {
		e.addr6, err = hugepages.Slice[addrs6](arena, records)
	}
	if err != nil {
		_ = arena.Free()
	}
	return err
}

// Populate brings the tables into memory, those of IPv6 addresses only if v6
// is set. Call it before the first burst, from the thread that will run the engine, so that
// the memory lies on its NUMA node. Without it the first flows pay: the first
// touch of a huge page can take milliseconds (adr 0017).
func (e *Engine) Populate(v6 bool) error {
	err := hugepages.Populate(e.recs)
	if err == nil {
		err = hugepages.Populate(e.tab.buckets)
	}
	if err == nil && v6 {
		err = hugepages.Populate(e.addr6)
	}
	if err != nil {
		return fmt.Errorf("handshake: memory for %d flows: %w", e.cfg.MaxFlows, err)
	}
	return nil
}

// Free returns the memory of the tables. The engine must not be used afterwards.
func (e *Engine) Free() error { return e.arena.Free() }

// MemoryBytes is the size of the tables, as Populate has them in memory at most.
func (e *Engine) MemoryBytes() int { return e.arena.Size() }

// Memory says how large the tables are and what pages they stand on, for reports.
func (e *Engine) Memory() string { return e.arena.String() }
