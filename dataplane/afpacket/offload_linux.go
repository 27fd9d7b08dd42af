package afpacket

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// The features that offloads=off switches off, by the names ethtool -k shows.
// They are looked up by name because bit numbers differ between kernels.
var offloadNames = []string{
	"rx-checksum",
	"tx-checksum-ipv4", "tx-checksum-ip-generic", "tx-checksum-ipv6", "tx-checksum-sctp",
	"tx-tcp-segmentation", "tx-tcp-ecn-segmentation", "tx-tcp-mangleid-segmentation", "tx-tcp6-segmentation",
	"tx-tcp-accecn-segmentation",
	"tx-generic-segmentation", "tx-udp-segmentation",
	"rx-gro", "rx-gro-hw", "rx-gro-list", "rx-udp-gro-forwarding", "rx-lro",
}

const (
	ethSSFeatures   = 4  // ETH_SS_FEATURES
	ethGStringLen   = 32 // ETH_GSTRING_LEN
	featureUnwanted = 1  // ETHTOOL_F_UNSUPPORTED: bits outside of the valid ones
)

// offloads remembers which feature bits were switched off, in words of 32.
type offloads struct {
	changed []uint32
}

// offloadsOff switches off those of offloadNames that are on and can be
// changed. It goes by wanted features, not active ones, so that setting the
// same bits again gives back the very state it found. On failure nothing is changed.
func offloadsOff(fd int, name string) (*offloads, error) {
	fail := func(what string, err error) error {
		fix := ": use offloads=keep, with which everything works too"
		if errors.Is(err, unix.EPERM) {
			fix = ": changing offloads needs CAP_NET_ADMIN: run as root, setcap cap_net_raw,cap_net_admin=ep BINARY, or use offloads=keep"
		}
		return fmt.Errorf("afpacket: %s: %s: %w%s", name, what, err, fix)
	}
	names, err := featureNames(fd, name)
	if err != nil {
		return nil, fail("listing offloads", err)
	}
	f, err := readFeatures(fd, name, (len(names)+31)/32)
	if err != nil {
		return nil, fail("reading offloads", err)
	}
	o := &offloads{changed: make([]uint32, len(f))}
	some := false
	for bit, n := range names {
		w, m := bit/32, uint32(1)<<(bit%32)
		if f[w].available&f[w].requested&m != 0 && slices.Contains(offloadNames, n) {
			o.changed[w] |= m
			some = true
		}
	}
	if !some {
		return nil, nil
	}
	if err := writeFeatures(fd, name, o.changed, make([]uint32, len(f))); err != nil {
		return nil, errors.Join(fail("switching offloads off", err), o.restore(fd, name))
	}
	return o, nil
}

// restore switches on what offloadsOff switched off.
func (o *offloads) restore(fd int, name string) error {
	if err := writeFeatures(fd, name, o.changed, o.changed); err != nil {
		return fmt.Errorf("restoring offloads of %s: %w: see ethtool -k %s", name, err, name)
	}
	return nil
}

// featureNames returns the kernel's feature names; the index is the bit.
func featureNames(fd int, name string) ([]string, error) {
	info := []uint32{unix.ETHTOOL_GSSET_INFO, 0, 0, 0, 0} // cmd, reserved, sset_mask (u64), data
	binary.NativeEndian.PutUint64(asBytes(info[2:4]), 1<<ethSSFeatures)
	if _, err := ethtool(fd, name, info); err != nil {
		return nil, err
	}
	n := int(info[4])
	req := make([]uint32, 3+n*ethGStringLen/4) // cmd, string_set, len, data
	req[0], req[1], req[2] = unix.ETHTOOL_GSTRINGS, ethSSFeatures, uint32(n)
	if _, err := ethtool(fd, name, req); err != nil {
		return nil, err
	}
	names := make([]string, n)
	for i, b := 0, asBytes(req[3:]); i < n; i++ {
		s := b[i*ethGStringLen:][:ethGStringLen]
		if end := bytes.IndexByte(s, 0); end >= 0 {
			s = s[:end]
		}
		names[i] = string(s)
	}
	return names, nil
}

// features is one struct ethtool_get_features_block.
type features struct{ available, requested, active, neverChanged uint32 }

func readFeatures(fd int, name string, blocks int) ([]features, error) {
	req := make([]uint32, 2+4*blocks) // cmd, size, blocks
	req[0], req[1] = unix.ETHTOOL_GFEATURES, uint32(blocks)
	if _, err := ethtool(fd, name, req); err != nil {
		return nil, err
	}
	f := make([]features, blocks)
	for i := range f {
		w := req[2+4*i:]
		f[i] = features{w[0], w[1], w[2], w[3]}
	}
	return f, nil
}

// writeFeatures sets the bits in valid to those in want.
func writeFeatures(fd int, name string, valid, want []uint32) error {
	req := []uint32{unix.ETHTOOL_SFEATURES, uint32(len(valid))} // cmd, size, {valid, requested}
	for i := range valid {
		req = append(req, valid[i], want[i]&valid[i])
	}
	ret, err := ethtool(fd, name, req)
	if err == nil && ret&featureUnwanted != 0 {
		err = errors.New("the device refused some of the features")
	}
	return err
}
