package cookie

import "unsafe"

// noescape hides b from escape analysis, as strings.Builder does for itself.
// cipher.Block is an interface, so the compiler must assume that Encrypt keeps
// its arguments and would move every block to the heap. The AES in the standard
// library does not keep them, and a stack that grows meanwhile adjusts the
// pointers in Encrypt's frame like any other.
func noescape(b *block) *block {
	x := uintptr(unsafe.Pointer(b))
	return *(**block)(unsafe.Pointer(&x))
}
