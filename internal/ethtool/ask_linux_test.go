package ethtool

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// nic answers ETHTOOL commands as the kernel would, struct by struct of linux/ethtool.h.
func nic(words []uint32) error {
	switch words[0] {
	case unix.ETHTOOL_GDRVINFO:
		copy(asBytes(words)[4:], "ice\x00junk")
		copy(asBytes(words)[68:], "4.40\x00")
		copy(asBytes(words)[100:], "0000:3b:00.0\x00")
	case unix.ETHTOOL_GCHANNELS:
		copy(words[1:], []uint32{8, 0, 1, 16, 0, 0, 1, 4})
	case unix.ETHTOOL_GRINGPARAM:
		copy(words[1:], []uint32{8160, 0, 0, 8160, 2048, 0, 0, 256})
	case unix.ETHTOOL_GRXRINGS:
		binary.NativeEndian.PutUint64(asBytes(words[2:4]), 4)
	case unix.ETHTOOL_GRXFH:
		bits := map[uint32]uint64{tcpV4Flow: 0xf0, tcpV6Flow: 0x30}[words[1]]
		binary.NativeEndian.PutUint64(asBytes(words[2:4]), bits)
	case unix.ETHTOOL_GRSSH:
		if words[2] == 0 {
			words[2], words[3] = 4, 40
			return nil
		}
		asBytes(words)[16] = hashTop
		copy(words[rxfhWords:], []uint32{0, 1, 2, 1})
		key := asBytes(words[rxfhWords+4:])
		for i := range 40 {
			key[i] = []byte{0x6d, 0x5a}[i%2]
		}
	case unix.ETHTOOL_GSSET_INFO:
		words[4] = 34
	case unix.ETHTOOL_GSTRINGS:
		copy(asBytes(words[3:])[0*32:], "rx-gro")
		copy(asBytes(words[3:])[1*32:], "rx-checksum")
		copy(asBytes(words[3:])[2*32:], "rx-lro")
		copy(asBytes(words[3:])[33*32:], "tx-tcp-segmentation")
	case unix.ETHTOOL_GFEATURES: // available, requested, active, never changed
		copy(words[2:], []uint32{0b101, 0, 0b011, 0b100, 0b10, 0, 0b10, 0})
	}
	return nil
}

func TestAsk(t *testing.T) {
	d, err := ask(nic)
	require.NoError(t, err)
	require.Equal(t, Device{
		Driver: "ice", Firmware: "4.40", Bus: "0000:3b:00.0", RX: 4, MaxRX: 8, Combined: 4, MaxCombined: 16,
		RingRX: 2048, MaxRingRX: 8160, RingTX: 256, MaxRingTX: 8160,
		RSS: true, RETA: 4, RETAQueues: 3, Key: 40, KeyTold: true, Function: "toeplitz", Symmetric: true,
		TCP4: "src dst sport dport", TCP6: "src dst",
		Features: map[string]Feature{
			"rx-gro": {Active: true}, "rx-checksum": {Active: true, Fixed: true}, "rx-lro": {Fixed: true}, "tx-tcp-segmentation": {Active: true},
		},
	}, d)
	require.True(t, d.Active("rx-gro"))
	require.False(t, d.Active("rx-lro"))
	require.False(t, d.Active("no such feature"))

	d, err = ask(func([]uint32) error { return unix.EOPNOTSUPP })
	require.NoError(t, err)
	require.Equal(t, Device{}, d)
	_, err = ask(func([]uint32) error { return unix.ENODEV })
	require.ErrorIs(t, err, unix.ENODEV)
}

// A key of zeros is none.
func TestAskHiddenKey(t *testing.T) {
	d, err := ask(func(words []uint32) error {
		if words[0] != unix.ETHTOOL_GRSSH {
			return unix.EOPNOTSUPP
		}
		words[2], words[3] = 4, 40
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, Device{RSS: true, RETA: 4, RETAQueues: 1, Key: 40}, d)
}

func TestAskLoopback(t *testing.T) {
	d, err := Ask("lo")
	require.NoError(t, err)
	require.True(t, d.Active("tx-checksum-ip-generic"), "%+v", d)
	_, err = Ask("nonexistent0")
	require.ErrorIs(t, err, unix.ENODEV)
}
