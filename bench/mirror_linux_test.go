package bench

import (
	"context"
	"encoding/binary"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// mirror is a port whose peer sits in its queue and costs next to nothing: a SYN becomes its
// SYN-ACK in the buffer it is in, an ARP request its reply, all else is
// swallowed. A client on it is one core alone, whatever the other core does.
type mirror struct {
	arena []byte
	free  []uint32
	back  []uint64 // answers to be received, index<<32 | length
	head  int
	st    dataplane.Stats

	settled      int
	begin, end   time.Duration // of the thread's processor time
	began, ended uint64        // frames sent by then
}

// lastMirror is the one opened last.
var lastMirror *mirror

// threadTime is the processor time of the calling thread (clock_gettime(2)).
func threadTime() time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t) != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

const mirrorFrames, mirrorStride = 2048, 2048 + 128

func init() {
	dataplane.Register("mirror", dataplane.Driver{
		Open: func(_ string, p *dataplane.Params) (dataplane.Port, error) {
			m := &mirror{arena: make([]byte, mirrorFrames*mirrorStride)}
			for i := range uint32(mirrorFrames) {
				m.free = append(m.free, i)
			}
			lastMirror = m
			return m, p.Err()
		},
		Example: "mirror:",
	})
}

func (m *mirror) Info() dataplane.Info {
	return dataplane.Info{Driver: "mirror", Name: "mirror", MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, MTU: 1500, Queues: 1, Up: true}
}
func (m *mirror) Queue(int) dataplane.Queue { return m }
func (m *mirror) Stats(int) dataplane.Stats { return m.st }
func (m *mirror) Close() error              { return nil }
func (m *mirror) Err() error                { return nil }
func (m *mirror) Wait(time.Duration)        {}
func (m *mirror) Caps() dataplane.Caps {
	return dataplane.Caps{Burst: dataplane.BatchSize, ReplyRoom: 2048, FrameRoom: 2048}
}

func (m *mirror) lend(b *dataplane.Batch, i int, idx uint32, n int) {
	at := int(idx) * mirrorStride
	b.Data[i], b.Handle[i], b.Meta[i], b.Verdict[i] = m.arena[at:at+n:at+2048], uint64(idx), dataplane.Meta{}, dataplane.Drop
}

func (m *mirror) Rx(b *dataplane.Batch) int {
	b.N = min(len(m.back)-m.head, dataplane.BatchSize)
	for i := range b.N {
		w := m.back[m.head+i]
		m.lend(b, i, uint32(w>>32), int(uint32(w)))
		m.st.RxBytes += uint64(uint32(w))
	}
	if m.head += b.N; m.head == len(m.back) {
		m.head, m.back = 0, m.back[:0]
	}
	m.st.RxFrames += uint64(b.N)
	return b.N
}

func (m *mirror) Blank(b *dataplane.Batch, n int) int {
	b.N = min(n, len(m.free), dataplane.BatchSize)
	for i := range b.N {
		m.lend(b, i, m.free[len(m.free)-1-i], 0)
	}
	m.free = m.free[:len(m.free)-b.N]
	return b.N
}

// clock reads the thread's time now and then: it is a system call.
func (m *mirror) clock() {
	if m.settled++; m.settled%256 == 255 {
		m.end, m.ended = threadTime(), m.st.TxFrames
		if m.begin == 0 {
			m.begin, m.began = m.end, m.ended
		}
	}
}

func (m *mirror) Settle(b *dataplane.Batch) (sent int) {
	m.clock()
	for i := range b.N {
		idx := uint32(b.Handle[i])
		if b.Verdict[i] == dataplane.Reply {
			sent++
			m.st.TxBytes += uint64(len(b.Data[i]))
			if answerSYN(b.Data[i]) {
				m.back = append(m.back, uint64(idx)<<32|uint64(len(b.Data[i])))
				continue
			}
		}
		m.free = append(m.free, idx)
	}
	m.st.TxFrames += uint64(sent)
	b.N = 0
	return sent
}

// answerSYN turns an untagged SYN over IPv4, or an ARP request, into its answer.
func answerSYN(d []byte) bool {
	be := binary.BigEndian
	src := [6]byte(d[6:12])
	if be.Uint16(d[12:]) == wire.EtherTypeARP {
		if d[21] != wire.ARPRequest {
			return false
		}
		copy(d, src[:])
		copy(d[6:], "\x02mirro")
		sender := [10]byte(d[22:32])
		d[21] = wire.ARPReply
		copy(d[28:32], d[38:42])
		copy(d[22:28], "\x02mirro")
		copy(d[32:42], sender[:])
		return true
	}
	if len(d) < 54 || d[47] != byte(wire.FlagSYN) {
		return false
	}
	lo, hi := binary.LittleEndian.Uint64(d[:8]), binary.LittleEndian.Uint64(d[6:14])
	binary.LittleEndian.PutUint64(d[:8], hi&macBits|lo<<48)
	binary.LittleEndian.PutUint64(d[6:14], lo&macBits|hi&^macBits)
	addrs, ports, seq := be.Uint64(d[26:]), be.Uint32(d[34:]), be.Uint32(d[38:])
	be.PutUint64(d[26:], addrs<<32|addrs>>32)
	be.PutUint32(d[34:], ports<<16|ports>>16)
	be.PutUint64(d[38:], uint64(seq+1)) // sequence number 0
	d[47] |= byte(wire.FlagACK)
	sum := wire.UpdateChecksum(wire.UpdateChecksum32(be.Uint16(d[50:]), seq, seq+1), 0, uint16(wire.FlagACK))
	be.PutUint16(d[50:], sum)
	if len(d) >= 74 && d[60] == 8 { // TSval back as TSecr; the sum stays
		be.PutUint64(d[62:], be.Uint64(d[62:])>>32)
	}
	return true
}

// onMirror runs n attempts of scenario on one core.
func onMirror(t testing.TB, scenario string, n int) *Report {
	c := Config{
		DAD:  -1, // the mirror has every address
		Port: "mirror:", Scenario: scenario, Connect: "198.18.0.1:80", Addrs: []string{"198.18.1.1/16"}, Count: uint64(n),
		Seed: 1, Polling: "busy", Pin: "off",
	}
	if scenario == ScenarioSYNFlood {
		c.Pools = []string{"198.19.0.0/16"}
	}
	r, err := Run(context.Background(), c, nil)
	require.NoError(t, err)
	require.True(t, r.Valid, r.InvalidReason)
	return r
}

func TestMirror(t *testing.T) {
	r := onMirror(t, ScenarioHandshake, 3000)
	require.Equal(t, Handshakes{Attempted: 3000, Established: 3000}, r.Handshakes)
	require.Equal(t, uint64(3*3000), r.Client.Engine.Segments+r.Client.Engine.Attempted+r.Client.Engine.ResetsSent)
	r = onMirror(t, ScenarioSYNFlood, 3000)
	require.Equal(t, SYNFlood{Sent: 3000, Answered: 3000}, r.SYNFlood)
}

// BenchmarkClient is all that one core does for an attempt, drivers aside.
func BenchmarkClient(b *testing.B) {
	for _, scenario := range []string{ScenarioHandshake, ScenarioSYNFlood} {
		b.Run("scenario="+scenario, func(b *testing.B) {
			n := max(b.N, 100_000)
			r := onMirror(b, scenario, n)
			b.ReportMetric(0, "ns/op")
			// Of the thread, whoever else runs.
			m := lastMirror
			perFrame := float64(m.end-m.begin) / float64(m.ended-m.began)
			b.ReportMetric(perFrame*float64(r.Frames.TX)/float64(n), "cpu-ns/op")
		})
	}
}

// BenchmarkMirror is what the peer in the mirror takes of it.
func BenchmarkMirror(b *testing.B) {
	f := testFlood(b, "198.18.0.1:80", "198.19.0.0/16", Config{})
	batch := blank(dataplane.BatchSize)
	f.Send(64, batch)
	frames := make([][]byte, batch.N)
	for i := range batch.N {
		frames[i] = append([]byte(nil), batch.Data[i]...)
	}
	p, err := dataplane.Open("mirror:")
	require.NoError(b, err)
	m := p.(*mirror)
	for b.Loop() {
		m.Blank(batch, dataplane.BatchSize)
		for i := range batch.N {
			batch.Data[i], batch.Verdict[i] = append(batch.Data[i], frames[i]...), dataplane.Reply
		}
		m.Settle(batch)
		m.Rx(batch)
		m.Settle(batch)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/dataplane.BatchSize, "ns/pkt")
}
