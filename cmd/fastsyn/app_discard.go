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

func (a *discardApp) counts(worker int) map[string]uint64 {
	c := a.cores[worker]
	return map[string]uint64{"bytes": c.bytes, "pieces": c.pieces}
}

func (a *discardApp) sums(c *flow.Counters) string {
	if allCounts(a, len(a.cores))["bytes"] != c.BytesIn {
		return "bytes discarded = bytes of text in order"
	}
	return ""
}

func (a *discardApp) close() {}
