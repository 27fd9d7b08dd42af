package main

// chunkSize is what text that waits is kept in.
const chunkSize = 16 << 10

// chunk is a piece of a backlog: text[from:to] waits.
type chunk struct {
	next     *chunk
	from, to int
	text     [chunkSize]byte
}

// chunkPool recycles the chunks of one worker. At most limit of them exist.
type chunkPool struct {
	free        *chunk
	made, limit int
	used, high  int
}

// get returns an empty chunk, nil when all there may be are in use.
func (p *chunkPool) get() *chunk {
	c := p.free
	switch {
	case c != nil:
		p.free, c.next = c.next, nil
	case p.made < p.limit:
		p.made++
		c = new(chunk)
	default:
		return nil
	}
	p.used++
	p.high = max(p.high, p.used)
	c.from, c.to = 0, 0
	return c
}

func (p *chunkPool) put(c *chunk) {
	c.next = p.free
	p.free = c
	p.used--
}

// chunkList is text in order.
type chunkList struct{ first, last *chunk }

// add appends p, in chunks of pool. It reports false, with some of p possibly appended, when there
// are not enough of them.
func (l *chunkList) add(pool *chunkPool, p []byte) bool {
	for len(p) > 0 {
		if l.last == nil || l.last.to == chunkSize {
			c := pool.get()
			if c == nil {
				return false
			}
			l.push(c)
		}
		n := copy(l.last.text[l.last.to:], p)
		l.last.to += n
		p = p[n:]
	}
	return true
}

// push appends a chunk.
func (l *chunkList) push(c *chunk) {
	if l.last == nil {
		l.first = c
	} else {
		l.last.next = c
	}
	l.last = c
}

// front is the text that is next, empty when there is none.
func (l *chunkList) front() []byte {
	if l.first == nil {
		return nil
	}
	return l.first.text[l.first.from:l.first.to]
}

// drop removes n bytes of front.
func (l *chunkList) drop(pool *chunkPool, n int) {
	c := l.first
	if c.from += n; c.from < c.to {
		return
	}
	if l.first = c.next; l.first == nil {
		l.last = nil
	}
	c.next = nil
	pool.put(c)
}

// clear drops all.
func (l *chunkList) clear(pool *chunkPool) {
	for c := l.first; c != nil; {
		next := c.next
		pool.put(c)
		c = next
	}
	*l = chunkList{}
}
