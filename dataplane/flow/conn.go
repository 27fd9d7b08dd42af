package flow

import (
	"unsafe"

	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/handshake"
)

// Bits of conn.flags.
const (
	connTS        = 1 << iota // timestamps negotiated
	connSACK                  // SACK negotiated
	connECN                   // ECN negotiated (RFC 3168)
	connCE                    // our ACKs have ECE, until the peer's CWR
	connCWR                   // our next text has CWR
	connAckNow                // an ACK is to go out with this burst
	connFIN                   // the application has closed: our FIN comes behind what is queued
	connFINSent               // and was sent
	connReleased              // nobody reads on
	connNagle                 // Nagle's algorithm is on
	connKeepAlive             // a silent peer is probed
	connWantRoom              // a Write took less than it was given
	connTimeWait              // in TIME-WAIT as soon as the last ACK is out
	connPathError             // an ICMP error was heard and nothing acknowledged since
	connAutoClose             // closed when the peer does
	connForce                 // send what silly window avoidance holds back
	connAcked                 // something behind our SYN was acknowledged
	connEarly                 // came by Fast Open, and the peer has not acknowledged our SYN-ACK
)

// conn is an established flow: what it costs while it is idle. Pointer-free. What
// it needs to send is in a sender, as long as something is queued or in flight.
type conn struct {
	link                 // of the wheel
	rcvNxt      wire.Seq // RCV.NXT
	edge        wire.Seq // RcvWindow.Edge
	held        Held
	del         DelAck
	ts          TSRecent
	tsOff       uint32   // of our timestamps
	sndNxt      wire.Seq // SND.NXT at rest, when it is SND.UNA too
	wl1, wl2    wire.Seq // SND.WL1 and SND.WL2
	kept        uint32   // bytes of received text that the application still holds
	snd         uint32   // its sender, 0 at rest
	heard       uint32   // ms: when a segment came last
	challenged  uint32   // ms: when a challenge ACK went out last
	mem         memory
	job         uint32 // in Table.jobs, plus one
	flags       uint32
	wnd, maxWnd uint16 // SND.WND and its maximum, unscaled
	mss         uint16 // of what we send: the peer's, clamped to the path's MTU
	app         uint16
	gen         uint16
	userTimeout uint16 // in userTick, 0: the table's
	state       handshake.State
	shifts      uint8 // the peer's window scale above, ours below
	probes      uint8 // of keep-alive that nothing answered
}

// With its record in the engine and its place in the hash table an idle flow is 64 + 8 +
// 128 bytes, and 32 more over IPv6.
const _ = uint(128 - unsafe.Sizeof(conn{}))

func (c *conn) sndShift() uint8 { return c.shifts >> 4 }
func (c *conn) rcvShift() uint8 { return c.shifts & 15 }

// sndWnd is SND.WND in bytes.
func (c *conn) sndWnd() uint32 { return uint32(c.wnd) << c.sndShift() }

// maxSndWnd is the largest SND.WND so far.
func (c *conn) maxSndWnd() uint32 { return uint32(c.maxWnd) << c.sndShift() }

// rcvWnd is RCV.WND: what the peer was promised.
func (c *conn) rcvWnd() uint32 {
	w := RcvWindow{Edge: c.edge}
	return w.Left(c.rcvNxt)
}

// optionBytes is the room that timestamps take in each segment.
func (c *conn) optionBytes() uint32 {
	if c.flags&connTS != 0 {
		return 12
	}
	return 0
}

// segment is the most text in one segment: option bytes come out of the MSS, which is
// announced without them (ENC-005), and small windows are halved (WND-006).
func (c *conn) segment() uint32 {
	return segmentLimit(uint32(c.mss)-c.optionBytes(), c.maxSndWnd())
}

// reads reports whether text of the peer still goes to the application.
func (c *conn) reads() bool {
	return c.state == handshake.Established || c.state == handshake.FinWait1 || c.state == handshake.FinWait2
}

// writes reports whether the application may still write.
func (c *conn) writes() bool {
	return (c.state == handshake.Established || c.state == handshake.CloseWait) && c.flags&connFIN == 0
}

// peerClosed reports whether RCV.NXT is behind the peer's FIN.
func (c *conn) peerClosed() bool {
	return c.state == handshake.CloseWait || c.state == handshake.Closing || c.state == handshake.LastAck
}
