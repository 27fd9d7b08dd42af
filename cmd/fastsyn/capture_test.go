package main

import (
	"os"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// handshakeFrames are the three segments that open a connection.
func handshakeFrames() [][]byte {
	client := wire.Tuple{Local: wire.Addr4(0x0a000001), LocalPort: 4000, Remote: wire.Addr4(0x0a000002), RemotePort: 80}
	back := wire.Tuple{Local: client.Remote, LocalPort: 80, Remote: client.Local, RemotePort: 4000}
	var out [][]byte
	for _, s := range []wire.Segment{
		{Tuple: client, Seq: 1000, Flags: wire.FlagSYN, Win: 64240, Opt: wire.Options{Has: wire.HasMSS, MSS: 1460}},
		{Tuple: back, Seq: 5000, Ack: 1001, Flags: wire.FlagSYN | wire.FlagACK, Win: 65535, Opt: wire.Options{Has: wire.HasMSS, MSS: 1460}},
		{Tuple: client, Seq: 1001, Ack: 5001, Flags: wire.FlagACK, Win: 64240},
	} {
		b := make([]byte, 128)
		n := wire.PutLink(b, &wire.Link{Dst: [6]byte{2, 0, 0, 0, 0, 1}, Src: [6]byte{2, 0, 0, 0, 0, 2}}, wire.EtherTypeIPv4)
		n += wire.PutTCP(b[n:], &s, nil)
		out = append(out, b[:n])
	}
	return out
}

func captureInfo(i int, frame []byte) gopacket.CaptureInfo {
	return gopacket.CaptureInfo{Timestamp: time.Unix(1700000000, int64(i)*1000), CaptureLength: len(frame), Length: len(frame)}
}

func writePcap(t *testing.T, name string, frames [][]byte) {
	f, err := os.Create(name)
	require.NoError(t, err)
	w := pcapgo.NewWriter(f)
	require.NoError(t, w.WriteFileHeader(65535, layers.LinkTypeEthernet))
	for i, b := range frames {
		require.NoError(t, w.WritePacket(captureInfo(i, b), b))
	}
	require.NoError(t, f.Close())
}

func writePcapng(t *testing.T, name string, frames [][]byte) {
	f, err := os.Create(name)
	require.NoError(t, err)
	w, err := pcapgo.NewNgWriter(f, layers.LinkTypeEthernet)
	require.NoError(t, err)
	for i, b := range frames {
		require.NoError(t, w.WritePacket(captureInfo(i, b), b))
	}
	require.NoError(t, w.Flush())
	require.NoError(t, f.Close())
}
