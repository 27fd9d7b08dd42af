package afpacket

// The buffers of a queue. Received frames are copied out of the ring into them:
// a frame of 54 bytes can then grow into its reply, a slot goes back to the
// kernel at once, and a frame the application keeps blocks nothing.
const (
	replyRoom = 256      // Caps.ReplyRoom
	minBuffer = 2 << 10  // holds a full frame at MTU 1500
	maxBuffer = 16 << 10 // longer frames travel in jumbo buffers
	poolBytes = 8 << 20  // of small buffers, touched only as far as used
	// A TSO frame on veth is at most 64 KiB of IP plus its Ethernet and VLAN
	// header. "BIG TCP" beyond that must be enabled by hand and is truncated.
	jumboBuffer = 68 << 10
	jumboCount  = 64 // one full burst
	jumboFlag   = 1 << 32
	poison      = 0xdb
)

// pool holds the free buffers of one queue, last in first out, so that the
// next burst finds them in cache. It lives on the Go heap rather than in the
// mapped ring: a frame kept past Close stays readable.
type pool struct {
	size       int // of a small buffer
	mem, jumbo []byte
	free       []uint32
	freeJumbo  []uint32
	out        map[uint64]bool // race builds only
}

// init makes the buffers; size is that of a small one.
func (p *pool) init(size int) {
	n := max(poolBytes/size, 512)
	p.size = size
	p.mem, p.free = make([]byte, n*size), lifo(n)
	p.jumbo, p.freeJumbo = make([]byte, jumboCount*jumboBuffer), lifo(jumboCount)
	if raceEnabled {
		p.out = map[uint64]bool{}
	}
}

func lifo(n int) []uint32 {
	f := make([]uint32, n)
	for i := range f {
		f[i] = uint32(n - 1 - i)
	}
	return f
}

// get takes a small buffer; ok is false when all are out.
func (p *pool) get() (buf []byte, handle uint64, ok bool) {
	n := len(p.free) - 1
	if n < 0 {
		return nil, 0, false
	}
	i := int(p.free[n])
	p.free = p.free[:n]
	if raceEnabled {
		p.out[uint64(i)] = true
	}
	return p.mem[i*p.size : (i+1)*p.size : (i+1)*p.size], uint64(i), true
}

// getJumbo takes a jumbo buffer; ok is false when all are out.
func (p *pool) getJumbo() (buf []byte, handle uint64, ok bool) {
	n := len(p.freeJumbo) - 1
	if n < 0 {
		return nil, 0, false
	}
	i := int(p.freeJumbo[n])
	p.freeJumbo = p.freeJumbo[:n]
	if raceEnabled {
		p.out[uint64(i)|jumboFlag] = true
	}
	return p.jumbo[i*jumboBuffer : (i+1)*jumboBuffer : (i+1)*jumboBuffer], uint64(i) | jumboFlag, true
}

// put takes a buffer back.
func (p *pool) put(handle uint64) {
	if raceEnabled {
		p.check(handle)
	}
	if handle&jumboFlag != 0 {
		p.freeJumbo = append(p.freeJumbo, uint32(handle))
		return
	}
	p.free = append(p.free, uint32(handle))
}

// check is the race build's guard of put.
func (p *pool) check(handle uint64) {
	if !p.out[handle] {
		panic("afpacket: Settle was given a frame that is not lent: it was freed twice, or belongs to another queue")
	}
	delete(p.out, handle)
	i, buf := int(uint32(handle)), []byte(nil)
	if handle&jumboFlag != 0 {
		buf = p.jumbo[i*jumboBuffer : (i+1)*jumboBuffer]
	} else {
		buf = p.mem[i*p.size : (i+1)*p.size]
	}
	for j := range buf {
		buf[j] = poison
	}
}
