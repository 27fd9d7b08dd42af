package worker

import (
	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/handshake"
)

// Send is Flow.Reply for a flow kept by its ID.
func (w *Worker) Send(id handshake.FlowID, p []byte, fin bool) bool { return w.send(id, p, fin) }

// StateOf returns the state of a tuple; see handshake.Engine.StateOf.
func (w *Worker) StateOf(t *wire.Tuple) handshake.State { return w.engine.StateOf(t) }

// Step is one turn of Run, for a caller that drives the worker with a clock of
// its own instead of Run. It reports whether anything happened. What was posted
// runs in it. Such a caller takes Snapshot for Stats, and has no need of Do.
func (w *Worker) Step() bool {
	busy, _ := w.round()
	return busy
}

// Snapshot is Stats for a caller of Step.
func (w *Worker) Snapshot() Stats { return w.snapshot() }
