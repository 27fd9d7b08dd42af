package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"

	"github.com/fastsyn/fastsyn/cookie"
)

// secretEnv names the environment variable that holds the secret when no file is given.
const secretEnv = "FASTSYN_SECRET"

const secretHelp = `
The secret comes from --secret-file or, without it, from the environment variable
` + secretEnv + `. A file that others can read or change is refused. Prefer the file: the
environment of a process shows in /proc to its user and in crash reports.`

// maxSecret bounds what is read: a wrong path to something endless must not hang.
const maxSecret = 1 << 16

// loadSecret returns the secret of --secret-file, or else of the environment. found is
// false if neither is given. No error contains any of it.
func loadSecret(file string) (s cookie.Secret, found bool, err error) {
	material, source, err := secretMaterial(file)
	if err != nil || material == nil {
		return cookie.Secret{}, false, err
	}
	if s, err = cookie.NewSecret(material); err != nil {
		return cookie.Secret{}, false, fmt.Errorf("%s: %w; make one with: head -c 32 /dev/urandom | base64", source, err)
	}
	return s, true, nil
}

// secretMaterial returns the bytes behind the secret without a line end, nil if there are none.
func secretMaterial(file string) (material []byte, source string, err error) {
	if file == "" {
		text, ok := os.LookupEnv(secretEnv)
		if !ok {
			return nil, "", nil
		}
		return []byte(strings.TrimRight(text, "\r\n")), secretEnv, nil
	}
	material, err = readSecret("--secret-file", file)
	return material, "--secret-file " + file, err
}

// readSecret returns the file that flag names, without a line end.
func readSecret(flag, file string) (material []byte, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat() // of what is open, not of what the name means a moment later
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	if m := info.Mode().Perm(); m&0o027 != 0 && runtime.GOOS != "windows" {
		return nil, fmt.Errorf("%s %s: mode %04o lets others read or change it; run chmod 600 %s", flag, file, m, file)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxSecret))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	return []byte(strings.TrimRight(string(b), "\r\n")), nil
}
