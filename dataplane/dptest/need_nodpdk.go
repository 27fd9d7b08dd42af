//go:build !dpdk || !cgo || !linux

package dptest

import "errors"

func hasDPDK() error { return errors.New("this test was built without DPDK") }
