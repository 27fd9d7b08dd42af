package ethtool

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Numbers of linux/ethtool.h that x/sys does not have.
const (
	tcpV4Flow  = 1
	tcpV6Flow  = 5
	hashTop    = 1 << 0 // Toeplitz
	hashXOR    = 1 << 1
	hashCRC32  = 1 << 2
	rxfhWords  = 6 // struct ethtool_rxfh before rss_config
	maxRXFH    = 1 << 16
	ssFeatures = 4 // ETH_SS_FEATURES
	stringLen  = 32
)

// rxhBits name RXH_IP_SRC and so on, lowest first.
var rxhBits = []struct {
	bit  uint32
	name string
}{{1 << 1, "mac"}, {1 << 2, "vlan"}, {1 << 3, "proto"}, {1 << 4, "src"}, {1 << 5, "dst"}, {1 << 6, "sport"}, {1 << 7, "dport"}}

// Ask asks what it can; what a driver does not implement stays zero. The error
// wraps unix.ENODEV if there is no such device in the network namespace of this thread.
func Ask(name string) (Device, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return Device{}, fmt.Errorf("socket: %w", err)
	}
	d, err := ask(func(words []uint32) error { return ioctl(fd, name, words) })
	return d, errors.Join(err, unix.Close(fd))
}

// ask reads a device through run, which performs one command whose struct is
// words. Only that the device is not there is an error.
func ask(run func(words []uint32) error) (d Device, err error) {
	info := make([]uint32, 49) // struct ethtool_drvinfo
	info[0] = unix.ETHTOOL_GDRVINFO
	if err := run(info); err == nil {
		b := asBytes(info)
		d.Driver, d.Firmware, d.Bus = text(b[4:36]), text(b[68:100]), text(b[100:132])
	} else if errors.Is(err, unix.ENODEV) {
		return d, err
	}
	link := make([]uint32, 11) // struct ethtool_cmd, which later kernels fill from ksettings
	if link[0] = unix.ETHTOOL_GSET; run(link) == nil {
		b := asBytes(link)
		speed := uint32(binary.NativeEndian.Uint16(b[12:])) | uint32(binary.NativeEndian.Uint16(b[28:]))<<16
		if speed != math.MaxUint32 && speed != math.MaxUint16 { // SPEED_UNKNOWN
			d.Speed = int64(speed)
		}
	}
	channels := make([]uint32, 9)
	if channels[0] = unix.ETHTOOL_GCHANNELS; run(channels) == nil {
		d.MaxRX, d.MaxCombined, d.Combined = channels[1], channels[4], channels[8]
	}
	ring := make([]uint32, 9)
	if ring[0] = unix.ETHTOOL_GRINGPARAM; run(ring) == nil {
		d.MaxRingRX, d.MaxRingTX, d.RingRX, d.RingTX = ring[1], ring[4], ring[5], ring[8]
	}
	nfc := make([]uint32, 48) // struct ethtool_rxnfc
	if nfc[0] = unix.ETHTOOL_GRXRINGS; run(nfc) == nil {
		d.RX = nfc[2] // data, of 64 bits
		if binary.NativeEndian.Uint16([]byte{0, 1}) == 1 {
			d.RX = nfc[3]
		}
	}
	d.TCP4, d.TCP6 = hashed(run, tcpV4Flow), hashed(run, tcpV6Flow)
	askRSS(run, &d)
	d.Features = features(run)
	return d, nil
}

func text(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}

// hashed returns what a flow type is hashed by, "" if the device does not tell.
func hashed(run func([]uint32) error, flow uint32) string {
	nfc := make([]uint32, 48)
	nfc[0], nfc[1] = unix.ETHTOOL_GRXFH, flow
	if run(nfc) != nil {
		return ""
	}
	bits := nfc[2] | nfc[3] // the other half is zero
	var out []string
	for _, r := range rxhBits {
		if bits&r.bit != 0 {
			out = append(out, r.name)
		}
	}
	return strings.Join(out, " ")
}

// askRSS reads size of table and key, the function, and looks at the key without keeping it.
func askRSS(run func([]uint32) error, d *Device) {
	size := make([]uint32, rxfhWords)
	if size[0] = unix.ETHTOOL_GRSSH; run(size) != nil || size[2] == 0 || size[2] > maxRXFH || size[3] > maxRXFH {
		return
	}
	all := make([]uint32, rxfhWords+size[2]+(size[3]+3)/4)
	all[0], all[2], all[3] = unix.ETHTOOL_GRSSH, size[2], size[3]
	if run(all) != nil {
		return
	}
	d.RSS, d.RETA, d.Key = true, all[2], all[3]
	switch asBytes(all)[16] {
	case hashTop:
		d.Function = "toeplitz"
	case hashXOR:
		d.Function = "xor"
	case hashCRC32:
		d.Function = "crc32"
	}
	table := slices.Clone(all[rxfhWords:][:size[2]])
	slices.Sort(table)
	d.RETAQueues = uint32(len(slices.Compact(table)))
	key := asBytes(all[rxfhWords+size[2]:])[:size[3]]
	for _, b := range key {
		d.KeyTold = d.KeyTold || b != 0
	}
	d.Symmetric = d.KeyTold && len(key) >= 4
	for i := 2; i < len(key); i++ {
		d.Symmetric = d.Symmetric && key[i] == key[i-2]
	}
}

// features reads all features that have a name.
func features(run func([]uint32) error) map[string]Feature {
	info := []uint32{unix.ETHTOOL_GSSET_INFO, 0, 0, 0, 0} // cmd, reserved, sset_mask (u64), data
	binary.NativeEndian.PutUint64(asBytes(info[2:4]), 1<<ssFeatures)
	if run(info) != nil || info[4] == 0 || info[4] > 4096 {
		return nil
	}
	n := int(info[4])
	names := make([]uint32, 3+n*stringLen/4)
	names[0], names[1], names[2] = unix.ETHTOOL_GSTRINGS, ssFeatures, uint32(n)
	blocks := (n + 31) / 32
	state := make([]uint32, 2+4*blocks) // cmd, size, {available, requested, active, never_changed}
	state[0], state[1] = unix.ETHTOOL_GFEATURES, uint32(blocks)
	if run(names) != nil || run(state) != nil {
		return nil
	}
	out := make(map[string]Feature, n)
	for i, b := 0, asBytes(names[3:]); i < n; i++ {
		block := state[2+4*(i/32):]
		bit := func(word int) bool { return block[word]>>(i%32)&1 != 0 }
		if name := text(b[i*stringLen:][:stringLen]); name != "" {
			out[name] = Feature{Active: bit(2), Fixed: !bit(0) || bit(3)}
		}
	}
	return out
}
