package hugepages

import (
	"fmt"
	"math"
	"reflect"
	"sync/atomic"
	"unsafe"
)

// Slice carves n zeroed elements of T from a, beginning on a cache line. The elements
// are contiguous, so each of them is aligned when the size of T is a multiple
// of CacheLine. The slice is valid until a.Free and is not the caller's to
// append to: its capacity is n.
//
// T must not contain pointers, which the collector would not see: no pointer,
// string, slice, map, channel, function or interface at any depth.
func Slice[T any](a *Arena, n int) ([]T, error) {
	need, err := SizeFor[T](n)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.mem == nil {
		return nil, fmt.Errorf("hugepages: %d of %s from an arena that is freed", n, reflect.TypeFor[T]())
	}
	// need is rounded up for the sake of the next slice; the last one may end ragged.
	exact := n * int(reflect.TypeFor[T]().Size())
	if left := len(a.mem) - a.used; exact > left {
		return nil, fmt.Errorf("hugepages: %d of %s take %d bytes, the arena of %d bytes has %d left: size it by the sum of SizeFor",
			n, reflect.TypeFor[T](), exact, a.size, left)
	}
	s := unsafe.Slice((*T)(unsafe.Pointer(&a.mem[a.used])), n)
	a.used = min(a.used+need, len(a.mem))
	return s, nil
}

// SizeFor returns the bytes that Slice[T] takes from an arena for n elements:
// a multiple of CacheLine. The sum over all slices is the size to Alloc.
// Its errors are those that Slice would return for T and n.
func SizeFor[T any](n int) (int, error) {
	t := reflect.TypeFor[T]()
	if path, bad := findPointer(t, t.String()); bad {
		return 0, fmt.Errorf("hugepages: %s cannot live in an arena: %s holds a pointer that the garbage collector would not see; use indices instead", t, path)
	}
	size := int(t.Size())
	switch {
	case size == 0:
		return 0, fmt.Errorf("hugepages: %s has no size: use make", t)
	case n < 1:
		return 0, fmt.Errorf("hugepages: %d of %s: want at least 1", n, t)
	case n > (math.MaxInt-CacheLine)/size:
		return 0, fmt.Errorf("hugepages: %d of %s (%d bytes each): more than can be addressed", n, t, size)
	}
	return (n*size + CacheLine - 1) &^ (CacheLine - 1), nil
}

// Populate has every page behind s in memory when it returns, so that no first
// touch, which zeroes a page and can take milliseconds where it is a huge one, happens later. Pages go to
// the NUMA node of the calling thread unless the arena is tied to another. What
// s holds stays as it is; nobody else may write to it meanwhile.
func Populate[T any](s []T) error {
	if len(s) == 0 {
		return nil
	}
	b := bytesOf(s)
	if err := populateAnon(b); err != nil {
		return fmt.Errorf("hugepages: populate %s: %w: ask for less, or check memory and cgroup limits", BytesText(uint64(len(b))), err)
	}
	return nil
}

// Resident returns how many bytes of the pages that lie wholly within s are in
// memory. Wraps errors.ErrUnsupported on other systems than Linux.
func Resident[T any](s []T) (int, error) {
	if len(s) == 0 {
		return 0, nil
	}
	n, err := residentBytes(bytesOf(s))
	if err != nil {
		return 0, fmt.Errorf("hugepages: resident: %w", err)
	}
	return n, nil
}

// bytesOf is the memory of s, which is not empty.
func bytesOf[T any](s []T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(&s[0])), len(s)*int(unsafe.Sizeof(s[0])))
}

// touchPages writes to every base page of b, what is there already.
func touchPages(b []byte, page int) {
	for at := 0; at < len(b); at += page {
		atomic.OrUint32((*uint32)(unsafe.Pointer(&b[at&^3])), 0)
	}
	atomic.OrUint32((*uint32)(unsafe.Pointer(&b[(len(b)-1)&^3])), 0)
}

// findPointer returns the first part of t, spelled as Go would from path on, that the
// collector would have to follow.
func findPointer(t reflect.Type, path string) (string, bool) {
	switch t.Kind() {
	case reflect.Bool, reflect.Uintptr,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64,
		reflect.Float32, reflect.Float64, reflect.Complex64, reflect.Complex128:
		return "", false
	case reflect.Array:
		return findPointer(t.Elem(), path+"[0]")
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			if p, bad := findPointer(f.Type, path+"."+f.Name); bad {
				return p, true
			}
		}
		return "", false
	default:
		return path + " (" + t.String() + ")", true
	}
}

// offset returns how many bytes of b precede the first address that is a
// multiple of align, a power of two.
func offset(b []byte, align uintptr) int {
	return int(-uintptr(unsafe.Pointer(unsafe.SliceData(b))) & (align - 1))
}
