package hugepages

import (
	"io/fs"
	"os"
)

func sysMM() (fs.FS, error) { return os.DirFS("/sys/kernel/mm"), nil }

// systemRoot is the root directory, for the readers that take one.
func systemRoot() (fs.FS, error) { return os.DirFS("/"), nil }
