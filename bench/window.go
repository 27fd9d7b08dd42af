package bench

// window bounds what is sent and not answered. When nothing was answered for windowStall what is
// under way is forgotten: the peer may be gone, and each is told of by its own timeout.
type window struct {
	n    int
	last int64 // when one was sent into an empty window, or answered
}

// room is how many more may be sent; when there are none, again is when to ask next.
func (p *window) room(now int64) (n int, again int64) {
	if p.n >= openWindow {
		if now-p.last < windowStall {
			return 0, p.last + windowStall
		}
		p.n = 0
	}
	return openWindow - p.n, 0
}

func (p *window) sent(now int64) {
	if p.n == 0 {
		p.last = now
	}
	p.n++
}

func (p *window) heard(now int64) {
	p.n, p.last = max(0, p.n-1), now
}
