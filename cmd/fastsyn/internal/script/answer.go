package script

import (
	"fmt"
	"slices"
	"strings"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// answer is a segment that the endpoint sent.
type answer struct {
	src, dst     wire.Addr
	sport, dport uint16
	seq, ack     uint32
	flags        wire.Flags
	win          uint16
	tos, ttl     uint8
	text         []byte
	order        []string          // names of the options as they come
	tfo          []byte            // cookie of Fast Open
	opt          map[string]uint32 // mss, ws, sack, ts, ecr, and how many blocks
	blocks       []wire.SACKBlock
}

// readAnswer decodes a TCP frame of the endpoint and holds it to the rules that
// have no exception: whole lengths and checksums (VAL-003), the right MACs, DF
// (MTU-003), TTL 64, reserved bits and urgent pointer zero (VAL-012), no ack
// field without ACK, options that end as ENC-004 says, and no ECN mark where there
// is no text (ECN-005).
func readAnswer(frame []byte, p *wire.Packet, l *Link) (*answer, error) {
	if p.Kind != wire.KindTCP {
		return nil, fmt.Errorf("not TCP")
	}
	ip, b := frame[p.L3:p.L4], frame[p.L4:p.End]
	t, ok := wire.ParseTCP(b)
	if !ok {
		return nil, fmt.Errorf("TCP header of %d bytes", len(b))
	}
	a := &answer{
		src: p.Seg.Remote, dst: p.Seg.Local, sport: t.SrcPort(), dport: t.DstPort(),
		seq: uint32(t.Seq()), ack: uint32(t.Ack()), flags: t.Flags(), win: t.Window(),
		tos: p.Seg.TOS, ttl: p.TTL, text: slices.Clone(t.Payload()), opt: map[string]uint32{},
	}
	it := wire.NewOptionIter(t.Options())
	for o, more := it.Next(); more; o, more = it.Next() {
		name, known := orderNames[o.Kind]
		if !known {
			name = fmt.Sprint(o.Kind)
		}
		a.order = append(a.order, name)
		switch {
		case o.Kind == wire.OptMSS && len(o.Data) == 2:
			a.opt["mss"] = uint32(be.Uint16(o.Data))
		case o.Kind == wire.OptWScale && len(o.Data) == 1:
			a.opt["ws"] = uint32(o.Data[0])
		case o.Kind == wire.OptSACKPermitted && len(o.Data) == 0:
			a.opt["sack"] = 0
		case o.Kind == wire.OptFastOpen:
			a.opt["tfo"], a.tfo = uint32(len(o.Data)), slices.Clone(o.Data)
		case o.Kind == wire.OptSACK && len(o.Data)%8 == 0:
			for b := o.Data; len(b) > 0; b = b[8:] {
				a.blocks = append(a.blocks, wire.SACKBlock{Left: wire.Seq(be.Uint32(b)), Right: wire.Seq(be.Uint32(b[4:]))})
			}
			a.opt["blocks"] = uint32(len(a.blocks))
		case o.Kind == wire.OptTimestamps && len(o.Data) == 8:
			a.opt["ts"], a.opt["ecr"] = be.Uint32(o.Data), be.Uint32(o.Data[4:])
		}
	}
	switch {
	case [6]byte(frame) != l.PeerMAC || [6]byte(frame[6:]) != l.EndpointMAC:
		return a, fmt.Errorf("MAC %x > %x, want %x > %x", frame[6:12], frame[:6], l.EndpointMAC, l.PeerMAC)
	case !p.V6 && wire.IPv4(ip).Frag() != 0x4000:
		return a, fmt.Errorf("fragment word %#04x, want DF alone (MTU-003)", wire.IPv4(ip).Frag())
	case a.ttl != wire.DefaultTTL:
		return a, fmt.Errorf("TTL %d, want %d (LSN-003)", a.ttl, wire.DefaultTTL)
	case t.Reserved() != 0:
		return a, fmt.Errorf("reserved bits %03b set (VAL-012)", t.Reserved())
	case a.flags&wire.FlagURG == 0 && t.Urgent() != 0:
		return a, fmt.Errorf("urgent pointer %d without URG", t.Urgent())
	case a.flags&wire.FlagACK == 0 && a.ack != 0:
		return a, fmt.Errorf("ack field %d without ACK (LSN-002)", a.ack)
	case it.Malformed() || slices.Contains(a.order, "eol"):
		return a, fmt.Errorf("options % x do not end as ENC-004 says", t.Options())
	case a.tos&3 != 0 && len(a.text) == 0:
		return a, fmt.Errorf("ECN field %d on a segment without text (ECN-005)", a.tos&3)
	}
	return a, nil
}

// same reports whether b repeats a: a retransmission.
func (a *answer) same(b *answer) bool {
	return a.src == b.src && a.dst == b.dst && a.sport == b.sport && a.dport == b.dport &&
		a.seq == b.seq && a.ack == b.ack && a.flags|wire.FlagPSH == b.flags|wire.FlagPSH && len(a.text) == len(b.text)
}

// compare returns what about a is not as the pattern says, "" if nothing. c is
// the numbering of the flow.
func (a *answer) compare(want *Segment, fam Family, c *numbering) string {
	got := a.flags
	if want.Push {
		got &^= wire.FlagPSH
	}
	if got != want.Flags {
		return "flags are " + flagString(a.flags) + ", want " + flagString(want.Flags)
	}
	if n := want.value("len", fam, 0); int(n) != len(a.text) {
		return fmt.Sprintf("len is %d, want %d", len(a.text), n)
	}
	for i := range want.Fields {
		if msg := a.field(&want.Fields[i], fam, c); msg != "" {
			return msg
		}
	}
	return ""
}

func (a *answer) field(f *Field, fam Family, c *numbering) string {
	got, ok := a.number(f.Name)
	if f.Absent {
		if ok {
			return fmt.Sprintf("%s is there (%d)", f.Name, got)
		}
		return ""
	}
	want := f.V[fam]
	switch f.Name {
	case "tfo":
		switch {
		case !ok || got == 0:
			return "there is no cookie"
		case f.Word == "cookie" && !slices.Equal(a.tfo, c.cookie):
			return fmt.Sprintf("the cookie is %x, want %x", a.tfo, c.cookie)
		}
		return ""
	case "blocks":
		if have := blocksString(a.blocks, c.irs); have != fieldBlocks(f) {
			return fmt.Sprintf("blocks are %q, want %q", have, fieldBlocks(f))
		}
		return ""
	case "order":
		order := strings.Join(a.order, ",")
		if order == "" {
			order = "none"
		}
		if order != f.Word {
			return "order is " + order + ", want " + f.Word
		}
		return ""
	case "seq":
		switch {
		case f.Word == "new":
			return ""
		case f.Abs:
			return differ("seq", "@", int64(got), want)
		case !c.known:
			return fmt.Sprintf("seq is @%d; the endpoint has sent no SYN from which to count", got)
		}
		return differ("seq", "", int64(int32(got-c.iss)), want)
	case "ack":
		if f.Abs {
			return differ("ack", "@", int64(got), want)
		}
		return differ("ack", "", int64(int32(got-c.irs)), want)
	}
	switch {
	case !ok:
		return f.Name + " is missing"
	case f.Bare:
		return ""
	case f.Above:
		if int64(got) <= want {
			return fmt.Sprintf("%s is %d, want more than %d", f.Name, got, want)
		}
		return ""
	}
	return differ(f.Name, "", int64(got), want)
}

// blocksString renders SACK blocks as a script would say them.
func blocksString(blocks []wire.SACKBlock, from uint32) string {
	var s []string
	for _, b := range blocks {
		s = append(s, fmt.Sprintf("%d-%d", int32(uint32(b.Left)-from), int32(uint32(b.Right)-from)))
	}
	return strings.Join(s, ",")
}

func fieldBlocks(f *Field) string {
	var s []string
	for _, b := range f.Blocks {
		s = append(s, fmt.Sprintf("%d-%d", b[0], b[1]))
	}
	return strings.Join(s, ",")
}

func differ(name, mark string, got, want int64) string {
	if got == want {
		return ""
	}
	return fmt.Sprintf("%s is %s%d, want %s%d", name, mark, got, mark, want)
}

// number returns the field of that name.
func (a *answer) number(name string) (uint32, bool) {
	switch name {
	case "seq":
		return a.seq, true
	case "ack":
		return a.ack, true
	case "win":
		return uint32(a.win), true
	case "len":
		return uint32(len(a.text)), true
	case "tos":
		return uint32(a.tos), true
	case "ttl":
		return uint32(a.ttl), true
	case "sport":
		return uint32(a.sport), true
	case "dport":
		return uint32(a.dport), true
	}
	v, ok := a.opt[name]
	return v, ok
}

// show renders a as a script would say it.
func (a *answer) show(c *numbering) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s seq=", flagString(a.flags))
	if c != nil && c.known && (a.flags&wire.FlagRST == 0 || a.seq != 0) {
		fmt.Fprintf(&b, "%d", int32(a.seq-c.iss))
	} else {
		fmt.Fprintf(&b, "@%d", a.seq)
	}
	if a.flags&wire.FlagACK != 0 {
		if c != nil {
			fmt.Fprintf(&b, " ack=%d", int32(a.ack-c.irs))
		} else {
			fmt.Fprintf(&b, " ack=@%d", a.ack)
		}
	}
	fmt.Fprintf(&b, " win=%d", a.win)
	if len(a.text) > 0 {
		fmt.Fprintf(&b, " len=%d", len(a.text))
	}
	for _, n := range []string{"mss", "ws", "ts", "ecr"} {
		if v, ok := a.opt[n]; ok {
			fmt.Fprintf(&b, " %s=%d", n, v)
		}
	}
	if _, ok := a.opt["sack"]; ok {
		b.WriteString(" sack")
	}
	if len(a.blocks) > 0 && c != nil {
		b.WriteString(" blocks=" + blocksString(a.blocks, c.irs))
	}
	if len(a.order) > 0 {
		b.WriteString(" order=" + strings.Join(a.order, ","))
	}
	if a.tos != 0 {
		fmt.Fprintf(&b, " tos=%d", a.tos)
	}
	return b.String()
}
