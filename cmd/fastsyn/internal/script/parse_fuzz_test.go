package script

import (
	"errors"
	"testing"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// Whatever the text, Parse returns a script or an error with a line; a script
// that it accepts can be played against fastsyn, whose parser and engine then meet
// whatever frames it describes.
func FuzzParse(f *testing.F) {
	for _, s := range load(f) {
		f.Add(source(f, s.File))
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse("fuzz.seg", text)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Line < 0 || e.Err == nil {
				t.Fatalf("error without place or reason: %#v", err)
			}
			return
		}
		if s.Title == "" || len(s.Proves) == 0 || len(s.Steps) == 0 {
			t.Fatalf("accepted without what every script needs: %+v", s)
		}
		if len(s.Steps) > 200 {
			return
		}
		for _, st := range s.Steps {
			if st.D > 1e9 {
				return // hours of virtual time cost seconds of real time
			}
		}
		for _, fam := range s.Families {
			side := Stream
			if s.Only&Stream == 0 {
				side = Bare
			}
			e, err := NewEndpoint(s.Settings, side, fam, DefaultLink)
			if err != nil {
				t.Fatal(err)
			}
			_ = Run(s, fam, e, DefaultLink) // that it fails is no news
			if err := e.Check(); err != nil {
				t.Fatal(err)
			}
			if err := e.Free(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// A frame of an endpoint, whatever its bytes, is read or refused.
func FuzzReadAnswer(f *testing.F) {
	o := outgoing{src: DefaultLink.Endpoint[V4], dst: DefaultLink.Peer[V4], seg: &Segment{Flags: wire.FlagSYN | wire.FlagACK}}
	frame, err := o.frame(&DefaultLink)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(frame)
	f.Fuzz(func(t *testing.T, frame []byte) {
		var p wire.Packet
		if wire.Parse(frame, true, &p) != wire.OK || p.Kind != wire.KindTCP {
			return
		}
		a, err := readAnswer(frame, &p, &DefaultLink)
		if err == nil && a.show(nil) == "" {
			t.Fatal("an answer that reads as nothing")
		}
	})
}
