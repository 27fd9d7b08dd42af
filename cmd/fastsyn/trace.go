package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"github.com/spf13/cobra"

	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/trace"
)

// traceFlows is how many flows have their initial numbers remembered.
const traceFlows = 1 << 16

type traceFlags struct {
	read     string
	port     string
	count    int
	duration time.Duration
	absolute bool
}

func newTrace() *cobra.Command {
	var o traceFlags
	cmd := &cobra.Command{
		Use:   "trace",
		Short: "Print a line per frame, from a capture file or a port",
		Long: `Print a line per frame in the form of tcpdump, with flags, options and relative
sequence numbers, and why fastsyn would drop it, if it would.

From a port, what arrives is printed, and on an interface also what the kernel
sends there; nothing is ever sent. What fastsyn sends goes past such taps: look at the peer's
end, or capture with impair(pcap=FILE).
` + exitHelp,
		Example: `  # A capture file, pcap or pcapng; - reads standard input.
  fastsyn trace --read capture.pcap

  # What arrives at an interface, until ten frames have come.
  fastsyn trace --port afpacket:veth0 --count 10

  # All frames of the link, absolute sequence numbers.
  fastsyn trace --port 'afpacket:veth0?promisc=true' -S`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runTrace(cmd, &o) },
	}
	f := cmd.Flags()
	f.StringVarP(&o.read, "read", "r", "", "capture file to read (pcap or pcapng; - for standard input)")
	f.StringVar(&o.port, "port", "", "port to listen at: afpacket:IFACE")
	f.IntVarP(&o.count, "count", "c", 0, "stop after this many frames (0: no bound)")
	f.DurationVar(&o.duration, "duration", 0, "stop after this time (0: at the end of the file, or on SIGINT)")
	f.BoolVarP(&o.absolute, "absolute", "S", false, "absolute sequence numbers")
	return cmd
}

func runTrace(cmd *cobra.Command, o *traceFlags) error {
	switch {
	case o.read == "" && o.port == "":
		return usagef("give --read FILE or --port PORT")
	case o.read != "" && o.port != "":
		return usagef("--read and --port: give one of them")
	case o.count < 0:
		return usagef("--count %d: want a number of frames; 0 for no bound", o.count)
	case o.duration < 0:
		return usagef("--duration %v: want a time; 0 for no bound", o.duration)
	}
	ctx := cmd.Context()
	if o.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.duration)
		defer cancel()
	}
	t := &tracer{out: bufio.NewWriter(cmd.OutOrStdout()), left: o.count, bounded: o.count > 0}
	if !o.absolute {
		t.flows = trace.NewTracker(traceFlows)
	}
	var err error
	if o.read != "" {
		err = t.file(ctx, o.read, cmd.InOrStdin())
	} else {
		if err := realPort(o.port, "bench with a capture: --port 'impair(pcap=f.pcap):loop:'"); err != nil {
			return err
		}
		err = t.live(ctx, o.port, cmd.ErrOrStderr())
	}
	return errors.Join(err, t.out.Flush())
}

// tracer prints frames. It belongs to one goroutine.
type tracer struct {
	out     *bufio.Writer
	flows   *trace.Tracker // nil: absolute numbers
	left    int
	bounded bool
	buf     []byte
}

// print writes the line of a frame and reports whether more are wanted.
func (t *tracer) print(at time.Time, frame []byte, trusted bool) bool {
	if trusted {
		t.buf = trace.FormatTrusted(t.buf[:0], at, frame, t.flows)
	} else {
		t.buf = trace.Format(t.buf[:0], at, frame, t.flows)
	}
	t.buf = append(t.buf, '\n')
	_, _ = t.out.Write(t.buf) // an error sticks and comes back from Flush
	t.left--
	return !t.bounded || t.left > 0
}

// packets is what both readers of package pcapgo do.
type packets interface {
	ReadPacketData() ([]byte, gopacket.CaptureInfo, error)
	LinkType() layers.LinkType
}

// openCapture tells the formats apart by their first bytes: a section header
// block starts with 0a0d0d0a.
func openCapture(r io.Reader) (packets, error) {
	b := bufio.NewReader(r)
	magic, err := b.Peek(4)
	if err != nil {
		return nil, fmt.Errorf("not a capture: shorter than 4 bytes: %w", err)
	}
	if bytes.Equal(magic, []byte{0x0a, 0x0d, 0x0d, 0x0a}) {
		return pcapgo.NewNgReader(b, pcapgo.DefaultNgReaderOptions)
	}
	return pcapgo.NewReader(b)
}

func (t *tracer) file(ctx context.Context, name string, stdin io.Reader) error {
	in := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return fmt.Errorf("--read: %w", err)
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	r, err := openCapture(in)
	if err != nil {
		return fmt.Errorf("--read %s: not a pcap or pcapng file: %w", name, err)
	}
	if lt := r.LinkType(); lt != layers.LinkTypeEthernet {
		return fmt.Errorf("--read %s: link type %v: only Ethernet captures can be read", name, lt)
	}
	for n := 1; ctx.Err() == nil; n++ {
		frame, info, err := r.ReadPacketData()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("--read %s: frame %d: %w", name, n, err)
		}
		if !t.print(info.Timestamp, frame, false) {
			return nil
		}
	}
	return nil
}

// live prints what arrives at all queues of a port, in turn.
func (t *tracer) live(ctx context.Context, name string, stderr io.Writer) (err error) {
	sp, err := dataplane.ParseSpec(name)
	if err != nil {
		return err
	}
	if sp.Driver == "afpacket" && !slices.ContainsFunc(sp.Params, func(p dataplane.Param) bool { return p.Key == "outgoing" }) {
		sp.Params = append(sp.Params, dataplane.Param{Key: "outgoing", Value: "true"})
	}
	port, err := dataplane.OpenSpec(sp)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, port.Close()) }()
	info := port.Info()
	_, _ = fmt.Fprintf(stderr, "tracing %s\n", name)
	batch := dataplane.NewBatch()
	for ctx.Err() == nil {
		busy := false
		for i := range info.Queues {
			q := port.Queue(i)
			n := q.Rx(batch)
			more := t.burst(batch, n)
			q.Settle(batch) // all verdicts are Drop: nothing is sent
			if !more {
				return nil
			}
			if n > 0 {
				busy = true
				continue
			}
			if err := q.Err(); err != nil {
				return err
			}
		}
		if !busy {
			if err := t.out.Flush(); err != nil {
				return err
			}
			// One queue can be waited for; with more, look at all often.
			wait := 100 * time.Millisecond
			if info.Queues > 1 {
				wait = time.Millisecond
			}
			port.Queue(0).Wait(wait)
		}
	}
	return nil
}

func (t *tracer) burst(b *dataplane.Batch, n int) (more bool) {
	now := time.Now()
	for i := range n {
		if !t.print(now, b.Data[i], b.Meta[i].Flags&dataplane.MetaCsumGood != 0) {
			return false
		}
	}
	return true
}
