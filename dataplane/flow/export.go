package flow

import (
	"errors"
	"math"

	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/handshake"
)

// Export is an established flow on its way to another table (HND-007): a value without references.
// What had arrived out of order is not in it; the peer has not forgotten
// that (RFC 2018 §8) and sends it again.
type Export struct {
	Record handshake.Exported
	Text   []byte // written and not acknowledged

	conn     conn
	una, nxt wire.Seq
}

// Export takes a flow out of the table and its engine, silently: the application here is told nothing, and
// segments that come until the flow is imported elsewhere are answered by a reset, so steer them away first.
// The text goes to the end of dst. It returns false if id is no stream, is over but for its last ACK, or came by Fast Open
// and is not confirmed.
func (t *Table) Export(id handshake.FlowID, dst []byte) (e Export, ok bool) {
	c := t.get(id)
	if c == nil || c.flags&(connTimeWait|connEarly) != 0 {
		return e, false
	}
	i := id.Index()
	e.una, e.nxt = t.una(c), t.nxt(c)
	if c.snd != 0 {
		x := t.senders.at(c.snd)
		x.rest(&c.mem, t.us, t.ms)
		n := len(dst)
		dst = append(dst, make([]byte, x.buf.size)...)
		t.send.copyOut(&x.buf, x.una, dst[n:])
	}
	e.Text, e.conn = dst, *c
	t.free(c, i)
	e.Record, _ = t.engine.ExportStream(id)
	e.conn.link, e.conn.snd, e.conn.held, e.conn.job = link{}, 0, 0, 0
	return e, true
}

// errNoRoom refuses a flow for whose text there is no memory.
var errNoRoom = errors.New("flow: no memory for the text of the flow to import")

// Import enters a flow that another table has exported, on an engine whose secret, clock and configuration are the same.
// path is as in handshake.Engine.ImportStream. The application is told nothing; what was
// under way counts as sent now. After an error nothing has changed, and e may be tried elsewhere.
func (t *Table) Import(e *Export, path uint16) (handshake.FlowID, error) {
	if len(e.Text) > max(t.pool.Left()-t.spare(), 0)*BlockSize {
		return handshake.FlowID{}, errNoRoom
	}
	id, err := t.engine.ImportStream(&e.Record, path)
	if err != nil {
		return id, err
	}
	i := id.Index()
	c := &t.conns[i]
	*c = e.conn // the timer of the one before in its place is not armed
	c.gen, c.sndNxt = id.Generation(), e.una
	t.ctr.Opened++
	t.ctr.Now++
	if len(e.Text) > 0 || e.nxt != e.una || c.flags&(connFIN|connFINSent) == connFIN {
		x := t.wake(c)
		t.send.append(&x.buf, e.Text, math.MaxUint32, 0)
		if n := uint32(e.nxt - e.una); n != 0 {
			x.sentNew(t.runs, &x.cc, &x.rto, n, c.segment(), t.us)
		}
	}
	t.want(c, i)
	return id, nil
}
