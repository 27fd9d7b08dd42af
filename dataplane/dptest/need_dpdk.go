//go:build dpdk && cgo && linux

package dptest

func hasDPDK() error { return nil }
