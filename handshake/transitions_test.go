package handshake

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

var update = flag.Bool("update", false, "rewrite testdata/*.golden")

// transitionStates are the rows of the matrix: a state, how to get there and
// RCV.NXT, SND.UNA and SND.NXT in it, counted from the ISNs.
var transitionStates = []struct {
	name, script     string
	rcvNxt, una, nxt wire.Seq
	listen           bool
}{
	{name: "CLOSED", nxt: 1, rcvNxt: 1},
	{name: "LISTEN", nxt: 1, rcvNxt: 1, listen: true},
	{name: "SYN-SENT", script: connecting, nxt: 1, rcvNxt: 1},
	{name: "SYN-RECEIVED (passive)", script: halfOpen, rcvNxt: 1, nxt: 1, listen: true},
	{name: "SYN-RECEIVED (active)", script: crossed, rcvNxt: 1, nxt: 1},
	{name: "ESTABLISHED", script: opened + "send 10 | PA\n", rcvNxt: 1, una: 1, nxt: 11, listen: true},
	{name: "FIN-WAIT-1", script: opened + toFinWait1, rcvNxt: 1, una: 1, nxt: 2, listen: true},
	{name: "FIN-WAIT-2", script: opened + toFinWait2, rcvNxt: 1, una: 2, nxt: 2, listen: true},
	{name: "CLOSE-WAIT", script: opened + toCloseWait, rcvNxt: 2, una: 1, nxt: 1, listen: true},
	{name: "CLOSING", script: opened + toClosing, rcvNxt: 2, una: 1, nxt: 2, listen: true},
	{name: "LAST-ACK", script: opened + toLastAck, rcvNxt: 2, una: 1, nxt: 2, listen: true},
	{name: "TIME-WAIT", script: opened + toTimeWait, rcvNxt: 2, una: 2, nxt: 2, listen: true},
}

// The matrix of STYLE 3.6: state × flags × where SEG.SEQ lies × where SEG.ACK lies,
// one line each, so that a change of behaviour shows up as a diff. Run with
// -update to accept it.
func TestTransitions(t *testing.T) {
	flags := []wire.Flags{
		0, wire.FlagPSH, wire.FlagFIN, wire.FlagSYN, wire.FlagSYN | wire.FlagFIN, wire.FlagRST, wire.FlagRST | wire.FlagSYN,
		wire.FlagACK, wire.FlagPSH | wire.FlagACK, wire.FlagFIN | wire.FlagACK, wire.FlagSYN | wire.FlagACK, wire.FlagRST | wire.FlagACK,
	}
	seqs := []struct {
		name string
		off  wire.Seq
	}{{"IRS", 0}, {"before", 0}, {"exact", 0}, {"inside", 100}, {"edge", 65535}, {"outside", 100_000}}
	acks := []string{"before", "una", "nxt", "after"}

	var b bytes.Buffer
	for _, st := range transitionStates {
		fmt.Fprintf(&b, "\n%s\n", st.name)
		for _, f := range flags {
			for si, seq := range seqs {
				for ai, ack := range acks {
					if f&wire.FlagACK == 0 && ai > 0 {
						continue
					}
					if st.una == st.nxt && ack == "una" {
						continue
					}
					k := newKit(t, Config{})
					if !st.listen {
						k.tup.LocalPort = 5000
					}
					k.play(st.script)
					s := wire.Segment{Tuple: k.tup, Flags: f, Win: 1000, Seq: k.irs}
					switch si {
					case 0:
					case 1:
						s.Seq += st.rcvNxt - 2
					default:
						s.Seq += st.rcvNxt + seq.off
					}
					name := "-"
					if f&wire.FlagACK != 0 {
						name = ack
						s.Ack = k.iss + [...]wire.Seq{st.una - 1, st.una, st.nxt, st.nxt + 1}[ai]
					}
					if f&wire.FlagPSH != 0 {
						s.Len = 10
					}
					before := k.e.Counters().Outcome
					flow, iss := k.flow, k.iss
					out := k.inject([]wire.Segment{s})
					outcome := ""
					after := k.e.Counters().Outcome
					for o := range after {
						if after[o] != before[o] {
							outcome = Outcome(o).String()
						}
					}
					k.flow, k.iss = flow, iss
					answer := ""
					for i := range out {
						if i > 0 {
							answer += " & "
						}
						answer += k.transition(&out[i], st.rcvNxt, st.una, st.nxt)
					}
					fmt.Fprintf(&b, "  %-3s seq %-7s ack %-6s -> %-12s %-38s %s", flagString(f), seq.name, name, k.state(), answer, outcome)
					if ev := k.takeEvents(); ev != "" {
						fmt.Fprintf(&b, " [%s]", ev)
					}
					b.WriteByte('\n')
				}
			}
		}
	}
	path := filepath.Join("testdata", "transitions.golden")
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, b.Bytes(), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), b.String(), "go test -run TestTransitions -update accepts the change")
}

// transition renders an answer relative to the state it was given in.
func (k *kit) transition(s *wire.Segment, rcvNxt, una, nxt wire.Seq) string {
	if s.Flags == 0 && s.Path == 1 {
		return "silent"
	}
	rel := func(v, zero wire.Seq, names ...any) string {
		for i := 0; i < len(names); i += 2 {
			if v-zero == names[i].(wire.Seq) {
				return names[i+1].(string)
			}
		}
		if d := int32(v - zero - rcvNxt); zero == k.irs && d > -1<<20 && d < 1<<20 {
			return fmt.Sprintf("RCV.NXT%+d", d)
		}
		if d := int32(v - zero - nxt); zero == k.iss && d > -1<<20 && d < 1<<20 {
			return fmt.Sprintf("SND.NXT%+d", d)
		}
		if v == 0 {
			return "0"
		}
		return "new"
	}
	text := fmt.Sprintf("%s seq=%s", flagString(s.Flags), rel(s.Seq, k.iss, nxt, "SND.NXT", una, "SND.UNA"))
	if s.Flags&wire.FlagSYN != 0 && s.Seq != k.iss {
		text = flagString(s.Flags) + " seq=new"
	}
	if s.Flags&wire.FlagACK != 0 {
		text += " ack=" + rel(s.Ack, k.irs, rcvNxt, "RCV.NXT")
	}
	return text
}
