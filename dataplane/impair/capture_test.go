package impair

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gopacket/gopacket/pcapgo"
	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/loop"
)

func TestPcap(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f.pcap")
	r := newRig(t, Config{Loss: 0.5, Seed: 1, Delay: time.Millisecond, Pcap: name, Dir: DirBoth}, loop.Config{})
	r.send(r.q, 0, 40)
	lost := int(r.p.Impaired(0).Tx.Lost)
	t0 := r.clock.t
	r.clock.t = r.clock.t.Add(time.Millisecond)
	r.q.Rx(r.b)
	sent := r.receive(r.far)
	require.Len(t, sent, 40-lost)
	r.send(r.far, 100, 10)
	r.receive(r.q)
	r.q.Wait(time.Nanosecond) // idle: the file is complete so far
	for range 2 {
		var got []int
		f, err := os.Open(name)
		require.NoError(t, err)
		rd, err := pcapgo.NewReader(f)
		require.NoError(t, err)
		for {
			data, ci, err := rd.ReadPacketData()
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err)
			require.True(t, ci.Timestamp.Equal(t0.Add(time.Millisecond)), "nanoseconds")
			require.True(t, bytes.Equal(frame(number(data)), data))
			got = append(got, number(data))
		}
		require.NoError(t, f.Close())
		require.Equal(t, append(sent, seq(100, 10)...), got, "sent after, received before the impairment")
		require.NoError(t, r.p.CaptureErr())
		require.NoError(t, r.p.Close())
	}
}

func TestPcapErrors(t *testing.T) {
	a, _, err := loop.Pair(loop.Config{})
	require.NoError(t, err)
	_, err = New(a, Config{Pcap: filepath.Join(t.TempDir(), "no", "such", "f.pcap")})
	require.ErrorContains(t, err, "impair: pcap: cannot create the capture file")

	r := newRig(t, Config{}, loop.Config{})
	r.p.cap, err = newCapture(filepath.Join(t.TempDir(), "f.pcap"))
	require.NoError(t, err)
	require.NoError(t, r.p.cap.file.Close()) // the disk goes away
	r.send(r.q, 0, 1)
	r.q.Wait(time.Nanosecond)
	require.ErrorContains(t, r.p.CaptureErr(), "capture ended early")
	require.Equal(t, 1, r.send(r.q, 0, 1), "traffic goes on")
	require.ErrorContains(t, r.p.Close(), "capture ended early")
	require.NoError(t, r.p.Close())
}
