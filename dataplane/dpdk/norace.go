//go:build !race && dpdk && cgo && linux

package dpdk

const raceEnabled = false
