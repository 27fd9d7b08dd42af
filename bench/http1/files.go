package http1

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"mime"
	"net/url"
	"path"
	"strconv"
)

// ErrTooLarge is that a directory has more in it than was allowed.
var ErrTooLarge = errors.New("http1: the files are larger than allowed")

// Index is the file that stands for its directory.
const Index = "index.html"

// Files returns a site of the regular files of fsys, read into memory: limit bytes at most.
// Only GET and HEAD are allowed. Directories are not listed; one that has an Index is
// that file, with a redirect for a path without the slash at the end. Take
// os.Root.FS for fsys, and links do not lead outside.
func Files(fsys fs.FS, limit int64) (*Site, error) {
	s := &Site{files: map[string]*entry{}, answers: answers("GET, HEAD")}
	left := limit
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := fs.Stat(fsys, name)
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			return nil
		}
		if left -= info.Size(); left < 0 {
			return fmt.Errorf("%w: %d bytes, reached at %s; serve a smaller directory or allow more", ErrTooLarge, limit, name)
		}
		body, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		left -= int64(len(body)) - info.Size() // it may have grown
		s.add(name, file(name, body, info))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("http1: files to serve: %w", err)
	}
	return s, nil
}

func file(name string, body []byte, info fs.FileInfo) *entry {
	ctype := mime.TypeByExtension(path.Ext(name))
	if ctype == "" {
		ctype = "application/octet-stream"
	}
	sum := sha256.Sum256(body)
	e := &entry{status: 200, fields: "Content-Type: " + ctype + "\r\n", body: body, etag: fmt.Sprintf(`"%x"`, sum[:12]), ranges: true}
	if t := info.ModTime(); !t.IsZero() {
		e.modified, e.unix = t.UTC().Format(imfDate), t.Unix()
	}
	return e
}

func (s *Site) add(name string, e *entry) {
	s.files["/"+name] = e
	dir, base := path.Split("/" + name)
	if base != Index {
		return
	}
	s.files[dir] = e
	if dir != "/" {
		s.files[dir[:len(dir)-1]] = &entry{
			status: 301, fields: "Content-Type: text/plain\r\nLocation: " + (&url.URL{Path: dir}).EscapedPath() + "\r\n", body: []byte("301 Moved Permanently\n"),
		}
	}
}

// Size says how much is served, in bytes and files.
func (s *Site) Size() (bytes int64, files int) {
	if s.fixed != nil {
		return int64(len(s.fixed.body)), 1
	}
	for name, e := range s.files {
		if e.status == 200 && name[len(name)-1] != '/' {
			bytes += int64(len(e.body))
			files++
		}
	}
	return bytes, files
}

// String describes the site in a few words.
func (s *Site) String() string {
	n, files := s.Size()
	if s.fixed != nil {
		return strconv.FormatInt(n, 10) + " bytes for every path"
	}
	return fmt.Sprintf("%d files, %d bytes", files, n)
}
