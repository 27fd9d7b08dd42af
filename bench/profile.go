package bench

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/fastsyn/fastsyn"
	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/handshake"
)

// ProfileCustom is the profile that --syn-options and the flags beside it make.
const ProfileCustom = "custom"

// profile is how the SYNs of a kind of client look. The options are in the notation of p0f; values it leaves
// out are those of the link (MSS) and of what the client has room for (window scale).
type profile struct {
	name    string
	options string
	window  int // 0: as many whole segments as 64 KiB hold
	ttl     int // 0: 64
	noDF    bool
}

// The profiles. Layouts, TTL, DF and identification of the first three are those of p0f.fp 3.09b, labels
// "Linux:3.11 and newer", "g:win:Windows:NT kernel" and "g:unix:Mac OS X". Windows and scales are of today: 64 KiB in
// whole segments since Linux 4.20, which an interoperation test compares with its own kernel; 64240 and a scale of 8 as
// in published captures of Windows 10; a scale of 6 as in signatures of macOS 12 made since. The last one is lwIP as it
// comes: TCP_MSS 536, TCP_WND 4 * TCP_MSS, IP_DEFAULT_TTL 255 and no other option (src/include/lwip/opt.h), no DF.
var profiles = []profile{
	{name: "linux", options: "mss,sok,ts,nop,ws=7", ttl: 64},
	{name: "windows", options: "mss,nop,ws=8,nop,nop,sok", ttl: 128},
	{name: "macos", options: "mss,nop,ws=6,nop,nop,ts,sok,eol+1", window: 65535, ttl: 64},
	{name: "minimal", options: "mss=536", window: 4 * 536, ttl: 255, noDF: true},
}

// Profiles are the names that --profile knows.
func Profiles() []string {
	var out []string
	for _, p := range profiles {
		out = append(out, p.name)
	}
	return append(out, ProfileCustom)
}

// synShape is a profile in numbers.
type synShape struct {
	*wire.Shape
	mss    int // 0: of the link
	scale  int // with wire.HasWScale; -1: whatever the client needs
	window int // 0: whole segments
}

// shape reads the profile of c; nil: none. normalize has been satisfied with it.
func (c *Config) shape() (*synShape, error) {
	p := profile{name: ProfileCustom, options: c.SYNOptions, window: c.SYNWindow, ttl: c.TTL, noDF: c.NoDF}
	switch {
	case c.Profile == "":
		return nil, nil
	case c.Profile != ProfileCustom:
		p = profiles[slices.IndexFunc(profiles, func(p profile) bool { return p.name == c.Profile })]
	}
	s, err := parseLayout(p.options)
	if err != nil {
		return nil, err
	}
	s.TTL, s.NoDF, s.Identified, s.window = uint8(p.ttl), p.noDF, true, p.window
	return s, nil
}

// parseLayout reads a list such as "mss=1460,sackok,ts,nop,wscale=7", or as p0f has it, "mss,sok,ts,nop,ws".
func parseLayout(list string) (*synShape, error) {
	s := &synShape{scale: -1}
	var kinds []uint8
	for word := range strings.SplitSeq(list, ",") {
		word = strings.TrimSpace(word)
		name, value, valued := strings.Cut(word, "=")
		pad := ""
		if !valued {
			name, pad, _ = strings.Cut(name, "+")
		}
		n := 0
		if valued || pad != "" {
			var err error
			if n, err = strconv.Atoi(value + pad); err != nil {
				return nil, fmt.Errorf("%q: want a number", word)
			}
		}
		takes, pads := false, false
		switch name {
		case "mss":
			kinds = append(kinds, wire.OptMSS)
			if takes = true; valued {
				s.mss = n
			}
			if valued && (n < 48 || n > 65495) {
				return nil, fmt.Errorf("%q: want 48 to 65495 bytes", word)
			}
		case "ws", "wscale":
			kinds = append(kinds, wire.OptWScale)
			if takes = true; valued {
				s.scale = n
			}
			if valued && (n < 0 || n > 14) {
				return nil, fmt.Errorf("%q: want 0 to 14", word)
			}
		case "sok", "sackok":
			kinds = append(kinds, wire.OptSACKPermitted)
		case "ts":
			kinds = append(kinds, wire.OptTimestamps)
		case "nop":
			kinds = append(kinds, wire.OptNOP)
		case "eol":
			pads = true
			if n < 0 || n > wire.MaxOptionsLen {
				return nil, fmt.Errorf("%q: want 0 to %d bytes of padding", word, wire.MaxOptionsLen)
			}
			kinds = append(kinds, make([]uint8, n+1)...) // EOL is 0
		default:
			fix := ""
			if near := Nearest(name, []string{"mss", "ws", "wscale", "sok", "sackok", "ts", "nop", "eol"}); near != "" {
				fix = fmt.Sprintf("; did you mean %q?", near)
			}
			return nil, fmt.Errorf("%q is no option of mss, wscale (ws), sackok (sok), ts, nop, eol%s", word, fix)
		}
		if valued && !takes || pad != "" && !pads {
			return nil, fmt.Errorf("%q takes no number", word)
		}
	}
	var err error
	s.Shape, err = wire.NewShape(kinds...)
	return s, err
}

// profileSettings checks the profile, and those settings that only a custom one has.
func (c *Config) profileSettings() error {
	own := map[string]bool{"syn-options": c.SYNOptions != "", "syn-window": c.SYNWindow != 0, "ttl": c.TTL != 0, "no-df": c.NoDF}
	for _, flag := range []string{"syn-options", "syn-window", "ttl", "no-df"} {
		switch {
		case !own[flag]:
		case c.kind().raw:
			return flagError(flag, "", "the frames of an "+c.Scenario+" are no SYNs", "leave it out")
		case c.Profile == "":
			c.Profile = ProfileCustom
		case c.Profile != ProfileCustom:
			return flagError(flag, "", "the profile "+c.Profile+" has its own", "leave one of them out, or use --profile "+ProfileCustom)
		}
	}
	if c.Profile == "" {
		return nil
	}
	if err := choice("profile", c.Profile, Profiles()...); err != nil {
		return err
	}
	switch {
	case c.kind().raw:
		return flagError("profile", c.Profile, "the frames of an "+c.Scenario+" are no SYNs", "leave it out")
	case c.NoTimestamps || c.NoSACK || c.NoWScale:
		flag := "no-wscale"
		if c.NoTimestamps {
			flag = "no-timestamps"
		} else if c.NoSACK {
			flag = "no-sack"
		}
		return flagError(flag, "", "the profile "+c.Profile+" says which options a SYN has", "use --profile "+ProfileCustom+" --syn-options LIST without that one")
	case c.TTL < 0 || c.TTL > 255:
		return flagError("ttl", c.TTL, "want 1 to 255", "leave it out for 64")
	case c.SYNWindow < 0 || c.SYNWindow > 65535:
		return flagError("syn-window", c.SYNWindow, "the field of a SYN is not scaled and holds 1 to 65535", "leave it out for whole segments")
	case c.Profile == ProfileCustom && c.SYNOptions == "":
		c.SYNOptions = profiles[0].options
	}
	if _, err := c.shape(); err != nil {
		return flagError("syn-options", c.SYNOptions, err.Error(), "give a list such as mss,sackok,ts,nop,wscale=7")
	}
	return nil
}

// profiled gives the client's end of a run its profile: shape, and what the engine has to know of it.
func (r *run) profiled(c *fastsyn.Config, mtu int) error {
	s, err := r.cfg.shape()
	if s == nil || err != nil {
		return err
	}
	r.shape = s
	if s.scale < 0 {
		s.scale = 3 // what the 256 KiB of the engine take
	}
	v4 := r.job.remote.Is4()
	overhead := 60
	if v4 {
		overhead = 40
	}
	s.mss = cmp.Or(s.mss, cmp.Or(c.Engine.MTU, mtu, 1500)-overhead)
	s.window = cmp.Or(s.window, 65535/s.mss*s.mss)
	e, has := &c.Engine, s.Has()
	e.MSS = s.mss
	e.NoTimestamps, e.NoSACK, e.NoWScale = has&wire.HasTimestamps == 0, has&wire.HasSACKPermitted == 0, has&wire.HasWScale == 0
	e.SYNWindow = s.window
	e.RcvWindow = max(s.window, 1460)
	if !e.NoWScale {
		e.WScale, e.RcvWindow = s.scale, max(e.RcvWindow, min(handshake.DefaultRcvWindow, 65535<<s.scale))
	}
	c.Shape = s.Shape
	return nil
}

// signature is the fingerprint of its SYN in the notation of p0f (README of p0f 3, section 5).
func (s *synShape) signature(v4 bool) string {
	ver, quirks := "6", ""
	if v4 {
		if ver = "4"; !s.NoDF {
			quirks = "df,id+"
		}
	}
	words, scale := []string{}, 0
	kinds := s.Kinds()
list:
	for i, k := range kinds {
		switch k {
		case wire.OptMSS:
			words = append(words, "mss")
		case wire.OptWScale:
			words, scale = append(words, "ws"), s.scale
		case wire.OptSACKPermitted:
			words = append(words, "sok")
		case wire.OptTimestamps:
			words = append(words, "ts")
		case wire.OptNOP:
			words = append(words, "nop")
		case wire.OptEOL:
			words = append(words, fmt.Sprintf("eol+%d", len(kinds)-1-i))
			break list
		}
	}
	return fmt.Sprintf("%s:%d:0:%d:%d,%d:%s:%s:0", ver, cmp.Or(int(s.TTL), wire.DefaultTTL), s.mss, s.window, scale, strings.Join(words, ","), quirks)
}
