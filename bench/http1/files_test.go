package http1

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
)

var fileTime = time.Date(2024, 2, 29, 12, 0, 0, 5, time.UTC)

func testFiles() fstest.MapFS {
	f := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text), ModTime: fileTime} }
	return fstest.MapFS{
		"index.html": f("<p>root"), "a.txt": f("0123456789"), "dir/index.html": f("<p>dir"), "dir/b c%.bin": f("bc"), "empty.txt": f(""),
		"sp ace/index.html": f("<p>space"),
		"large.bin":         {Data: FixedText(100_000), ModTime: fileTime},
	}
}

func filesSite(t testing.TB) *Site {
	t.Helper()
	s, err := Files(testFiles(), 1<<20)
	require.NoError(t, err)
	return s
}

// ask sends one request and reads the response with net/http.
func ask(t *testing.T, s *Server, method, target, extra string) (*http.Response, string) {
	t.Helper()
	f := &fake{}
	feed(t, s, f, false, []byte(method+" "+target+" HTTP/1.1\r\nHost: a\r\n"+extra+"\r\n"))
	r, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(f.out)), &http.Request{Method: method})
	require.NoError(t, err)
	body, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	end(t, s, f)
	return r, string(body)
}

func TestFiles(t *testing.T) {
	s := testServer(filesSite(t))
	for _, c := range []struct {
		target string
		status int
		body   string
		ctype  string
	}{
		{"/", 200, "<p>root", "text/html; charset=utf-8"},
		{"/index.html", 200, "<p>root", "text/html; charset=utf-8"},
		{"/a.txt?query/../x", 200, "0123456789", "text/plain; charset=utf-8"},
		{"http://a/a.txt", 200, "0123456789", "text/plain; charset=utf-8"},
		{"http://a", 200, "<p>root", "text/html; charset=utf-8"},
		{"/%61%2etxt", 200, "0123456789", "text/plain; charset=utf-8"},
		{"/dir/", 200, "<p>dir", "text/html; charset=utf-8"},
		{"/dir/b%20c%25.bin", 200, "bc", "application/octet-stream"},
		{"/large.bin", 200, string(FixedText(100_000)), "application/octet-stream"},
		{"/empty.txt", 200, "", "text/plain; charset=utf-8"},
		{"/nothing", 404, "404 Not Found\n", "text/plain"},
		{"/dir/../a.txt", 404, "404 Not Found\n", "text/plain"},
		{"/../../../../etc/passwd", 404, "404 Not Found\n", "text/plain"},
		{"/%2e%2e/%2e%2e/etc/passwd", 404, "404 Not Found\n", "text/plain"},
		{"/a.txt%00", 404, "404 Not Found\n", "text/plain"},
		{"//a.txt", 404, "404 Not Found\n", "text/plain"},
		{"/a.txt%", 400, "400 Bad Request\n", "text/plain"},
		{"/a.txt%4", 400, "400 Bad Request\n", "text/plain"},
		{"/%zztxt", 400, "400 Bad Request\n", "text/plain"},
	} {
		t.Run(c.target, func(t *testing.T) {
			r, body := ask(t, s, "GET", c.target, "")
			require.Equal(t, c.status, r.StatusCode)
			require.Equal(t, c.body, body)
			require.Equal(t, c.ctype, r.Header.Get("Content-Type"))
			h, body := ask(t, s, "HEAD", c.target, "")
			require.Empty(t, body)
			require.Equal(t, r.Header, h.Header, "RFC 9110 9.3.2: HEAD has the fields of GET")
			require.Equal(t, r.ContentLength, h.ContentLength)
		})
	}
	r, _ := ask(t, s, "GET", "/sp%20ace", "")
	require.Equal(t, 301, r.StatusCode)
	require.Equal(t, "/sp%20ace/", r.Header.Get("Location"))
	r, _ = ask(t, s, "POST", "/a.txt", "Content-Length: 0\r\n")
	require.Equal(t, 405, r.StatusCode)
	require.Equal(t, "GET, HEAD", r.Header.Get("Allow"))
}

// TestConditions compares with net/http, whose ServeContent reads the same fields.
func TestConditions(t *testing.T) {
	s := testServer(filesSite(t))
	first, _ := ask(t, s, "GET", "/a.txt", "")
	etag, modified := first.Header.Get("ETag"), first.Header.Get("Last-Modified")
	require.Equal(t, "Thu, 29 Feb 2024 12:00:00 GMT", modified)
	require.Equal(t, "bytes", first.Header.Get("Accept-Ranges"))
	for _, extra := range []string{
		"", "If-None-Match: " + etag, "If-None-Match: W/" + etag, `If-None-Match: "x", W/"y" , ` + etag, `If-None-Match: "x"`, "If-None-Match: *", "If-None-Match: x",
		`If-None-Match: "`, "If-Modified-Since: " + modified, "If-Modified-Since: Thu, 29 Feb 2024 11:59:59 GMT", "If-Modified-Since: Thursday, 29-Feb-24 12:00:00 GMT",
		"If-Modified-Since: Thu Feb 29 12:00:00 2024", "If-Modified-Since: yesterday", "If-Modified-Since: Fri, 01 Mar 2030 00:00:00 GMT",
		`If-None-Match: "x"` + "\r\nIf-Modified-Since: " + modified,
		"Range: bytes=0-0", "Range: bytes=2-5", "Range: bytes=5-", "Range: bytes=-3", "Range: bytes=-30", "Range: bytes=9-100", "Range: bytes=10-", "Range: bytes=10-20",
		"Range: bytes=-0", "Range: bytes=3-3\r\nIf-Range: " + etag, "Range: bytes=3-3\r\nIf-Range: W/" + etag, `Range: bytes=3-3` + "\r\n" + `If-Range: "x"`,
		"Range: bytes=3-3\r\nIf-Range: " + modified, "Range: bytes=3-3\r\nIf-Range: Thu, 29 Feb 2024 11:59:59 GMT",
		"Range: bytes=3-3\r\nIf-None-Match: " + etag, "Range: chars=1-2",
	} {
		for _, method := range []string{"GET", "HEAD"} {
			t.Run(method+" "+extra, func(t *testing.T) {
				lines := extra
				if lines != "" {
					lines += "\r\n"
				}
				got, body := ask(t, s, method, "/a.txt", lines)
				req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader([]byte(method + " /a.txt HTTP/1.1\r\nHost: a\r\n" + lines + "\r\n"))))
				require.NoError(t, err)
				w := &recorder{header: http.Header{"Etag": {etag}}}
				http.ServeContent(w, req, "a.txt", fileTime, bytes.NewReader([]byte("0123456789")))
				want := w.status
				switch {
				case extra == "Range: chars=1-2":
					want = 200 // RFC 9110 14.2: an unknown unit is ignored; net/http says 416
				case method == "HEAD" && (want == 206 || want == 416):
					want = 200 // RFC 9110 14.2: Range is for GET
				case extra == "Range: bytes=-0":
					want = 416 // RFC 9110 14.1.2: a suffix of no bytes cannot be satisfied; net/http sends 206 with none
				}
				require.Equal(t, want, got.StatusCode)
				if want == 200 {
					require.Equal(t, int64(10), got.ContentLength)
				}
				if method == "HEAD" || want == 416 {
					require.Empty(t, body)
				} else if want == w.status {
					require.Equal(t, w.body.String(), body)
				}
				if want != 200 && want == w.status {
					require.Equal(t, w.header.Get("Content-Range"), got.Header.Get("Content-Range"))
				}
				require.Equal(t, etag, got.Header.Get("ETag"))
			})
		}
	}
	for _, extra := range []string{"Range: bytes=0-1,3-4", "Range: bytes=5-2", "Range: bytes=", "Range: bytes=-", "Range: bytes=x-1", "Range: bytes=1-x", "Range: bytes=0-1\r\nRange: bytes=0-1"} {
		r, body := ask(t, s, "GET", "/a.txt", extra+"\r\n")
		require.Equal(t, 200, r.StatusCode, extra)
		require.Equal(t, "0123456789", body)
	}
}

type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *recorder) Header() http.Header { return w.header }
func (w *recorder) WriteHeader(n int)   { w.status = n }
func (w *recorder) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = 200
	}
	return w.body.Write(p)
}

// TestFilesOnDisk: the bound, and links that lead outside.
func TestFilesOnDisk(t *testing.T) {
	_, err := Files(testFiles(), 100_000)
	require.ErrorIs(t, err, ErrTooLarge)

	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	require.NoError(t, os.WriteFile(secret, []byte("secret"), 0o600))
	public := filepath.Join(dir, "public")
	require.NoError(t, os.Mkdir(public, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(public, "a"), []byte("a"), 0o600))
	require.NoError(t, os.Symlink("a", filepath.Join(public, "b")))
	root, err := os.OpenRoot(public)
	require.NoError(t, err)
	defer func() { require.NoError(t, root.Close()) }()
	site, err := Files(root.FS(), 100)
	require.NoError(t, err)
	n, files := site.Size()
	require.Equal(t, []int64{2, 2}, []int64{n, int64(files)})
	require.NoError(t, os.Symlink("../secret", filepath.Join(public, "c")))
	_, err = Files(root.FS(), 100)
	require.ErrorContains(t, err, "escapes")
}
