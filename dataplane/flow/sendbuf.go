package flow

import (
	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// maxSend is the most text that a flow holds, so that sequence numbers in it compare.
const maxSend = 1 << 30

// staticBit marks a Block that stands for an entry of sendPool.static.
const staticBit Block = 1 << 31

// static is immutable text of the application that a flow sends from where it lies.
type static struct {
	text []byte
	next Block
}

// sendPool is the memory behind the send buffers of one core: the blocks of a
// Pool, which it shares with the receive side, and a table of static texts, which is
// the only place of a core's flows with Go pointers.
type sendPool struct {
	pool   *Pool
	static []static
	free   freeList
}

// newSendPool makes room for n static texts at a time.
func newSendPool(pool *Pool, n int) *sendPool {
	return &sendPool{pool: pool, static: make([]static, n+1), free: newFreeList(make([]uint32, n+1))}
}

// sendbuf is the text that a flow has taken from its application and the peer has not
// acknowledged: a chain of blocks, which the flow owns, and static texts in between.
// It begins at SND.UNA; what of it is sent is not its business. 28 bytes, pointer-free; the
// zero value, but for una, is empty.
type sendbuf struct {
	first, last Block
	una         wire.Seq // of the first byte
	size        uint32
	blocks      uint32 // of the pool
	// The furthest piece looked at: new text is sent from there, and retransmissions, which are near the
	// beginning, look for theirs from the first.
	cur    Block
	curSeq wire.Seq
}

// end is the sequence number after the last byte.
func (b *sendbuf) end() wire.Seq { return b.una + wire.Seq(b.size) }

// append copies text to the end of b, with at most limit blocks in b and so that
// the pool keeps keep. It returns how many bytes it took.
func (p *sendPool) append(b *sendbuf, text []byte, limit uint32, keep int) int {
	text = text[:min(len(text), maxSend-int(b.size))]
	taken := 0
	if b.last != 0 && b.last&staticBit == 0 {
		h := &p.pool.hdr[b.last]
		taken = copy(p.pool.Bytes(b.last)[int(h.off)+int(h.n):], text)
		h.n += uint16(taken)
	}
	for taken < len(text) && b.blocks < limit && p.pool.Left() > keep {
		k, _ := p.pool.Get()
		n := copy(p.pool.Bytes(k), text[taken:])
		p.pool.SetText(k, 0, n)
		p.link(b, k)
		b.blocks++
		taken += n
	}
	b.size += uint32(taken)
	return taken
}

// appendStatic puts text at the end of b without copying it: it must not change
// until the peer has acknowledged it or the flow is closed. It takes all or nothing,
// and nothing when the table of static texts or b is full.
func (p *sendPool) appendStatic(b *sendbuf, text []byte) bool {
	if len(text) == 0 {
		return true
	}
	if len(text) > maxSend-int(b.size) {
		return false
	}
	i := p.free.get()
	if i == 0 {
		return false
	}
	p.static[i] = static{text: text}
	p.link(b, staticBit|Block(i))
	b.size += uint32(len(text))
	return true
}

func (p *sendPool) link(b *sendbuf, k Block) {
	switch {
	case b.last == 0:
		b.first = k
	case b.last&staticBit != 0:
		p.static[b.last&^staticBit].next = k
	default:
		p.pool.SetNext(b.last, k)
	}
	b.last = k
}

// piece returns the text of k and what follows it.
func (p *sendPool) piece(k Block) ([]byte, Block) {
	if k&staticBit != 0 {
		s := &p.static[k&^staticBit]
		return s.text, s.next
	}
	return p.pool.Text(k), p.pool.Next(k)
}

// find returns the text of b from seq to the end of its piece, and the piece after it.
func (p *sendPool) find(b *sendbuf, seq wire.Seq) ([]byte, Block) {
	if uint32(seq-b.una) >= b.size {
		return nil, 0
	}
	k, at := b.first, b.una
	forward := b.cur == 0 || b.curSeq.LessEq(seq)
	if b.cur != 0 && forward {
		k, at = b.cur, b.curSeq
	}
	for {
		text, next := p.piece(k)
		if off := uint32(seq - at); off < uint32(len(text)) {
			if forward {
				b.cur, b.curSeq = k, at
			}
			return text[off:], next
		}
		at += wire.Seq(len(text))
		k = next
	}
}

// slices returns n bytes of b from seq on where they lie, as one piece or two. It returns less if b
// has less, or the range lies in more pieces. They are valid until the bytes are released.
func (p *sendPool) slices(b *sendbuf, seq wire.Seq, n uint32) (head, tail []byte) {
	head, next := p.find(b, seq)
	if uint32(len(head)) >= n {
		return head[:n:n], nil
	}
	if next != 0 {
		tail, _ = p.piece(next)
		if rest := n - uint32(len(head)); uint32(len(tail)) > rest {
			tail = tail[:rest:rest]
		}
	}
	return head, tail
}

// copyOut copies the text of b from seq on into dst and returns how much there was.
func (p *sendPool) copyOut(b *sendbuf, seq wire.Seq, dst []byte) int {
	text, next := p.find(b, seq)
	n := copy(dst, text)
	for n < len(dst) && next != 0 {
		text, next = p.piece(next)
		n += copy(dst[n:], text)
	}
	return n
}

// release drops what lies before una and returns the memory.
func (p *sendPool) release(b *sendbuf, una wire.Seq) {
	n := uint32(una - b.una)
	if n == 0 || n > b.size {
		return
	}
	b.una = una
	b.size -= n
	for n > 0 {
		k := b.first
		text, next := p.piece(k)
		if n < uint32(len(text)) {
			if k&staticBit != 0 {
				p.static[k&^staticBit].text = text[n:]
			} else {
				h := &p.pool.hdr[k]
				h.off, h.n = h.off+uint16(n), h.n-uint16(n)
			}
			break
		}
		n -= uint32(len(text))
		b.first = next
		p.put(b, k)
	}
	if b.first == 0 {
		b.last, b.cur = 0, 0
	} else if b.cur != 0 && b.curSeq.Less(una) {
		b.cur, b.curSeq = b.first, una
	}
}

// clear drops everything: the flow is closed.
func (p *sendPool) clear(b *sendbuf) {
	for k := b.first; k != 0; {
		_, next := p.piece(k)
		p.put(b, k)
		k = next
	}
	*b = sendbuf{una: b.end()}
}

func (p *sendPool) put(b *sendbuf, k Block) {
	if k&staticBit != 0 {
		i := uint32(k &^ staticBit)
		p.static[i] = static{}
		p.free.put(i)
		return
	}
	p.pool.Put(k)
	b.blocks--
}
