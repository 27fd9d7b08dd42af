package flow

// Chain is a run of text in blocks of a Pool, linked in order. It owns its
// blocks; of two copies one is to be forgotten. The zero value is empty. No block of it is without text.
type Chain struct {
	First, Last Block
	Len         uint32 // bytes of text
	Blocks      uint32
}

// Append copies text to the end of c, into what is left of its last block and
// then into new ones, of which it takes none of the last keep that the pool has.
// It returns how many bytes it took: less than all of it when blocks are short.
func (p *Pool) Append(c *Chain, text []byte, keep int) int {
	taken := 0
	if c.Last != 0 {
		h := &p.hdr[c.Last]
		taken = copy(p.Bytes(c.Last)[int(h.off)+int(h.n):], text)
		h.n += uint16(taken)
	}
	for taken < len(text) && p.Left() > keep {
		b, _ := p.Get()
		n := copy(p.Bytes(b), text[taken:])
		p.hdr[b].n = uint16(n)
		p.link(c, b, b)
		c.Blocks++
		taken += n
	}
	c.Len += uint32(taken)
	return taken
}

// link puts the blocks from first to last behind those of c.
func (p *Pool) link(c *Chain, first, last Block) {
	if c.First == 0 {
		c.First = first
	} else {
		p.hdr[c.Last].next = first
	}
	c.Last = last
}

// Concat moves the text of d to the end of c without copying it, and leaves d empty.
func (p *Pool) Concat(c, d *Chain) {
	if d.First != 0 {
		p.link(c, d.First, d.Last)
		c.Len += d.Len
		c.Blocks += d.Blocks
		*d = Chain{}
	}
}

// Drop removes the first n bytes of c, or all of it if there are fewer, and
// returns the blocks that become empty.
func (p *Pool) Drop(c *Chain, n uint32) {
	if n >= c.Len {
		p.Release(c)
		return
	}
	c.Len -= n
	for {
		h := &p.hdr[c.First]
		if n < uint32(h.n) {
			h.off += uint16(n)
			h.n -= uint16(n)
			return
		}
		n -= uint32(h.n)
		b := c.First
		c.First = h.next
		c.Blocks--
		p.Put(b)
	}
}

// Release returns all blocks of c, which is empty then.
func (p *Pool) Release(c *Chain) {
	for b := c.First; b != 0; {
		next := p.hdr[b].next
		p.Put(b)
		b = next
	}
	*c = Chain{}
}
