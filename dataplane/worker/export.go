package worker

import (
	"errors"

	"github.com/fastsyn/fastsyn/dataplane/flow"
	"github.com/fastsyn/fastsyn/handshake"
)

// Export takes a stream away from the worker, for Import on another one with the same secret, the same
// clock and an equal configuration, whose AddApp gave the same numbers (HND-007). The application here is told nothing,
// and the value of the flow is gone: take it before. Until the other worker has the flow
// its segments must not come here, where they are answered by a reset. It returns false if id is no stream, or one
// that is about to end or not confirmed yet (Fast Open). On the worker.
func (w *Worker) Export(id handshake.FlowID) (e flow.Export, ok bool) {
	if w.streams == nil {
		return e, false
	}
	if e, ok = w.streams.Export(id, nil); ok {
		w.values.clear(id.Index())
	}
	return e, ok
}

var errNoStreams = errors.New("worker: no application here has streams: AddApp it before the import")

// Import enters a stream that another worker exported: it goes on where it was, and its callbacks are those of
// this worker's application. On the worker.
func (w *Worker) Import(e *flow.Export) (handshake.FlowID, error) {
	if w.streams == nil {
		return handshake.FlowID{}, errNoStreams
	}
	id, err := w.streams.Import(e, 0)
	if err == nil {
		w.values.clear(id.Index())
	}
	return id, err
}
