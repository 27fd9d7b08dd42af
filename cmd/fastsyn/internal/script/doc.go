// Package script runs segment scripts: text that says what a peer sends to a TCP
// endpoint, frame by frame, and what must come back. One script runs against
// fastsyn, on a virtual clock over the loop wire, and against any other endpoint
// that a Subject drives; the tests run every script against the Linux kernel too.
// Where the two are meant to differ the script says so and why, and the
// differences of all scripts are docs/kernel-differences.md.
//
// The format is described in docs/scripts.md. Parse reads it, Run plays it.
package script
