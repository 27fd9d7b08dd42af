package script

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

const head = "title: t\nproves: LSN-004\n"

func TestParse(t *testing.T) {
	s, err := Parse("x.seg", `# a comment
title: what happens   # and why
proves: LSN-004 VAL-001
family: v6
set: timestamps off
set: cookies always
set: challenge-limit on
set: mss 1000
set: mtu 1400
set: peer-iss 0xffffffff

listen
listen 81
--> S mss=1460/1440 ts=0x10 opt=1e04beef win=5 sum=bad
<-- SA seq=0 ack=1 mss ws !ts order=mss,nop,ws win=>5
wait 20ms
differs LSN-009: because
  fastsyn: silence
  kernel:  <-- RA seq=@0 ack=5

--> icmp port-unreachable seq=-3 quoted=8
--> A seq=1 ack=1 ecr=last-5
outcome answered_challenge
`)
	require.NoError(t, err)
	require.Equal(t, "what happens", s.Title)
	require.Equal(t, []string{"LSN-004", "VAL-001"}, s.Proves)
	require.Equal(t, []Family{V6}, s.Families)
	require.Equal(t, Settings{NoTimestamps: true, Cookies: "always", ChallengeLimit: true, MSS: 1000, MTU: 1400, PeerISS: 0xffffffff, Timeless: true}, s.Settings)
	require.Equal(t, []Difference{{
		Line: 17, Rules: []string{"LSN-009"}, Why: "because", Lines: []Variant{{Fastsyn, "silence"}, {Kernel, "<-- RA seq=@0 ack=5"}},
	}}, s.Differs)

	require.Len(t, s.Steps, 10)
	require.Equal(t, Step{Line: 12, Text: "listen", Side: All, Op: OpListen, N: EndpointPort}, s.Steps[0])
	require.Equal(t, 81, s.Steps[1].N)
	in := s.Steps[2].Seg
	require.Equal(t, wire.FlagSYN, in.Flags)
	require.Equal(t, []Field{
		{Name: "mss", V: [2]int64{1460, 1440}},
		{Name: "ts", V: [2]int64{16, 16}},
		{Name: "opt", Bytes: []byte{0x1e, 4, 0xbe, 0xef}},
		{Name: "win", V: [2]int64{5, 5}},
		{Name: "sum", Word: "bad"},
	}, in.Fields)
	require.Equal(t, []Field{
		{Name: "seq"},
		{Name: "ack", V: [2]int64{1, 1}},
		{Name: "mss", Bare: true},
		{Name: "ws", Bare: true},
		{Name: "ts", Bare: true, Absent: true},
		{Name: "order", Word: "mss,nop,ws"},
		{Name: "win", V: [2]int64{5, 5}, Above: true},
	}, s.Steps[3].Seg.Fields)
	require.Equal(t, 20*time.Millisecond, s.Steps[4].D)
	require.Equal(t, Fastsyn, s.Steps[5].Side)
	require.Equal(t, Kernel, s.Steps[6].Side)
	require.True(t, s.Steps[6].Seg.Fields[0].Abs)
	require.Equal(t, "port-unreachable", s.Steps[7].Word)
	require.Equal(t, int64(-3), s.Steps[7].Seg.Fields[0].V[V4])
	require.Equal(t, Field{Name: "ecr", Base: "last", V: [2]int64{-5, -5}}, s.Steps[8].Seg.Fields[2])
	require.Equal(t, "answered_challenge", s.Steps[9].Word)
}

// Every error names file and line, and says what to write instead.
func TestParseErrors(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{"", "x.seg:0: no title; begin with"},
		{"title: t\nlisten\n", "x.seg:2: no rules; say what it proves"},
		{head, "no steps"},
		{"title: t\ntitle: u\n", "x.seg:2: title: u: want one title"},
		{"proves: LSN4\n", `"LSN4": want IDs`},
		{"proves: LSN-004 LSN-004\n", "each once"},
		{"family: v5\n", "want v4 or v6"},
		{"only: kernel\n", "and the reason"},
		{"colour: red\n", `unknown header "colour"; want title`},
		{"set: timestamps on\n", `want "timestamps off"`},
		{"set: cookies maybe\n", "want never, always or pressure"},
		{"set: mss 5\n", "want a number from 88 to 1460"},
		{"set: ecn maybe\n", "want on (it is asked for) or off"},
		{"set: fastopen off\n", "want on"},
		{head + "--> S tfo=abc\n", "want cookie, other, or bytes in hex"},
		{head + "<-- SA seq=0 ack=1 tfo=other\n", "want cookie, or no value"},
		{"set: peer-iss -1\n", "0 to 0xffffffff"},
		{"set: challenge-limit off\n", "want on"},
		{"set: speed 9\n", `unknown setting "speed"; want timestamps`},
		{head + "listen\nset: sack off\n", "x.seg:4: set: sack off: set: belongs above the first step"},
		{head + "dance\n", `unknown step "dance"; want -->, <--, wait or one of: abort accept`},
		{head + "listen 0\n", "want a number from 1 to 65535"},
		{head + "silence please\n", "takes nothing behind it"},
		{head + "state OPEN\n", "want one of: CLOSED SYN-SENT"},
		{head + "error oops\n", "want one of: refused reset"},
		{head + "outcome Oops\n", "want the name of a counter"},
		{head + "wait soon\n", "want a duration such as"},
		{head + "-->\n", "no segment; want flags and fields"},
		{head + "--> X seq=0\n", `flags "X": want letters of SFRPAUECN`},
		{head + "--> SS\n", "each once"},
		{head + "--> A ack=1\n", "no seq="},
		{head + "--> A seq=1\n", "ack= and the flag A belong together"},
		{head + "<-- S seq=0 ack=1\n", "ack= and the flag A belong together"},
		{head + "<-- SA ack=1\n", "no seq="},
		{head + "--> S sequence=1\n", `unknown field "sequence" here; want one of: ack blocks`},
		{head + "<-- S seq=0 sum=bad\n", `unknown field "sum" here`},
		{head + "--> S !ts\n", "is for segments expected back"},
		{head + "<-- S seq=0 !win\n", "only the options"},
		{head + "--> S sack=1\n", "sack takes no value"},
		{head + "--> S win\n", "win needs a value"},
		{head + "--> S mss=70000\n", "want a number from 0 to 65535"},
		{head + "--> S mss=1/2/3\n", "want one number, or two"},
		{head + "--> S win=1 win=2\n", "win= twice"},
		{head + "--> S opt=zz\n", "bytes in hex"},
		{head + "--> S ipopt=01\n", "a multiple of 4"},
		{head + "--> S sum=good\n", "want one of: bad zero"},
		{head + "--> S seq=@-1\n", "want a number from 0"},
		{head + "--> S seq=new\n", "want a number"},
		{head + "<-- S seq=0 order=mss,x\n", `unknown option "x"`},
		{head + "--> icmp sorry seq=0\n", `icmp "sorry": want one of: admin-prohibited`},
		{head + "differs LSN-009\n", `want "differs LSN-009: why"`},
		{head + "fastsyn: silence\n", "follows a line"},
		{head + "differs LSN-009: x\nfastsyn: silence\nlisten\n", "x.seg:5: listen: the difference of line 3 says nothing about one side (kernel)"},
		{head + "differs LSN-009: x\nfastsyn: silence\nkernel: silence\n", "say the same"},
		{head + "differs LSN-009: x\nfastsyn: silence\nkernel: dance\n", `unknown step "dance"`},
		{head + "differs LSN-009: x\nbare: silence\nkernel: open\n\n", "says nothing about one side (stream)"},
		{head + "bare+bare: silence\n", `unknown header "bare+bare"`},
		{head + "flows: streams\nonly: bare, y\nopen\n", "no side runs it"},
		{head + "flows: bare\n", "want streams"},
		{head + "[linux] space\n", `want "[side] step"`},
		{head + "[bare] open\n", "only wait and space"},
		{head + "wait 3s\nsilence\n", "line 3: after a wait above 50ms the kernel must answer"},
		{head + "listen\x00\n", "not plain text"},
		{strings.Repeat("#\n", maxSize), "split it by scenario"},
	} {
		_, err := Parse("x.seg", tc.text)
		require.ErrorContains(t, err, tc.want, "%.200q", tc.text)
		var e *Error
		require.True(t, errors.As(err, &e))
		require.Equal(t, "x.seg", e.File)
	}
}
