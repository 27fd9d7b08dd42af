package flow

import "unsafe"

// links finds the link of a flow inside the flow's record, which a wheel knows
// nothing else of: a pointer to the first and the distance to the next. Through an
// interface, a type parameter or a function this would be an indirect call.
type links struct {
	first  unsafe.Pointer
	stride uintptr
	n      uint32
}

// linksIn returns the links that field finds in each of the records, which must
// stay where they are. field(r) must be a field of *r, always the same.
func linksIn[T any](records []T, field func(r *T) *link) links {
	return links{
		first:  unsafe.Pointer(field(&records[0])),
		stride: unsafe.Sizeof(records[0]),
		n:      uint32(len(records)),
	}
}

// of returns the link of record i. It panics if there is no such record.
func (l *links) of(i uint32) *link {
	if i >= l.n {
		panic("flow: a timer for a flow out of range")
	}
	return (*link)(unsafe.Add(l.first, uintptr(i)*l.stride))
}
