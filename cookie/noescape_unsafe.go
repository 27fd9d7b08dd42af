package cookie

import "unsafe"

// noescape hides b from escape analysis, as strings.Builder does for itself.
// cipher.Block is an interface, so the compiler must assume that Encrypt keeps
// its arguments and would move every block to the heap. The AES in the standard
// library does not keep them, and a stack that grows meanwhile adjusts the
// pointers in Encrypt's frame like any other.
//
// While the address is a number, nothing may move the stack: no call, and so none
// that -race and -d=checkptr would insert (they did: a wrong hash, once per stack).
//
//go:nosplit
//go:nocheckptr
func noescape(b *block) *block {
	x := uintptr(unsafe.Pointer(b))
	return *(**block)(unsafe.Pointer(&x))
}
