// Package ethtool reads what a network device tells by ioctl (SIOCETHTOOL,
// linux/ethtool.h). It needs no privileges, changes nothing, and keeps no keys.
package ethtool

// Device is what a network device tells. Zero values mean that it does not tell.
type Device struct {
	Driver, Firmware string
	Bus              string // address on its bus, such as 0000:3b:00.0
	Speed            int64  // of the link, Mbit/s
	// RX is the number of receive queues in use, Combined and MaxCombined the
	// queue pairs in use and to be had, MaxRX the receive queues to be had besides.
	RX, MaxRX, Combined, MaxCombined     uint32
	RingRX, MaxRingRX, RingTX, MaxRingTX uint32 // descriptors of a queue
	// RSS says whether the device tells the facts that follow.
	RSS        bool
	RETA       uint32 // entries
	RETAQueues uint32 // different queues in them
	Key        uint32 // bytes
	KeyTold    bool   // the bytes read are not all zero, as they are when a driver keeps them to itself
	Symmetric  bool   // the key repeats every 16 bits, so both directions hash alike
	Function   string // toeplitz, xor, crc32 or ""
	// TCP4 and TCP6 are what is hashed for TCP, as in "src dst sport dport".
	TCP4, TCP6 string
	// Features by the kernel's names (ethtool -k shows them under others), such as "tx-tcp-segmentation".
	Features map[string]Feature
}

// Feature is the state of a feature.
type Feature struct {
	Active bool
	Fixed  bool // cannot be changed
}

// Active reports whether a feature is.
func (d *Device) Active(feature string) bool { return d.Features[feature].Active }
