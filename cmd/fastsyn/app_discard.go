package main

import (
	"github.com/fastsyn/fastsyn"
	"github.com/fastsyn/fastsyn/dataplane/flow"
)

// discardApp takes all text and counts it (RFC 863).
type discardApp struct{ cores perWorker[discardCore] }

type discardCore struct{ bytes, pieces uint64 }

func openDiscard(_ *serveFlags, _ string, env appEnv) (app, error) {
	return &discardApp{newPerWorker[discardCore](env.workers)}, nil
}

func (a *discardApp) callbacks() fastsyn.Callbacks {
	return fastsyn.Callbacks{Data: a.data, AutoClose: true}
}

func (a *discardApp) data(f *fastsyn.Flow, p []byte) {
	c := a.cores.of(f)
	c.bytes += uint64(len(p))
	c.pieces++
}

func (a *discardApp) counts() map[string]uint64 {
	var sum discardCore
	for _, c := range a.cores {
		sum.bytes += c.bytes
		sum.pieces += c.pieces
	}
	return map[string]uint64{"bytes": sum.bytes, "pieces": sum.pieces}
}

func (a *discardApp) sums(c *flow.Counters) string {
	if a.counts()["bytes"] != c.BytesIn {
		return "bytes discarded = bytes of text in order"
	}
	return ""
}

func (a *discardApp) close() {}
