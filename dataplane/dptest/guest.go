package dptest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// CacheEnv names the environment variable with the directory for what tests fetch once.
const CacheEnv = "FASTSYN_CACHE"

// cacheDir returns the directory that .ci/deps fills: $FASTSYN_CACHE, or fastsyn in the user's cache.
func cacheDir() (string, error) {
	if dir := os.Getenv(CacheEnv); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no directory for a cache, set %s: %w", CacheEnv, err)
	}
	return filepath.Join(dir, "fastsyn"), nil
}

// GuestKernel returns the directory with a kernel for virtual machines: vmlinuz,
// modules/*.ko for it and its release. See package guest.
func GuestKernel() (string, error) {
	dir, err := cacheDir()
	if err != nil {
		return "", err
	}
	dir = filepath.Join(dir, "guest-kernel")
	for _, f := range []string{"vmlinuz", "modules", "release"} {
		if _, err := os.Stat(filepath.Join(dir, f)); err != nil {
			return "", fmt.Errorf("no kernel for guests in the cache: %w", err)
		}
	}
	return dir, nil
}

func hasGuestKernel() error { _, err := GuestKernel(); return err }

// applets are what package guest asks of busybox.
var applets = []string{
	"base64", "basename", "cat", "grep", "insmod", "ip", "kill", "ls", "mkdir", "mount", "mv", "poweroff", "readlink",
	"sh", "sleep", "stty", "tr", "usleep",
}

// hasBusybox looks for a busybox with the applets of Debian's busybox-static.
var hasBusybox = sync.OnceValue(func() error {
	path, err := LookTool("busybox")
	if err != nil {
		return err
	}
	out, err := exec.Command(path, "--list").Output()
	if err != nil {
		return fmt.Errorf("%s --list: %w", path, err)
	}
	have := strings.Fields(string(out))
	slices.Sort(have)
	for _, a := range applets {
		if _, ok := slices.BinarySearch(have, a); !ok {
			return fmt.Errorf("%s has no %s", path, a)
		}
	}
	return nil
})
