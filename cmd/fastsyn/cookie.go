package main

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/gopacket/gopacket/layers"
	"github.com/spf13/cobra"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

func newCookie() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cookie",
		Short: "Look into SYN cookies",
		Long:  `Look into SYN cookies. See docs/cookies.md for their layout.`,
		Example: `  # What does the first SYN-ACK of a capture say?
  fastsyn cookie explain --read capture.pcap --secret-file /etc/fastsyn/secret`,
		Args: noCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newCookieExplain())
	return cmd
}

type explainFlags struct {
	read       string
	frame      int
	tuple      string
	seq, ack   string
	irs        string
	tsval      string
	at         string
	codec      string
	secretFile string
	epoch      time.Duration
	count      string
	tsOffset   string
}

func newCookieExplain() *cobra.Command {
	var o explainFlags
	cmd := &cobra.Command{
		Use:   "explain",
		Short: "Say what the cookie in a SYN-ACK stands for",
		Long: `Say what the cookie in a SYN-ACK stands for: form, parity and number of its epoch,
MSS, window scale, SACK, ECN and age, and whether its MAC verifies.

The SYN-ACK comes from a capture file, or from flags. Without the secret, what
can be known is said, and what cannot.

With --codec linux the cookie is read as the Linux kernel writes it; the secret is
then its two keys as 64 hexadecimal digits.
` + secretHelp + `
` + exitHelp,
		Example: `  # The first SYN-ACK of a capture, or frame 12 of it.
  fastsyn cookie explain --read capture.pcap --secret-file /etc/fastsyn/secret
  fastsyn cookie explain --read capture.pcap --frame 12

  # From numbers, as tcpdump -S prints them; the sender of the SYN-ACK comes first.
  fastsyn cookie explain --tuple '192.0.2.1:80 > 198.51.100.2:40000' --seq 2584045388 --ack 16909061 \
      --time 2024-02-29T12:00:20Z --secret-file /etc/fastsyn/secret

  # With timestamps: their value selects the form.
  fastsyn cookie explain --tuple '[2001:db8::1]:443 > [2001:db8::2]:40000' --seq 0x0ef23f56 --irs 0x01020304 --tsval 2773804103

  # A cookie of a Linux host whose keys are known.
  FASTSYN_SECRET=$(cat keys) fastsyn cookie explain --codec linux --count 1000 \
      --tuple '192.0.2.1:80 > 198.51.100.2:40000' --seq 0x7c730b04 --irs 0x01020304`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runCookieExplain(cmd, &o) },
	}
	f := cmd.Flags()
	f.StringVarP(&o.read, "read", "r", "", "capture file to read (pcap or pcapng; - for standard input)")
	f.IntVar(&o.frame, "frame", 0, "number of the frame in the capture, from 1 (0: the first SYN-ACK)")
	f.StringVar(&o.tuple, "tuple", "", "'ADDRESS:PORT > ADDRESS:PORT', sender of the SYN-ACK first")
	f.StringVar(&o.seq, "seq", "", "sequence number of the SYN-ACK, decimal or 0x")
	f.StringVar(&o.ack, "ack", "", "its acknowledgment number")
	f.StringVar(&o.irs, "irs", "", "sequence number of the SYN, in place of --ack")
	f.StringVar(&o.tsval, "tsval", "", "its timestamp, if it carries the option")
	f.StringVar(&o.at, "time", "", "when it was sent: RFC 3339, or seconds since 1970 (default: as captured, else now)")
	f.StringVar(&o.codec, "codec", "fastsyn", "fastsyn or linux")
	f.StringVar(&o.secretFile, "secret-file", "", "file with the secret (default: $"+secretEnv+")")
	f.DurationVar(&o.epoch, "cookie-epoch", time.Minute, "life of a cookie key, as its sender was told")
	f.StringVar(&o.count, "count", "", "with --codec linux: the host's count of minutes (default: since 1970)")
	f.StringVar(&o.tsOffset, "ts-offset", "", "with --codec linux: what the host adds to the timestamp of this tuple")
	return cmd
}

// synAck is what there is to explain.
type synAck struct {
	wire.Tuple        // Local is the sender
	iss, irs   uint32 // of sender and receiver
	tsval      uint32
	hasTS      bool
	at         time.Time // when it was sent
}

func runCookieExplain(cmd *cobra.Command, o *explainFlags) error {
	if err := oneOf("codec", o.codec, "fastsyn", "linux"); err != nil {
		return err
	}
	var sa synAck
	var err error
	switch {
	case o.read == "" && o.tuple == "":
		return usagef("give --read FILE, or --tuple with --seq and --ack")
	case o.read != "" && (o.tuple != "" || o.seq != "" || o.ack != "" || o.irs != "" || o.tsval != ""):
		return usagef("--read and --tuple, --seq, --ack, --irs, --tsval: give a capture or numbers")
	case o.read != "":
		err = o.fromCapture(&sa, cmd.InOrStdin())
	default:
		err = o.fromFlags(&sa)
	}
	if err != nil {
		return err
	}
	if o.at != "" {
		if sa.at, err = parseTime(o.at); err != nil {
			return err
		}
	}
	e := explanation{w: cmd.OutOrStdout()}
	e.head(&sa)
	if o.codec == "linux" {
		err = o.explainLinux(&e, &sa)
	} else {
		err = o.explainOwn(&e, &sa)
	}
	return errors.Join(err, e.err)
}

func (o *explainFlags) fromFlags(sa *synAck) (err error) {
	if o.frame != 0 {
		return usagef("--frame %d: needs --read FILE", o.frame)
	}
	if sa.Tuple, err = parseTuple(o.tuple); err != nil {
		return err
	}
	if o.seq == "" {
		return usagef("--seq is missing: the sequence number of the SYN-ACK (tcpdump -S prints it)")
	}
	if sa.iss, err = parse32("seq", o.seq); err != nil {
		return err
	}
	switch {
	case o.ack != "" && o.irs != "":
		return usagef("--ack and --irs: give one of them; --ack is --irs plus 1")
	case o.ack != "":
		sa.irs, err = parse32("ack", o.ack)
		sa.irs--
	case o.irs != "":
		sa.irs, err = parse32("irs", o.irs)
	default:
		return usagef("--ack is missing: the acknowledgment number of the SYN-ACK, or --irs, the sequence number of the SYN")
	}
	if err != nil {
		return err
	}
	if o.tsval != "" {
		sa.hasTS = true
		if sa.tsval, err = parse32("tsval", o.tsval); err != nil {
			return err
		}
	}
	sa.at = time.Now()
	return nil
}

// fromCapture reads the SYN-ACK that --frame names, or the first.
func (o *explainFlags) fromCapture(sa *synAck, stdin io.Reader) error {
	if o.frame < 0 {
		return usagef("--frame %d: frames count from 1; 0 for the first SYN-ACK", o.frame)
	}
	in := stdin
	if o.read != "-" {
		f, err := os.Open(o.read)
		if err != nil {
			return fmt.Errorf("--read: %w", err)
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	r, err := openCapture(in)
	if err != nil {
		return fmt.Errorf("--read %s: not a pcap or pcapng file: %w", o.read, err)
	}
	if lt := r.LinkType(); lt != layers.LinkTypeEthernet {
		return fmt.Errorf("--read %s: link type %v: only Ethernet captures can be read", o.read, lt)
	}
	var p wire.Packet
	for n := 1; ; n++ {
		frame, info, err := r.ReadPacketData()
		if errors.Is(err, io.EOF) {
			if o.frame > 0 {
				return fmt.Errorf("--frame %d: %s has %d frames", o.frame, o.read, n-1)
			}
			return fmt.Errorf("--read %s: no SYN-ACK among its %d frames; fastsyn trace --read %s shows them", o.read, n-1, o.read)
		}
		if err != nil {
			return fmt.Errorf("--read %s: frame %d: %w", o.read, n, err)
		}
		if o.frame > 0 && n != o.frame {
			continue
		}
		// A capture taken at the sender may hold checksums that the device filled in later.
		reason := wire.Parse(frame, true, &p)
		is := reason == wire.OK && p.Kind == wire.KindTCP && p.Seg.Flags&(wire.FlagSYN|wire.FlagACK|wire.FlagRST) == wire.FlagSYN|wire.FlagACK
		if !is {
			if o.frame > 0 {
				return fmt.Errorf("--frame %d: not a SYN-ACK; fastsyn trace --read %s shows what it is", o.frame, o.read)
			}
			continue
		}
		s := &p.Seg // Remote is the source
		sa.Tuple = wire.Tuple{Local: s.Remote, LocalPort: s.RemotePort, Remote: s.Local, RemotePort: s.LocalPort}
		sa.iss, sa.irs, sa.at = uint32(s.Seq), uint32(s.Ack)-1, info.Timestamp
		sa.hasTS, sa.tsval = s.Opt.Has&wire.HasTimestamps != 0, s.Opt.TSVal
		return nil
	}
}

// parseTuple reads 'ADDRESS:PORT > ADDRESS:PORT', sender first.
func parseTuple(text string) (t wire.Tuple, err error) {
	from, to, ok := strings.Cut(text, ">")
	if !ok {
		return t, usagef("--tuple %q: want 'ADDRESS:PORT > ADDRESS:PORT', sender of the SYN-ACK first, in quotes", text)
	}
	var ends [2]netip.AddrPort
	for i, s := range []string{from, to} {
		if ends[i], err = netip.ParseAddrPort(strings.TrimSpace(s)); err != nil {
			return t, usagef("--tuple %q: %w; want 192.0.2.1:80 or [2001:db8::1]:80", text, err)
		}
	}
	if ends[0].Addr().Unmap().Is4() != ends[1].Addr().Unmap().Is4() {
		return t, usagef("--tuple %q: one address is IPv4 and the other IPv6", text)
	}
	t.Local, t.LocalPort = wire.AddrFrom(ends[0].Addr()), ends[0].Port()
	t.Remote, t.RemotePort = wire.AddrFrom(ends[1].Addr()), ends[1].Port()
	return t, nil
}

func parse32(flag, text string) (uint32, error) {
	v, err := strconv.ParseUint(text, 0, 32)
	if err != nil {
		return 0, usagef("--%s %q: want a number from 0 to 4294967295, decimal or 0x hexadecimal", flag, text)
	}
	return uint32(v), nil
}

func parseTime(text string) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t, nil
	}
	if s, err := strconv.ParseFloat(text, 64); err == nil && s >= 0 && s < 1<<40 {
		whole := int64(s)
		return time.Unix(whole, int64((s-float64(whole))*1e9)), nil
	}
	return time.Time{}, usagef("--time %q: want RFC 3339, such as 2024-02-29T12:00:20Z, or seconds since 1970", text)
}
