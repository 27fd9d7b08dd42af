package flow

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDAT_006_Sendable(t *testing.T) {
	const wnd = 64240
	for _, v := range []struct {
		name                string
		queued, usable, max uint32
		idle, nagle, push   bool
		want                uint32
	}{
		{"nothing queued", 0, wnd, wnd, true, true, true, 0},
		{"no window", 100, 0, wnd, true, true, true, 0},
		{"full segments go", 2 * seg, wnd, wnd, false, true, false, 2 * seg},
		{"small text on an idle flow goes", 100, wnd, wnd, true, true, true, 100},
		{"small text waits for the ACK", 100, wnd, wnd, false, true, true, 0},
		{"without Nagle it does not", 100, wnd, wnd, false, false, true, 100},
		{"the rest of a burst waits", 2*seg + 1, wnd, wnd, true, true, true, 2 * seg},
		{"without Nagle it does not wait", 2*seg + 1, wnd, wnd, true, false, true, 2*seg + 1},
		{"without PUSH it waits for more", 100, wnd, wnd, true, false, false, 0},
		{"a window smaller than a segment is silly", 5000, 900, wnd, true, false, true, 0},
		{"the window takes whole segments only", 5000, seg + 900, wnd, true, false, true, seg},
		{"half of the largest window is not silly", 5000, 300, 536, true, true, true, 300},
		{"less than half is", 5000, 267, 536, true, true, true, 0},
		{"half is not sent twice under Nagle", 5000, 300, 536, false, true, true, 0},
		{"all of what is queued into a small window", 200, 250, 536, true, true, true, 200},
	} {
		t.Run(v.name, func(t *testing.T) {
			require.Equal(t, v.want, sendable(v.queued, v.usable, seg, v.max, v.idle, v.nagle, v.push))
		})
	}
	var r rto
	r.sample(msec, 1)
	require.EqualValues(t, 200*msec, r.overrideDelay())
	r.sample(rtoMax, 1)
	require.EqualValues(t, 1000*msec, r.overrideDelay())
}

func TestWND_006_SmallWindows(t *testing.T) {
	for _, v := range []struct{ mss, max, want uint32 }{
		{1460, 64240, 1460},
		{1460, 2920, 1460},
		{1460, 2000, 1000},
		{1460, 1000, 500},
		{1460, 536, 536},
		{1460, 100, 100},
		{1460, 1, minSegment},
		{1460, 0, 1460},
		{40, 100, 40},
	} {
		require.Equal(t, v.want, segmentLimit(v.mss, v.max), v)
	}
}
