// Package schema has the JSON Schemas (draft 2020-12) of what fastsyn writes for programs. They are generated from
// the Go types by go test ./bench -run Schema -update; their descriptions are those of docs/report.md.
package schema

import _ "embed"

// Report is that of fastsyn.report/v1. It knows the fields of this version and no others; a later
// version of fastsyn adds some, within v1.
//
//go:embed report.v1.json
var Report []byte
