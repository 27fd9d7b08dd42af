package flow

import (
	"fmt"

	"github.com/fastsyn/fastsyn/hugepages"
)

// BlockSize is the text that a block holds, in bytes: a full Ethernet segment.
const BlockSize = 2048

// MaxBlocks is the largest pool, 1 TiB.
const MaxBlocks = 1 << 29

// Block is a block of a Pool. The zero value is no block.
type Block uint32

// header is what the pool knows of a block in use.
type header struct {
	next   Block
	off, n uint16 // text is bytes [off, off+n)
}

// Pool is the text memory of one core: blocks of BlockSize, a fixed number of
// them. It belongs to one goroutine. Blocks are not zeroed between owners.
type Pool struct {
	arena   *hugepages.Arena
	data    []byte
	hdr     []header // by Block
	free    freeList
	refused uint64
}

// NewPool makes a pool of n blocks, 1 to MaxBlocks, that stand on pages as opts
// asks. Unless they come from the hugetlb pool they are address space until they
// are touched.
func NewPool(n int, opts hugepages.Options) (*Pool, error) {
	if n < 1 || n > MaxBlocks {
		return nil, fmt.Errorf("flow: a pool of %d blocks: 1 to %d are possible", n, MaxBlocks)
	}
	p := &Pool{}
	size := 0
	for _, f := range []func() (int, error){
		func() (int, error) { return hugepages.SizeFor[byte](n * BlockSize) },
		func() (int, error) { return hugepages.SizeFor[header](n + 1) },
		func() (int, error) { return hugepages.SizeFor[uint32](n + 1) },
	} {
		s, err := f()
		if err != nil {
			return nil, fmt.Errorf("flow: a pool of %d blocks: %w", n, err)
		}
		size += s
	}
	arena, err := hugepages.Alloc(size, opts)
	if err != nil {
		return nil, fmt.Errorf("flow: memory for %d blocks of text: %w", n, err)
	}
	p.arena = arena
	var link []uint32
	p.data, err = hugepages.Slice[byte](arena, n*BlockSize)
	if err == nil {
		p.hdr, err = hugepages.Slice[header](arena, n+1)
	}
	if err == nil {
		link, err = hugepages.Slice[uint32](arena, n+1)
	}
	if err != nil {
		_ = arena.Free()
		return nil, fmt.Errorf("flow: memory for %d blocks of text: %w", n, err)
	}
	p.free = newFreeList(link)
	return p, nil
}

// Get takes a block out of the pool, empty and linked to none. It returns false
// when all are in use, which Refused counts: the caller drops what the peer sends again,
// or has its application wait.
func (p *Pool) Get() (Block, bool) {
	i := p.free.get()
	if i == 0 {
		p.refused++
		return 0, false
	}
	p.hdr[i] = header{}
	return Block(i), true
}

// Put returns one block, whatever it is linked to. It panics if b is not in use.
func (p *Pool) Put(b Block) {
	p.free.put(uint32(b))
	if raceBuild {
		poison(p.Bytes(b))
	}
}

// poison overwrites text that nobody should look at any more.
func poison(b []byte) {
	for i := range b {
		b[i] = 0xdb
	}
}

// Bytes returns the memory of b, BlockSize bytes, whatever of it is text.
func (p *Pool) Bytes(b Block) []byte {
	i := (int(b) - 1) * BlockSize
	return p.data[i : i+BlockSize : i+BlockSize]
}

// Text returns the part of b that holds text. It is valid until b is returned.
func (p *Pool) Text(b Block) []byte {
	h := &p.hdr[b]
	i := (int(b)-1)*BlockSize + int(h.off)
	return p.data[i : i+int(h.n) : i+int(h.n)]
}

// SetText says that bytes [off, off+n) of b are its text.
func (p *Pool) SetText(b Block, off, n int) {
	_ = p.Bytes(b)[off : off+n]
	h := &p.hdr[b]
	h.off, h.n = uint16(off), uint16(n)
}

// Next returns the block that b is linked to, 0 if none.
func (p *Pool) Next(b Block) Block { return p.hdr[b].next }

// SetNext links b to next.
func (p *Pool) SetNext(b, next Block) { p.hdr[b].next = next }

// Blocks is how many blocks there are.
func (p *Pool) Blocks() int { return len(p.hdr) - 1 }

// InUse is how many blocks are out.
func (p *Pool) InUse() int { return int(p.free.used) }

// Left is how many blocks Get can still return.
func (p *Pool) Left() int { return p.free.left() }

// HighMark is the most blocks that were out at a time.
func (p *Pool) HighMark() int { return int(p.free.high) }

// Refused counts the calls of Get that found no block.
func (p *Pool) Refused() uint64 { return p.refused }

// Populate brings the pool into memory, see hugepages.Populate. Without it the
// first touch of a huge page can take milliseconds.
func (p *Pool) Populate() error {
	err := hugepages.Populate(p.data)
	if err == nil {
		err = hugepages.Populate(p.hdr)
	}
	if err == nil {
		err = hugepages.Populate(p.free.link)
	}
	if err != nil {
		return fmt.Errorf("flow: memory for %d blocks of text: %w", p.Blocks(), err)
	}
	return nil
}

// Memory says how large the pool is and what pages it stands on, for reports.
func (p *Pool) Memory() string { return p.arena.String() }

// Free returns the memory. Neither the pool nor a block of it may be used afterwards.
func (p *Pool) Free() error { return p.arena.Free() }
