package bench

import (
	"maps"
	"reflect"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/flow"
)

// No counter of streams is left out of reports, and none is there under two names.
func TestStreamMapIsWhole(t *testing.T) {
	var c flow.Counters
	v := reflect.ValueOf(&c).Elem()
	var want []uint64
	for i := range v.NumField() {
		v.Field(i).SetUint(uint64(i + 1))
		want = append(want, uint64(i+1))
	}
	require.Equal(t, want, slices.Sorted(maps.Values(StreamMap(&c))))
}
