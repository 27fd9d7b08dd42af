package main

import "github.com/fastsyn/fastsyn"

// echoOnceApp sends the first piece of text back, as it came in a segment, and closes: the least
// that a request and its response can be.
type echoOnceApp struct{}

func openEchoOnce(*serveFlags, string, appEnv) (app, error) { return echoOnceApp{}, nil }

func (echoOnceApp) callbacks() fastsyn.Callbacks {
	return fastsyn.Callbacks{Data: func(f *fastsyn.Flow, p []byte) {
		// Later text is not answered: after Close there is no room.
		if n := min(len(p), f.Room()); n > 0 {
			f.Reply(p[:n], true)
		}
	}}
}

func (echoOnceApp) counts(int) map[string]uint64 { return nil }
func (echoOnceApp) close()                       {}
