package main

import "github.com/fastsyn/fastsyn"

// echoOnceApp sends the first piece of text back and closes: the least that a request and
// its response can be.
type echoOnceApp struct{}

func openEchoOnce(*serveFlags, string, appEnv) (app, error) { return echoOnceApp{}, nil }

func (echoOnceApp) callbacks() fastsyn.Callbacks {
	// Without AutoClose: on a Bare flow a FIN that comes with the request must not close
	// before the reply is out.
	return fastsyn.Callbacks{Data: func(f *fastsyn.Flow, p []byte) {
		// On a Bare flow text longer than one segment of ours is cut. Later text is not answered.
		if n := min(len(p), f.Room()); n > 0 {
			f.Reply(p[:n], true)
		}
	}}
}

func (echoOnceApp) counts() map[string]uint64 { return nil }
func (echoOnceApp) close()                    {}
