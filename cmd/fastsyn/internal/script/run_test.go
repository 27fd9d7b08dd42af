package script

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// What a script says is what is looked at: each of these is wrong in one place,
// and the message says in which.
func TestRunNotices(t *testing.T) {
	const open = "listen\n--> S mss=1460 sack ts=1000 ws=7\n<-- SA seq=0 ack=1\n--> A seq=1 ack=1 ts=1001\naccept\n"
	for _, tc := range []struct{ steps, want string }{
		{"listen\n--> S\n<-- A seq=0 ack=1\n", "flags are SA, want A"},
		{"listen\n--> S\n<-- SA seq=5 ack=1\n", "seq is 0, want 5"},
		{"listen\n--> S\n<-- SA seq=@5 ack=1\n", "want @5"},
		{"listen\n--> S\n<-- SA seq=0 ack=2\n", "ack is 1, want 2"},
		{"listen\n--> S\n<-- SA seq=0 ack=1 mss=1000\n", "mss is 1460, want 1000"},
		{"listen\n--> S\n<-- SA seq=0 ack=1 ws\n", "ws is missing"},
		{"listen\n--> S ws=7\n<-- SA seq=0 ack=1 !ws\n", "ws is there"},
		{"listen\n--> S ws=7\n<-- SA seq=0 ack=1 order=mss\n", "order is mss,nop,ws, want mss"},
		{"listen\n--> S\n<-- SA seq=0 ack=1 win=>64240\n", "win is 64240, want more than 64240"},
		{"listen\n--> S\n<-- SA seq=0 ack=1 tos=4\n", "tos is 0, want 4"},
		{"listen\n--> S ts=1000\n<-- SA seq=0 ack=1 ecr=1001\n", "ecr is 1000, want 1001"},
		{"listen\n--> S sport=40001\n<-- SA seq=0 ack=1 dport=40002\n", "it goes from 192.0.2.1:80 to 192.0.2.2:40001"},
		{"listen\n--> S\nsilence\n", "want silence, got SA seq=0 ack=1"},
		{"listen\n--> S\n", "after the last step: want silence, got SA"},
		{"listen\n--> S\n--> S sport=40001\n<-- SA seq=0 ack=1\n", "it goes from"},
		{"listen\n<-- SA seq=0 ack=1\n", "nothing came"},
		{"--> A seq=1 ack=1\n", "ack= counts from the endpoint's ISS"},
		{"--> icmp too-big seq=1\n", "seq= counts from the endpoint's ISS"},
		{"listen\n--> S\n<-- SA seq=0 ack=1\n--> S seq=9000\n<-- SA seq=0 ack=9001\n", "seq is "},
		{open + "accept\n", "it is none, want a flow to accept"},
		{"listen\n--> S\n<-- SA seq=0 ack=1\n--> A seq=1 ack=1\nno-accept\n", "there is a flow to accept"},
		{open + "state CLOSE-WAIT\n", "it is ESTABLISHED, want CLOSE-WAIT"},
		{open + "half-open 1\n", "it is 0, want 1"},
		{open + "eof\n", "it is open, want eof"},
		{open + "error reset\n", "it is open, want reset"},
		{open + "connecting\n", "it is open, want connecting"},
		{open + "read 1\n", "it is 0 bytes, want 1 bytes"},
		{open + "--> PA seq=1 ack=1 len=10 ts=1001\n<-- A seq=1 ack=11\nread 5\n", "it is 6 bytes, want 5 bytes"},
		{open + "send 10\n<-- PA seq=1 ack=1 len=9\n", "len is 10, want 9"},
		{open + "outcome answered_reset\n", "counters moved by the segment: [consumed+1]"},
		{open + "--> R seq=1\n", "after the last step"},
		{"connected\n", "there is no flow"},
		{"close\n", "there is no flow"},
		{"connect\n<-- S seq=0\nconnected\n", "it is connecting, want open"},
		{"--> S src=class-e\nsilence\n--> S src=mapped\n", `there is no address "mapped"`},
		{"--> S mss=1 mss=2 mss=3 mss=4 mss=5 mss=6 mss=7 mss=8 mss=9 mss=10 mss=11\n", "a TCP header has room for 40"},
	} {
		s, err := Parse("x.seg", head+"family: v4\n"+tc.steps)
		require.NoError(t, err)
		e, err := NewEndpoint(s.Settings, Bare, V4, DefaultLink)
		require.NoError(t, err)
		err = Run(s, V4, e, DefaultLink)
		if tc.steps == open+"--> R seq=1\n" {
			require.NoError(t, err) // a script that is right is no error
		} else {
			require.ErrorContains(t, err, tc.want, tc.steps)
			require.ErrorContains(t, err, "so far:")
		}
		require.NoError(t, e.Free())
	}
}

// The text that an endpoint sends is compared byte by byte.
func TestRunComparesText(t *testing.T) {
	a := answer{seq: 11, text: []byte{text(10), text(11)}}
	require.Empty(t, a.stream(&numbering{}))
	a.text[1]++
	require.Contains(t, a.stream(&numbering{}), "byte 1 of the text")
}

// What holds for every segment of an endpoint is checked without being written.
func TestReadAnswerNotices(t *testing.T) {
	link := DefaultLink
	link.EndpointMAC, link.PeerMAC = link.PeerMAC, link.EndpointMAC // frame writes as the peer
	for _, tc := range []struct{ seg, want string }{
		{"RA seq=0 ack=1", ""},
		{"S seq=0 ttl=1", "TTL 1, want 64"},
		{"S seq=0 frag=reserved", "want DF alone"},
		{"S seq=0 reserved=2", "reserved bits 010 set"},
		{"S seq=0 urg=5", "urgent pointer 5 without URG"},
		{"S seq=0 ack=@9", "ack field 9 without ACK"},
		{"S seq=0 tos=2", "ECN field 2"},
		{"S seq=0 opt=1e00", "do not end as"},
		{"S seq=0 mss=5 eol", "do not end as"},
		{"S seq=0 dmac=other", "MAC"},
	} {
		var seg Segment
		require.NoError(t, seg.parse(tc.seg, false))
		o := outgoing{src: DefaultLink.Peer[V4], dst: DefaultLink.Endpoint[V4], sport: 1, dport: 2, seg: &seg, ack: uint32(seg.value("ack", V4, 0))}
		frame, err := o.frame(&DefaultLink)
		require.NoError(t, err)
		var p wire.Packet
		require.Equal(t, wire.OK, wire.Parse(frame, false, &p), tc.seg)
		_, err = readAnswer(frame, &p, &link)
		if tc.want == "" {
			require.NoError(t, err)
			continue
		}
		require.ErrorContains(t, err, tc.want, tc.seg)
	}
}
