package lab

import (
	"slices"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// captures waits until both captures agree, so that nothing is on its way, and returns them: for
// each TCP frame at fastsyn's end the one at the kernel's, nil if it was lost before.
func (w *world) captures() (fast []frame, kernel []*frame) {
	w.until("both captures have the same frames", func() bool {
		fast = slices.DeleteFunc(w.tap.snapshot(), notTCP)
		all := w.sniff.snapshot()
		var ok bool
		kernel, ok = match(fast, slices.DeleteFunc(all, notTCP))
		return ok
	})
	return fast, kernel
}

func notTCP(f frame) bool { return f.pkt.Kind != wire.KindTCP }

// match finds the frames of one end among those of the other, and reports whether none is left over.
func match(fast, kernel []frame) ([]*frame, bool) {
	byText := map[string][]*frame{}
	for i := range kernel {
		k := string(kernel[i].data)
		byText[k] = append(byText[k], &kernel[i])
	}
	out, left := make([]*frame, len(fast)), len(kernel)
	for i := range fast {
		f := &fast[i]
		if f.out && f.lost {
			continue
		}
		k := string(f.data)
		j := slices.IndexFunc(byText[k], func(g *frame) bool { return g.out != f.out })
		if j < 0 {
			return nil, false
		}
		out[i] = byText[k][j]
		byText[k] = slices.Delete(byText[k], j, j+1)
		left--
	}
	return out, left == 0
}
