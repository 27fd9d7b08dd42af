package hugepages

import "unsafe"

// address returns where a starts, also for looking there after Free.
func address(a *Arena) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(a.Bytes()))) }
