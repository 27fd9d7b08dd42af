//go:build !linux

package hugepages

import (
	"errors"
	"fmt"
	"os"
)

// maxHeap bounds an arena on the heap, because the runtime does not report
// that memory ran out: it ends the process.
const maxHeap = 1 << 36

// system knows only the heap.
var system = host{hugetlb: unsupported, thp: unsupported, plain: mapHeap}

func unsupported(int, *Options) (mapping, error) {
	return mapping{}, fmt.Errorf("huge pages need Linux: %w", errors.ErrUnsupported)
}

func mapHeap(size int, opts *Options) (mapping, error) {
	if int64(size) > maxHeap {
		return mapping{}, fmt.Errorf("%s on the Go heap, at most %d bytes: %w", BytesText(uint64(size)), int64(maxHeap), errors.ErrUnsupported)
	}
	b := make([]byte, size+CacheLine)
	off := offset(b, CacheLine)
	note := ""
	if opts.ties() || opts.Lock {
		note = "not tied to a node, not locked: that needs Linux"
	}
	return mapping{mem: b[off : off+size], kind: KindHeap, note: note, free: func() error { return nil }}, nil
}

func populateAnon(b []byte) error {
	touchPages(b, os.Getpagesize())
	return nil
}

func residentBytes([]byte) (int, error) { return 0, errors.ErrUnsupported }
