// Package dpdk is the driver for devices that DPDK polls from user space: NICs
// bound to vfio-pci or uio, and the virtual devices of DPDK. It needs cgo, libdpdk
// and the build tag dpdk; in other builds the name is registered all the same
// and opening says how to build with it. Importing it registers
//
//	dpdk:DEVICE?queues=N&...
//
// where DEVICE is what DPDK calls a device argument: a PCI address such as
// 0000:3b:00.0, or a virtual device with its own arguments, such as
// net_memif0,role=client,socket=/run/m.sock. DEVICE net_ring,wire=NAME is ours: the two
// ends of an in-memory wire over rte_ring, for the two ports of one process that name it.
//
// # Parameters of the port
//
//	queues=1            receive/transmit pairs, one per worker
//	rx-desc=1024        descriptors of each receive ring, tx-desc=1024 of each transmit ring
//	mtu=1500            bytes of L3, if the device can be told
//	mbufs=8192          frames of each queue
//	rss=auto            auto: what the device can do; on: or fail; off: not even if it could
//	rss-key=symmetric   symmetric or microsoft: the Toeplitz key
//	reta=0,1,...        the redirection table as a pattern that is repeated (default: queues in turn)
//	steer=on            off: trust the device and do not look where a flow belongs
//	rx-csum, tx-csum, rss-hash, vlan-strip = auto or off: offloads of the device
//	promisc=off         on: all frames on the wire, also those for other hosts
//
// # Parameters of the EAL
//
// DPDK's environment abstraction layer is started once in a process, by the
// first port that is opened. Later ports may repeat these parameters, but not contradict them.
//
//	lcores=2-5          CPUs of the workers, queue i on the i-th (default: wherever fastsyn pins them)
//	memory=256M         reserve at start (default: what the port needs), or
//	socket-mem=512M,512M  the same, by NUMA node
//	no-huge=off         on: ordinary memory, for machines without huge pages and for tests
//	huge-dir=DIR        hugetlbfs mount to use
//	file-prefix=NAME    name the run, so that DPDK's own tools find it; at most one run of a name at a time
//	vdev=DEV;DEV        more virtual devices
//	allow=ADDR,ADDR     more PCI devices to probe (default: only those opened)
//	iova=pa             pa or va
//	single-file=off     on: one file per memory area (needed by memif zero-copy, virtio_user)
//	eal=ARGS            more arguments for rte_eal_init, separated by spaces
//
// Without file-prefix nothing of the run is visible in the file system, so
// nothing is left behind, however it ends.
package dpdk
