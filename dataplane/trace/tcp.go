package trace

import "github.com/fastsyn/fastsyn/dataplane/wire"

// flagLetters is in print order. AE has the letter of tcpdump 5; 4.99 ignores it.
var flagLetters = [...]struct {
	f wire.Flags
	c byte
}{
	{wire.FlagFIN, 'F'},
	{wire.FlagSYN, 'S'},
	{wire.FlagRST, 'R'},
	{wire.FlagPSH, 'P'},
	{wire.FlagACK, '.'},
	{wire.FlagURG, 'U'},
	{wire.FlagECE, 'E'},
	{wire.FlagCWR, 'W'},
	{wire.FlagAE, 'e'},
}

func tcp(b []byte, src, dst wire.Addr, s wire.TCP, r wire.Reason, t *Tracker) []byte {
	tup := wire.Tuple{Remote: src, Local: dst, RemotePort: s.SrcPort(), LocalPort: s.DstPort()}
	flags, seq, ack := s.Flags(), s.Seq(), s.Ack()
	// A segment that may be noise must not move the base of a flow.
	damaged := r == wire.ReasonBadIPChecksum || r == wire.ReasonBadTCPChecksum
	base, peerBase := t.bases(tup, flags, seq, ack, !damaged)
	n := uint32(len(s.Payload()))

	b = sockets(b, src, dst, tup.RemotePort, tup.LocalPort)
	b = append(b, "Flags ["...)
	if flags == 0 {
		b = append(b, "none"...)
	}
	for _, l := range flagLetters {
		if flags&l.f != 0 {
			b = append(b, l.c)
		}
	}
	b = append(b, ']')
	if n > 0 || flags&(wire.FlagSYN|wire.FlagFIN|wire.FlagRST) != 0 {
		b = num(append(b, ", seq "...), seq-base)
		if n > 0 {
			b = num(append(b, ':'), uint32(seq-base)+n)
		}
	}
	if flags&wire.FlagACK != 0 {
		b = num(append(b, ", ack "...), ack-peerBase)
	}
	b = num(append(b, ", win "...), s.Window())
	if flags&wire.FlagURG != 0 {
		b = num(append(b, ", urg "...), s.Urgent())
	}
	if len(s.Options()) > 0 {
		b = append(options(append(b, ", options ["...), s.Options(), peerBase), ']')
	}
	return length(b, int(n))
}

// options prints option list opts; SACK blocks are relative to base.
func options(b, opts []byte, base wire.Seq) []byte {
	it := wire.NewOptionIter(opts)
	for first := true; ; first = false {
		o, ok := it.Next()
		if !first && (ok || it.Malformed()) {
			b = append(b, ',')
		}
		if !ok {
			break
		}
		b = option(b, o, base)
	}
	if it.Malformed() {
		b = append(b, "[bad opt]"...)
	}
	return b
}

func option(b []byte, o wire.Option, base wire.Seq) []byte {
	d := o.Data
	fixed := func(name string, n int) bool { // prints name; says whether the length is right
		b = append(b, name...)
		if len(d) == n {
			return true
		}
		b = append(num(append(b, "[len "...), o.Len), ']')
		return false
	}
	switch o.Kind {
	case wire.OptEOL:
		return append(b, "eol"...)
	case wire.OptNOP:
		return append(b, "nop"...)
	case wire.OptMSS:
		if fixed("mss", 2) {
			b = num(append(b, ' '), be.Uint16(d))
		}
	case wire.OptWScale:
		if fixed("wscale", 1) {
			b = num(append(b, ' '), d[0])
		}
	case wire.OptSACKPermitted:
		fixed("sackOK", 0)
	case wire.OptTimestamps:
		if fixed("TS", 8) {
			b = num(append(b, " val "...), be.Uint32(d))
			b = num(append(b, " ecr "...), be.Uint32(d[4:]))
		}
	case wire.OptSACK:
		if len(d)%8 != 0 {
			return append(b, "sack malformed sack"...)
		}
		b = append(num(append(b, "sack "...), len(d)/8), ' ')
		for ; len(d) > 0; d = d[8:] {
			b = num(append(b, '{'), wire.Seq(be.Uint32(d))-base)
			b = num(append(b, ':'), wire.Seq(be.Uint32(d[4:]))-base)
			b = append(b, '}')
		}
	case wire.OptMD5:
		b = appendHex(append(b, "md5 "...), d)
	case wire.OptAO:
		if len(d) < 2 {
			return append(b, "tcp-ao (invalid)"...)
		}
		b = num(append(b, "tcp-ao keyid "...), d[0])
		b = num(append(b, " rnextkeyid "...), d[1])
		if len(d) > 2 {
			b = appendHex(append(b, " mac 0x"...), d[2:])
		}
	case wire.OptFastOpen:
		b = fastOpen(append(b, "tfo "...), d)
	case wire.OptExperimental:
		switch {
		case len(d) < 2:
			b = append(b, "exp (invalid)"...)
		case be.Uint16(d) == wire.MagicFastOpen:
			b = fastOpen(append(b, "exp-tfo "...), d[2:])
		default:
			b = appendHex(append(b, "exp-"...), d)
		}
	default:
		b = num(append(b, "unknown-"...), o.Kind)
		if len(d) > 0 {
			b = appendHex(append(b, " 0x"...), d)
		}
	}
	return b
}

func fastOpen(b, cookie []byte) []byte {
	switch n := len(cookie); {
	case n == 0:
		return append(b, "cookiereq"...)
	case n < 4 || n > 16 || n&1 != 0:
		return append(b, "(invalid)"...)
	}
	return appendHex(append(b, "cookie "...), cookie)
}
