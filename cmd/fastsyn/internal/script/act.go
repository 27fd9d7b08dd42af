package script

import (
	"errors"
	"fmt"
	"time"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// act is a step of the application, or a look at the endpoint.
func (r *runner) act(st *Step) error {
	switch st.Op {
	case OpListen:
		return r.sub.Listen(uint16(st.N))
	case OpUnlisten:
		return r.sub.Unlisten(uint16(st.N))
	case OpConnect:
		r.home = key{r.link.Peer[r.fam], r.link.Endpoint[r.fam], ServerPort, ActivePort}
		r.cur = r.home
		return r.sub.Connect(ActivePort, ServerPort)
	case OpAccept:
		return r.until("a flow to accept", func() (string, error) {
			ok, err := r.sub.Accept()
			return map[bool]string{true: "a flow to accept", false: "none"}[ok], err
		})
	case OpNoAccept:
		ok, err := r.sub.Accept()
		if err == nil && ok {
			err = errors.New("there is a flow to accept")
		}
		return err
	case OpConnected, OpOpen:
		return r.until(Open, r.sub.Progress)
	case OpConnecting:
		return r.until(Connecting, r.sub.Progress)
	case OpEOF:
		return r.until(EOF, r.sub.Progress)
	case OpError:
		return r.until(st.Word, r.sub.Progress)
	case OpSend:
		f := r.flow(r.home)
		p := make([]byte, st.N)
		for i := range p {
			p[i] = text(f.sent)
			f.sent++
		}
		return r.sub.Send(p)
	case OpRead:
		return r.read(st.N)
	case OpClose:
		return r.sub.Close()
	case OpShutdown:
		return r.sub.Shutdown()
	case OpAbort:
		return r.sub.Abort()
	case OpHold:
		return r.sub.Hold()
	case OpKeepAlive:
		return r.sub.KeepAlive()
	case OpUserTimeout:
		return r.sub.UserTimeout(time.Duration(st.N) * time.Millisecond)
	case OpNagle:
		return r.sub.Nagle()
	case OpState:
		k := r.cur
		t := wire.Tuple{Remote: k.peer, Local: k.endpoint, RemotePort: k.peerPort, LocalPort: k.endpointPort}
		return r.until(st.Word, func() (string, error) { return r.sub.State(t) })
	case OpHalfOpen:
		return r.until(fmt.Sprint(st.N), func() (string, error) {
			n, err := r.sub.HalfOpen()
			return fmt.Sprint(n), err
		})
	default:
		return fmt.Errorf("step %d is not known to the runner", st.Op)
	}
}

// until asks until the answer is want. On a virtual clock once is enough.
func (r *runner) until(want string, ask func() (string, error)) error {
	end := time.Now().Add(patience)
	for {
		got, err := ask()
		if err != nil {
			return err
		}
		if got == want {
			return nil
		}
		if !r.sub.WallClock() || time.Now().After(end) {
			return fmt.Errorf("it is %s, want %s", got, want)
		}
		time.Sleep(time.Millisecond)
	}
}

// read takes n bytes, no more, and checks them. 0 says that there is nothing to read.
func (r *runner) read(n int) error {
	f := r.flow(r.home)
	var got []byte
	err := r.until(fmt.Sprintf("%d bytes", n), func() (string, error) {
		p, err := r.sub.Read(n + 1 - len(got))
		got = append(got, p...)
		return fmt.Sprintf("%d bytes", len(got)), err
	})
	if err != nil {
		return err
	}
	for i, b := range got {
		if w := text(f.got); b != w {
			return fmt.Errorf("byte %d is %q, want %q", i, b, w)
		}
		f.got++
	}
	return nil
}
