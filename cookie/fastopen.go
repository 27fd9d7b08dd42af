package cookie

import (
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/bits"
	"strings"
)

// FastOpenCookie is the cookie of a Fast Open option (RFC 7413 §4.1.1), 8 bytes as Linux
// sends them.
type FastOpenCookie [8]byte

// FastOpenVerdict says what a presented cookie is worth.
type FastOpenVerdict uint8

// The verdicts.
const (
	FastOpenRefused  FastOpenVerdict = iota // answer with the right cookie and drop the text (TFO-004)
	FastOpenCurrent                         // take the text, answer without the option (TFO-003)
	FastOpenPrevious                        // take the text, and send the new cookie (TFO-007)
)

// String names v.
func (v FastOpenVerdict) String() string {
	switch v {
	case FastOpenRefused:
		return "refused"
	case FastOpenCurrent:
		return "current"
	case FastOpenPrevious:
		return "previous"
	}
	return "invalid"
}

// FastOpen makes and checks Fast Open cookies under a key and, while it is being replaced,
// the one before. A cookie is bound to both addresses and to no port, and lasts as long as
// its key: it proves that the peer once received at its address, nothing more, and whoever
// sees it can replay it (TFO-019). A forger without it has odds of 2^-64 per try and key.
//
// It is immutable and safe for concurrent use. To rotate, make a new one.
type FastOpen struct {
	redacted
	keys func() *fastOpenKeys // a closure, see prf
}

// fastOpenKeys are the current key and the one before, of one of two kinds.
type fastOpenKeys struct {
	aes    [2]*cipherKey // nil: the kernel's form
	sip    [2]sipKey
	rotate bool // there is one before
}

// fastOpenLabel derives the key of Fast Open cookies from a Secret.
const fastOpenLabel = "fast open"

// The domain words of Fast Open cookies. The key is a domain of its own already; these keep
// IPv4 and IPv6 apart.
const (
	domainFastOpen4 = uint64('f') | 's'<<8 | 'o'<<16 | '4'<<24
	domainFastOpen6 = uint64('f') | 's'<<8 | 'o'<<16 | '6'<<24
)

// FastOpen returns the Fast Open cookies of s: the first 8 bytes of CBC-MAC with AES-128
// over the addresses. Cookies of previous, if that is set, are accepted as well.
func (s Secret) FastOpen(previous Secret) (*FastOpen, error) {
	if !s.IsSet() {
		return nil, fmt.Errorf("cookie: Fast Open: %w: not set; use NewSecret or RandomSecret", ErrSecret)
	}
	k := &fastOpenKeys{}
	k.aes[0] = newPRF(s.derive(fastOpenLabel))()
	if previous.IsSet() {
		k.aes[1], k.rotate = newPRF(previous.derive(fastOpenLabel))(), true
	}
	return &FastOpen{keys: func() *fastOpenKeys { return k }}, nil
}

// NewLinuxFastOpen returns the Fast Open cookies of a Linux host (TFO-002): SipHash-2-4 over
// both addresses. The text is that of net.ipv4.tcp_fastopen_key: one key of four groups of
// eight hexadecimal digits with dashes between, or the current and the backup key with a
// comma between.
func NewLinuxFastOpen(text string) (*FastOpen, error) {
	parts := strings.Split(strings.TrimSpace(text), ",")
	if len(parts) > 2 {
		return nil, fmt.Errorf("cookie: Fast Open key: %d keys: want one, or two with a comma between", len(parts))
	}
	k := &fastOpenKeys{rotate: len(parts) == 2}
	for i, p := range parts {
		key, err := parseFastOpenKey(p)
		if err != nil {
			return nil, fmt.Errorf("cookie: Fast Open key %d: %w", i+1, err)
		}
		k.sip[i] = newSipKey(&key)
	}
	return &FastOpen{keys: func() *fastOpenKeys { return k }}, nil
}

// errFastOpenKey does not show what was given: it may be most of a key.
var errFastOpenKey = errors.New("want four groups of eight hexadecimal digits with dashes between, as sysctl net.ipv4.tcp_fastopen_key prints")

// parseFastOpenKey reads each group as a word that lies little-endian in memory.
func parseFastOpenKey(text string) (key [16]byte, err error) {
	groups := strings.Split(text, "-")
	if len(groups) != 4 {
		return key, errFastOpenKey
	}
	for i, g := range groups {
		b, err := hex.DecodeString(g)
		if err != nil || len(b) != 4 {
			return key, errFastOpenKey
		}
		binary.LittleEndian.PutUint32(key[4*i:], binary.BigEndian.Uint32(b))
	}
	return key, nil
}

// Cookie returns what a SYN-ACK to t.Remote carries; ports do not matter.
func (f *FastOpen) Cookie(t *Tuple) (c FastOpenCookie) {
	binary.LittleEndian.PutUint64(c[:], f.keys().hash(t, 0))
	return c
}

// Check says what the cookie of a SYN from t.Remote is worth. One that is not 8 bytes
// long is refused. It takes the same time whichever bytes differ.
func (f *FastOpen) Check(t *Tuple, cookie []byte) FastOpenVerdict {
	if len(cookie) != len(FastOpenCookie{}) {
		return FastOpenRefused
	}
	k := f.keys()
	var want FastOpenCookie
	binary.LittleEndian.PutUint64(want[:], k.hash(t, 0))
	if subtle.ConstantTimeCompare(want[:], cookie) == 1 {
		return FastOpenCurrent
	}
	if k.rotate {
		binary.LittleEndian.PutUint64(want[:], k.hash(t, 1))
		if subtle.ConstantTimeCompare(want[:], cookie) == 1 {
			return FastOpenPrevious
		}
	}
	return FastOpenRefused
}

func (k *fastOpenKeys) hash(t *Tuple, which int) uint64 {
	if c := k.aes[which]; c != nil {
		return c.fastOpen(t)
	}
	return k.sip[which].fastOpen(t)
}

// fastOpen is Sum without ports, under another domain word.
func (c *cipherKey) fastOpen(t *Tuple) uint64 {
	if t.Is4() {
		lo, _ := c.encryptOne(t.RemoteLo&0xffffffff|t.LocalLo<<32, domainFastOpen4<<32)
		return lo
	}
	lo, hi := c.encryptOne(0, domainFastOpen6<<32)
	lo, hi = c.encryptOne(lo^t.RemoteHi, hi^t.RemoteLo)
	lo, _ = c.encryptOne(lo^t.LocalHi, hi^t.LocalLo)
	return lo
}

// fastOpen is __tcp_fastopen_cookie_gen_cipher of the kernel.
func (k *sipKey) fastOpen(t *Tuple) uint64 {
	if t.Is4() {
		s := k.start()
		s.word(uint64(bits.ReverseBytes32(uint32(t.RemoteLo))) | uint64(bits.ReverseBytes32(uint32(t.LocalLo)))<<32)
		return s.sum(8 << 56)
	}
	return k.sum4(bits.ReverseBytes64(t.RemoteHi), bits.ReverseBytes64(t.RemoteLo), bits.ReverseBytes64(t.LocalHi), bits.ReverseBytes64(t.LocalLo))
}
