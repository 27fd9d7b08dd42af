// Package godpdk hands ports of github.com/yerden/go-dpdk to fastsyn, for programs
// that run DPDK through it already. It is a module of its own, so that go-dpdk
// is required only by those who import this package; fastsyn's own DPDK driver,
// the port string "dpdk:...", does without.
//
//	port, err := godpdk.Port(pid, 1, pool) // pid: ethdev.Port, configured and started
//	if err != nil { … }
//	ep, err := fastsyn.Open(fastsyn.Config{Device: port, Addrs: []string{"192.0.2.1/24"}})
//
// The program in the directory example is complete.
//
// # Who owns what
//
// EAL, port, queues and pools stay the program's: it made them, it ends them.
// Between Port and Close of the returned port
//
//   - receive and transmit queues 0 to n-1 belong to fastsyn. Nobody else calls RxBurst,
//     TxBurst or TxBuffer on them; the other queues are the program's, and RSS should
//     then not put TCP onto them. All other calls may go on: statistics, link, promiscuous mode.
//   - the port stays started, in its configuration, and the pools exist. The MTU is
//     read once.
//
// Endpoint.Close, and an Open that fails, close the returned port: the workers have
// ended by then, frames that fastsyn held are back in their pools, and the device is as
// it was, started, and ready for RxBurst or for another Port. Only then may the
// program call Stop and Close of the port, Free of its pools and eal.Cleanup.
// What waits in the device's rings, received by nobody or not sent yet, is the
// device's, and so are the buffers in them.
//
// From the EAL's memory Port takes 4 MiB, for frames longer than the buffers of the
// pools, and 10 KiB for each queue, which Close gives back.
//
// # Threads and pools
//
// fastsyn starts one worker for each queue on a thread of its own, not on an lcore of
// the EAL, and registers it with the EAL (rte_thread_register), which gives it
// caches in the pools. An EAL with a single lcore is enough, "--lcores=0@(0-1)" on a machine
// with CPUs 0 and 1. fastsyn.Config.CPUs pins the workers. Port and Close may be
// called from any goroutine.
//
// Give each queue a pool of its own. Threads that share one meet in its ring, where by
// default all wait, spinning, for one that the kernel has interrupted: four workers
// with one pool on two busy CPUs were seen standing there for more than ten seconds. Where CPUs are
// not isolated make pools with mempool.OptOpsName("ring_mt_rts"), whose ring does not
// wait so; several queues without RSS hand frames to each other, so that a frame may go home
// from another thread. For the same reason operations for a single producer or consumer
// ("ring_sp_sc") are not enough.
//
// Neighbour solicitations of IPv6 come by multicast, which the port has to let through;
// of the ways to say so go-dpdk binds PromiscEnable.
//
// # Building
//
// Like the driver it needs cgo, libdpdk 22.11 or newer and the build tag dpdk. Without the tag
// Port fails and says so. The module requires go-dpdk v0.1.0, whose packages all
// compile with DPDK 22.11 as they are; of its programs app/dpdk-exporter and
// app/test-sniffer need CGO_CFLAGS="$(pkg-config --cflags libdpdk)". A libdpdk whose
// pkg-config file names other instruction sets than Debian's may also need
// CGO_CFLAGS_ALLOW=-mrtm, as go-dpdk says.
//
// Not every module proxy serves go-dpdk. Behind one that does not, either fetch it
// from its origin, GOPRIVATE=github.com/yerden/go-dpdk, or work with a checkout of its
// tag v0.1.0, here in a workspace that stays uncommitted:
//
//	go work init .
//	go work edit -replace github.com/yerden/go-dpdk=$HOME/src/go-dpdk
//	go test -tags dpdk ./...
//
// A module that imports this one needs the replacement of github.com/fastsyn/fastsyn in
// go.mod, or a version of it, in its own go.mod: a replacement counts in the main module only.
//
// # What go-dpdk does on its own
//
// eal.Init logs its arguments to package log, and occupies all CPUs it may run on with
// lcores that sleep unless --lcores or -l says otherwise. It has no call to attach a
// device later: virtual devices are arguments of eal.Init, "--vdev".
package godpdk
