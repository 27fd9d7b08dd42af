//go:build !linux

package bench

// pin does nothing: this system is not told where threads run.
func pin(int) error { return nil }
