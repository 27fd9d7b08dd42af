package impair

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/fastsyn/fastsyn/dataplane"
)

const snapLen = 65535

// capture writes one pcap file for all queues of a port. After the first
// failure it stops writing and keeps the error.
type capture struct {
	mu    sync.Mutex
	file  *os.File
	buf   *bufio.Writer
	w     *pcapgo.Writer
	dirty bool
	err   error
}

func newCapture(name string) (*capture, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("impair: pcap: cannot create the capture file: %w; give a path in a writable directory", err)
	}
	c := &capture{file: f, buf: bufio.NewWriterSize(f, 1<<16)}
	c.w = pcapgo.NewWriterNanos(c.buf)
	err = c.w.WriteFileHeader(snapLen, layers.LinkTypeEthernet)
	if err == nil {
		err = c.buf.Flush()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("impair: pcap %s: writing the file header: %w; is the disk full?", name, err), f.Close())
	}
	return c, nil
}

func (c *capture) write(b *dataplane.Batch, n int, tx bool, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range n {
		if c.err != nil || tx && b.Verdict[i] != dataplane.Reply {
			continue
		}
		d := b.Data[i]
		ci := gopacket.CaptureInfo{Timestamp: now, Length: len(d), CaptureLength: min(len(d), snapLen)}
		c.fail(c.w.WritePacket(ci, d[:ci.CaptureLength]))
		c.dirty = true
	}
}

// flush lets a reader of the file see all of it; called when a queue is idle.
func (c *capture) flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dirty && c.err == nil {
		c.dirty = false
		c.fail(c.buf.Flush())
	}
}

func (c *capture) fail(err error) {
	if err != nil && c.err == nil {
		c.err = fmt.Errorf("impair: pcap %s: capture ended early: %w; is the disk full?", c.file.Name(), err)
	}
}

func (c *capture) failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func (c *capture) close() error {
	c.flush()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fail(c.file.Close())
	return c.err
}
