// Package dataplane moves frames in bursts between a device and one goroutine.
// It knows no TCP: a Port has Queues, a Queue lends frames in a Batch and takes
// them back with a Verdict each. Drivers register under a name and are opened
// by a port string such as "loop:" or "afpacket:veth0?queues=2"; decorators
// stack in front, as in "impair(loss=1%):afpacket:veth0".
package dataplane
