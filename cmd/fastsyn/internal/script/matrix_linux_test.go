package script

import "testing"

// The kernel's half of the matrix, each cell in a namespace of its own.
func TestMatrixOnTheKernel(t *testing.T) {
	needKernel(t)
	cells := matrixCells()
	got := make([]string, len(cells))
	t.Run("cells", func(t *testing.T) {
		for i := range cells {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				k := newKernel(t, Settings{PeerISS: 0xfffffffe, Timeless: true}, V4, DefaultLink)
				defer k.free()
				got[i] = cells[i].play(t, k)
			})
		}
	})
	if !t.Failed() {
		matrix(t, true, got)
	}
}
