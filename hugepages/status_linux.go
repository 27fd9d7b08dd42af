package hugepages

import (
	"io/fs"
	"os"
)

func sysMM() (fs.FS, error) { return os.DirFS("/sys/kernel/mm"), nil }
