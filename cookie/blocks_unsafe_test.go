package cookie

import "unsafe"

// blocksAt returns n blocks that begin off bytes into b.
func blocksAt(b []byte, off, n int) []block {
	if n == 0 {
		return nil
	}
	return unsafe.Slice((*block)(unsafe.Pointer(&b[off : off+16*n][0])), n)
}

// overlay returns n values of type T that begin at b[0].
func overlay[T any](b []byte, n int) []T {
	if n == 0 {
		return nil
	}
	var v T
	return unsafe.Slice((*T)(unsafe.Pointer(&b[:n*int(unsafe.Sizeof(v))][0])), n)
}

func sizeOf[T any]() int {
	var v T
	return int(unsafe.Sizeof(v))
}
