package main

import (
	"encoding/hex"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/rss"
)

const rssSchema = "fastsyn.rss/v1"

// symmetricWarning is RSS-005.
const symmetricWarning = "the key repeats every 16 bits: both directions hash alike, but a hash carries 16 bits only and " +
	"collisions are easy to construct; spread frames over queues with it, never index a table with it (RSS-005)"

type rssFlags struct {
	src, dst string
	key      string
	reta     int
	queues   int
	ipOnly   bool
	pick     bool
	local    string
	remote   string
	queue    int
	ports    string
	count    int
	json     bool
}

func newRSS() *cobra.Command {
	var o rssFlags
	cmd := &cobra.Command{
		Use:   "rss",
		Short: "Compute the receive queue of a TCP tuple, or source ports for a queue",
		Long: `Compute what a NIC with receive side scaling does with a TCP segment: the
Toeplitz hash of its tuple as received, the entry of the redirection table
(RETA) and the queue. --src is the sender of the frame.

With --pick, print source ports with which connections from --local to --remote
have their replies arrive on --queue.

The table is the one that drivers start with: queues dealt out in turn.
` + exitHelp,
		Example: `  # Which queue gets this segment, and do both directions meet?
  fastsyn rss --src 198.51.100.2:80 --dst 192.0.2.1:32768

  # With the symmetric key, for a NIC with 8 queues and a table of 512.
  fastsyn rss --src '[2001:db8::1]:5000' --dst '[2001:db8::2]:443' --key symmetric --reta 512 --queues 8

  # With the key that "ethtool -x eth0" prints.
  fastsyn rss --src 10.0.0.1:1 --dst 10.0.0.2:2 --key 6d:5a:56:da:25:5b:0e:c2:41:67:25:3d:43:a3:8f:b0:d0:ca:2b:cb:ae:7b:30:b4:77:cb:2d:a3:80:30:f2:0c:6a:42:b7:3b:be:ac:01:fa

  # Ten source ports whose replies come to queue 2.
  fastsyn rss --pick --local 192.0.2.1 --remote 198.51.100.2:80 --queue 2 --count 10`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runRSS(cmd, &o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.src, "src", "", "source of the received segment, ADDR:PORT ([ADDR]:PORT for IPv6)")
	f.StringVar(&o.dst, "dst", "", "destination of the received segment, ADDR:PORT")
	f.StringVar(&o.key, "key", "default", "hash key: default (Microsoft's), symmetric, or 40 to 52 bytes in hexadecimal")
	f.IntVar(&o.reta, "reta", 128, "entries of the RETA, a power of two up to 4096")
	f.IntVar(&o.queues, "queues", 4, "receive queues")
	f.BoolVar(&o.ipOnly, "ip-only", false, "hash the addresses without the ports, as for fragments")
	f.BoolVar(&o.pick, "pick", false, "print source ports for a queue")
	f.StringVar(&o.local, "local", "", "with --pick: own address, ADDR")
	f.StringVar(&o.remote, "remote", "", "with --pick: peer, ADDR:PORT")
	f.IntVar(&o.queue, "queue", 0, "with --pick: the queue that replies shall come to")
	f.StringVar(&o.ports, "range", "1024-65535", "with --pick: source ports to choose from, LOW-HIGH")
	f.IntVar(&o.count, "count", 10, "with --pick: how many ports to print (0: all)")
	f.BoolVar(&o.json, "json", false, "print JSON")
	return cmd
}

func runRSS(cmd *cobra.Command, o *rssFlags) error {
	// What belongs to the other form is more likely a slip than a wish.
	one, other, missing := []string{"src", "dst"}, []string{"local", "remote", "queue", "range", "count"}, "add --pick to choose ports, or leave it out"
	if o.pick {
		one, other, missing = []string{"local", "remote"}, []string{"src", "dst", "ip-only"}, "leave it out with --pick"
	}
	for _, name := range other {
		if cmd.Flags().Changed(name) {
			return usagef("--%s: %s", name, missing)
		}
	}
	for _, name := range one {
		if cmd.Flags().Lookup(name).Value.String() == "" {
			example := map[string]string{
				"src": "--src 198.51.100.2:80", "dst": "--dst 192.0.2.1:32768",
				"local": "--local 192.0.2.1", "remote": "--remote 198.51.100.2:80",
			}[name]
			return usagef("--%s is missing: for example %s (or --pick --local ADDR --remote ADDR:PORT --queue Q for source ports)", name, example)
		}
	}
	key, err := parseKey(o.key)
	if err != nil {
		return err
	}
	reta, err := rss.NewRETA(o.reta, o.queues)
	if err != nil {
		return usagef("--reta %d --queues %d: %w", o.reta, o.queues, err)
	}
	d := rssDevice{Schema: rssSchema, Key: keyName(key), RETA: len(reta), Queues: o.queues}
	if key.Symmetric() {
		d.Warning = symmetricWarning
	}
	hash := rss.New(key)
	var out interface{ text(io.Writer) error }
	if o.pick {
		out, err = pickPorts(o, d, hash, reta)
	} else {
		out, err = explainTuple(o, d, hash, reta)
	}
	if err != nil {
		return err
	}
	if o.json {
		return indentJSON(cmd.OutOrStdout(), out)
	}
	return out.text(cmd.OutOrStdout())
}

// rssDevice is what both answers begin with.
type rssDevice struct {
	Schema  string `json:"schema"`
	Key     string `json:"key"` // default, symmetric or other
	RETA    int    `json:"reta_size"`
	Queues  int    `json:"queues"`
	Warning string `json:"warning,omitempty"`
}

func (d rssDevice) text(w io.Writer) error {
	_, err := fmt.Fprintf(w, "device   key %s, RETA of %d entries dealt out in turn to %d queues\n", d.Key, d.RETA, d.Queues)
	if err == nil && d.Warning != "" {
		_, err = fmt.Fprintf(w, "warning  %s\n", d.Warning)
	}
	return err
}

// rssHash is where one direction of a tuple goes.
type rssHash struct {
	Src   string `json:"src"`
	Dst   string `json:"dst"`
	Hash  string `json:"hash"`
	Entry int    `json:"reta_index"`
	Queue int    `json:"queue"`
}

// rssTuple is the answer for one tuple.
type rssTuple struct {
	rssDevice
	IPOnly    bool    `json:"ip_only"`
	Segment   rssHash `json:"segment"`
	Reverse   rssHash `json:"reverse"`
	SameQueue bool    `json:"same_queue"`
}

func (a rssTuple) text(w io.Writer) error {
	if err := a.rssDevice.text(w); err != nil {
		return err
	}
	input := "addresses and ports"
	if a.IPOnly {
		input = "addresses only"
	}
	line := func(name string, h rssHash) string {
		return fmt.Sprintf("%s  %s > %s: hash %s over %s, RETA entry %d (hash & %d), queue %d\n", name, h.Src, h.Dst, h.Hash, input, h.Entry, a.RETA-1, h.Queue)
	}
	verdict := "both directions meet on one queue"
	switch {
	case a.SameQueue && a.Segment.Hash != a.Reverse.Hash && a.Queues > 1:
		verdict += ", by chance: their hashes differ"
	case !a.SameQueue:
		verdict = fmt.Sprintf("the directions go to different queues: a middlebox would see this flow on two cores; use --key symmetric, or as a client choose the source port (fastsyn rss --pick --queue %d)", a.Segment.Queue)
	}
	_, err := fmt.Fprint(w, line("segment", a.Segment), line("reverse", a.Reverse), "verdict  ", verdict, "\n")
	return err
}

func explainTuple(o *rssFlags, d rssDevice, hash *rss.Toeplitz, reta rss.RETA) (*rssTuple, error) {
	src, err := tcpAddr("src", o.src)
	if err != nil {
		return nil, err
	}
	dst, err := tcpAddr("dst", o.dst)
	if err != nil {
		return nil, err
	}
	if src.Addr().Is4() != dst.Addr().Is4() {
		return nil, usagef("--src %s and --dst %s: one is IPv4 and the other IPv6; a segment has two of one family", o.src, o.dst)
	}
	direction := func(from, to netip.AddrPort) rssHash {
		h := hashTuple(hash, from, to, o.ipOnly)
		return rssHash{from.String(), to.String(), fmt.Sprintf("0x%08x", h), int(h) & (len(reta) - 1), int(reta.Queue(h))}
	}
	a := &rssTuple{rssDevice: d, IPOnly: o.ipOnly, Segment: direction(src, dst), Reverse: direction(dst, src)}
	a.SameQueue = a.Segment.Queue == a.Reverse.Queue
	return a, nil
}

func hashTuple(t *rss.Toeplitz, src, dst netip.AddrPort, ipOnly bool) uint32 {
	sport, dport := src.Port(), dst.Port()
	if ipOnly { // zero bits add nothing, so this is the hash without ports
		sport, dport = 0, 0
	}
	s, d := wire.AddrFrom(src.Addr()), wire.AddrFrom(dst.Addr())
	if src.Addr().Is4() {
		return t.Hash4(s.V4(), d.V4(), sport, dport)
	}
	return t.Hash6(s.Hi, s.Lo, d.Hi, d.Lo, sport, dport)
}

// rssPorts is the answer to --pick.
type rssPorts struct {
	rssDevice
	Local     string   `json:"local"`
	Remote    string   `json:"remote"`
	Queue     int      `json:"queue"`
	Range     string   `json:"range"`
	Available int      `json:"available"` // ports of the range for this queue
	PerQueue  []int    `json:"available_per_queue"`
	Ports     []uint16 `json:"ports"`
}

func (a rssPorts) text(w io.Writer) error {
	if err := a.rssDevice.text(w); err != nil {
		return err
	}
	list := make([]string, len(a.Ports))
	for i, p := range a.Ports {
		list[i] = strconv.Itoa(int(p))
	}
	_, err := fmt.Fprintf(w, "replies  %s > %s:PORT to queue %d\nrange    %s has %d such ports (per queue %v), %d shown\nports    %s\n",
		a.Remote, bracket(a.Local), a.Queue, a.Range, a.Available, a.PerQueue, len(a.Ports), strings.Join(list, " "))
	return err
}

func bracket(addr string) string {
	if strings.Contains(addr, ":") {
		return "[" + addr + "]"
	}
	return addr
}

func pickPorts(o *rssFlags, d rssDevice, hash *rss.Toeplitz, reta rss.RETA) (*rssPorts, error) {
	remote, err := tcpAddr("remote", o.remote)
	if err != nil {
		return nil, err
	}
	local, err := netip.ParseAddr(o.local)
	if err != nil {
		return nil, usagef("--local %q: want an address without a port, such as 192.0.2.1: the ports are what --pick is to find", o.local)
	}
	local = local.Unmap().WithZone("")
	switch {
	case local.Is4() != remote.Addr().Is4():
		return nil, usagef("--local %s and --remote %s: one is IPv4 and the other IPv6; give two of one family", o.local, o.remote)
	case o.queue < 0 || o.queue >= o.queues:
		return nil, usagef("--queue %d: want 0 to %d, or raise --queues %d", o.queue, o.queues-1, o.queues)
	case o.count < 0:
		return nil, usagef("--count %d: want a number of ports; 0 for all", o.count)
	}
	lo, hi, err := portRange(o.ports)
	if err != nil {
		return nil, err
	}
	picker, err := rss.NewPicker(hash, reta, lo, hi)
	if err != nil {
		return nil, usagef("--range %s: %w", o.ports, err)
	}
	r, l := wire.AddrFrom(remote.Addr()), wire.AddrFrom(local)
	var set rss.PortSet
	if local.Is4() {
		set = picker.Start4(r.V4(), l.V4(), remote.Port())
	} else {
		set = picker.Start6(r.Hi, r.Lo, l.Hi, l.Lo, remote.Port())
	}
	a := &rssPorts{
		rssDevice: d, Local: local.String(), Remote: remote.String(), Queue: o.queue,
		Range: fmt.Sprintf("%d-%d", lo, hi), Available: set.Count(o.queue), Ports: []uint16{},
	}
	for q := range o.queues {
		a.PerQueue = append(a.PerQueue, set.Count(q))
	}
	if a.Available == 0 {
		return nil, fmt.Errorf("rss: no source port of %s brings replies of %s to queue %d (ports per queue: %v); widen --range, or use another local address",
			a.Range, a.Remote, a.Queue, a.PerQueue)
	}
	walk := set.Walk(o.queue, 0)
	for o.count == 0 || len(a.Ports) < o.count {
		port, ok := walk.Next()
		if !ok {
			break
		}
		a.Ports = append(a.Ports, port)
	}
	return a, nil
}

// tcpAddr reads ADDR:PORT; mapped IPv4 becomes IPv4, zones are refused.
func tcpAddr(flag, s string) (netip.AddrPort, error) {
	a, err := netip.ParseAddrPort(s)
	switch {
	case err != nil:
		if addr, e := netip.ParseAddr(s); e == nil {
			return a, usagef("--%s %q: the port is missing: write %s", flag, s, netip.AddrPortFrom(addr, 80))
		}
		return a, usagef("--%s %q: want ADDR:PORT with a numeric address, such as 192.0.2.1:80 or [2001:db8::1]:80", flag, s)
	case a.Addr().Zone() != "":
		return a, usagef("--%s %q: leave out the zone %%%s: it is not in the frame", flag, s, a.Addr().Zone())
	}
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()), nil
}

// parseKey reads --key.
func parseKey(s string) (rss.Key, error) {
	switch s {
	case "default":
		return rss.DefaultKey, nil
	case "symmetric":
		return rss.SymmetricKey, nil
	}
	b, err := hex.DecodeString(strings.NewReplacer(":", "", " ", "", "0x", "").Replace(s))
	if err != nil {
		// Not quoted: a key with one wrong digit is still a key.
		return rss.Key{}, usagef("--key: want \"default\", \"symmetric\" or 40 to 52 bytes in hexadecimal, colons allowed, as ethtool -x prints them%s",
			didYouMean(s, "", []string{"default", "symmetric"}))
	}
	key, err := rss.NewKey(b)
	if err != nil {
		return key, usagef("--key: %w; ethtool -x IFACE prints the key of a device", err)
	}
	return key, nil
}

// keyName names a key without its bytes: a key of one's own is a secret.
func keyName(k rss.Key) string {
	switch k {
	case rss.DefaultKey:
		return "default"
	case rss.SymmetricKey:
		return "symmetric"
	}
	return "as given"
}

func portRange(s string) (lo, hi uint16, err error) {
	from, to, _ := strings.Cut(s, "-")
	l, err1 := strconv.ParseUint(strings.TrimSpace(from), 10, 16)
	h, err2 := strconv.ParseUint(strings.TrimSpace(to), 10, 16)
	if err1 != nil || err2 != nil || l < 1 || l > h {
		return 0, 0, usagef("--range %q: want LOW-HIGH with 1 <= LOW <= HIGH <= 65535, such as 1024-65535", s)
	}
	return uint16(l), uint16(h), nil
}
