package steer

// Max is the largest burst.
const Max = 64

// Burst is what Table.Burst works with: 4 KiB, made once per queue, of one goroutine.
// Entry i is about the i-th frame of the last burst.
type Burst struct {
	Hash  [Max]uint32 // as Table.Frame returns it; the caller sets that of frames it knows
	Queue [Max]uint16

	// The tuples of the frames that have to be hashed, as received. Ports make
	// place for the hash. at says whose they are.
	src4, dst4, ports4         [Max]uint32
	srcHi, srcLo, dstHi, dstLo [Max]uint64
	ports6                     [Max]uint32
	at4, at6                   [Max]uint8
}

// Burst is Table.Frame for up to Max frames at once; with more it panics. In the result bit i
// says that frame i belongs to a queue, which is then b.Queue[i] with b.Hash[i];
// the entries of other frames are undefined.
//
// Bit i of known says that the caller has put the hash of frame i into b.Hash[i],
// because the device computed it. Then the frame is not looked at. Beware of
// devices that also hash what is not TCP, over the addresses alone: the
// caller must know that frame i is a TCP segment.
func (t *Table) Burst(b *Burst, data [][]byte, known uint64) (ok uint64) {
	if len(data) > Max {
		panic("steer: a burst of more than 64 frames")
	}
	// Nearly all bursts are plain segments from the first frame to the last: as
	// long as that holds, entry i is frame i.
	n := 0
	if known == 0 {
		for n < len(data) && plain(data[n]) {
			a := data[n][26:38]
			b.src4[n], b.dst4[n], b.ports4[n] = be.Uint32(a), be.Uint32(a[4:]), be.Uint32(a[8:])
			n++
		}
		ok = 1<<n - 1
		t.hash.HashBatch4(b.Hash[:n], b.src4[:], b.dst4[:], b.ports4[:])
		for i, h := range b.Hash[:n] {
			b.Queue[i] = t.Queue(h)
		}
		if n == len(data) {
			return ok
		}
	}
	n4, n6 := 0, 0
	for i := n; i < len(data); i++ {
		d := data[i]
		if known>>i&1 != 0 {
			b.Queue[i] = t.Queue(b.Hash[i])
			ok |= 1 << i
			continue
		}
		k, at, ports := tcp4, 26, 34
		if !plain(d) {
			if k, at, ports = locate(d); k == none {
				continue
			}
		}
		ok |= 1 << i
		p := be.Uint32(d[ports:])
		switch k {
		case tcp4, quoted4:
			a := be.Uint64(d[at:])
			if k == quoted4 {
				a, p = a<<32|a>>32, p<<16|p>>16
			}
			b.src4[n4], b.dst4[n4], b.ports4[n4], b.at4[n4] = uint32(a>>32), uint32(a), p, uint8(i)
			n4++
		default:
			a := d[at : at+32]
			src, dst := a[:16], a[16:]
			if k == quoted6 {
				src, dst, p = dst, src, p<<16|p>>16
			}
			b.srcHi[n6], b.srcLo[n6] = be.Uint64(src), be.Uint64(src[8:])
			b.dstHi[n6], b.dstLo[n6] = be.Uint64(dst), be.Uint64(dst[8:])
			b.ports6[n6], b.at6[n6] = p, uint8(i)
			n6++
		}
	}
	if n4 > 0 {
		h := b.ports4[:n4]
		t.hash.HashBatch4(h, b.src4[:], b.dst4[:], h)
		t.deal(b, h, &b.at4)
	}
	if n6 > 0 {
		h := b.ports6[:n6]
		t.hash.HashBatch6(h, b.srcHi[:], b.srcLo[:], b.dstHi[:], b.dstLo[:], h)
		t.deal(b, h, &b.at6)
	}
	return ok
}

// deal gives hash[j] to frame at[j].
func (t *Table) deal(b *Burst, hash []uint32, at *[Max]uint8) {
	reta, mask := t.reta, t.mask
	for j, h := range hash {
		i := at[j&(Max-1)] & (Max - 1)
		b.Hash[i], b.Queue[i] = h, reta[h&mask]
	}
}
