package main

import (
	endian "encoding/binary" // "binary" is the command under test
	"net"
	"time"

	"github.com/pires/go-proxyproto"

	"github.com/fastsyn/fastsyn"
)

// Types of our TLVs in PROXY protocol headers, in the range for applications (§2.2 of its
// specification). Numbers are big-endian. docs/serve.md says what they mean.
const (
	tlvRTT    = proxyproto.PP2_TYPE_MIN_CUSTOM + iota // uint32: µs; absent without a sample
	tlvMSS                                            // 2 × uint16: what we may send, what we announced
	tlvScales                                         // 2 × uint8: the peer's window scale, ours; absent when not negotiated
	tlvFlags                                          // uint16, see below
	tlvISNs                                           // 2 × uint32: the peer's, ours
	tlvWindow                                         // uint32: the peer's, in bytes
)

// Bits of tlvFlags.
const (
	flagSACK = 1 << iota
	flagTimestamps
	flagECN
	flagCookie
	flagFastOpen
	flagRetransmitted
)

// proxyHeader is the PROXY protocol header, version 2, for a flow with the facts of its
// handshake.
func proxyHeader(i *fastsyn.Info) []byte {
	be := endian.BigEndian
	tlvs := make([]proxyproto.TLV, 0, 6)
	add := func(kind proxyproto.PP2Type, value []byte) {
		tlvs = append(tlvs, proxyproto.TLV{Type: kind, Value: value})
	}
	if i.RTT > 0 {
		add(tlvRTT, be.AppendUint32(nil, uint32(max(i.RTT/time.Microsecond, 1))))
	}
	add(tlvMSS, be.AppendUint16(be.AppendUint16(nil, i.MSS), i.OwnMSS))
	if i.WScale {
		add(tlvScales, []byte{i.SndShift, i.RcvShift})
	}
	flags := uint16(0)
	for _, f := range [...]struct {
		on  bool
		bit uint16
	}{
		{i.SACK, flagSACK},
		{i.Timestamps, flagTimestamps},
		{i.ECN, flagECN},
		{i.Cookie, flagCookie},
		{i.FastOpen, flagFastOpen},
		{i.Retrans, flagRetransmitted},
	} {
		if f.on {
			flags |= f.bit
		}
	}
	add(tlvFlags, be.AppendUint16(nil, flags))
	add(tlvISNs, be.AppendUint32(be.AppendUint32(nil, uint32(i.IRS)), uint32(i.ISS)))
	add(tlvWindow, be.AppendUint32(nil, i.SndWnd))

	t := &i.Tuple
	h := proxyproto.HeaderProxyFromAddrs(2,
		&net.TCPAddr{IP: t.Remote.Netip().AsSlice(), Port: int(t.RemotePort)},
		&net.TCPAddr{IP: t.Local.Netip().AsSlice(), Port: int(t.LocalPort)})
	err := h.SetTLVs(tlvs)
	if err == nil {
		var b []byte
		if b, err = h.Format(); err == nil {
			return b
		}
	}
	panic(err) // addresses and TLVs are of forms that it takes
}
