//go:build !linux

package hugepages

import (
	"errors"
	"fmt"
	"io/fs"
)

func sysMM() (fs.FS, error) { return systemRoot() }

func systemRoot() (fs.FS, error) {
	return nil, fmt.Errorf("hugepages: huge page status needs Linux; arenas use the Go heap here: %w", errors.ErrUnsupported)
}
