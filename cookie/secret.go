package cookie

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"
)

const redactedText = "[redacted]"

// redacted, embedded by value, gives a type that holds keys one face for fmt,
// slog and encoders. Its methods have value receivers, so a dereferenced copy is
// covered as well. Keys themselves sit in closures, see prf, because fmt does not
// call methods of unexported fields.
type redacted struct{}

// Format implements fmt.Formatter: "[redacted]" for every verb.
func (redacted) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redactedText) }

// String returns "[redacted]".
func (redacted) String() string { return redactedText }

// GoString returns "[redacted]".
func (redacted) GoString() string { return redactedText }

// LogValue implements slog.LogValuer: "[redacted]".
func (redacted) LogValue() slog.Value { return slog.StringValue(redactedText) }

// MarshalJSON returns "[redacted]" as a JSON string.
func (redacted) MarshalJSON() ([]byte, error) { return []byte(`"` + redactedText + `"`), nil }

// MarshalText returns "[redacted]".
func (redacted) MarshalText() ([]byte, error) { return []byte(redactedText), nil }

// Labels of key derivation. The version is part of the cookie format: a change
// of a table, of the MAC input or of the bit layout must raise it, so that a
// fleet with mixed builds refuses instead of misreading.
const (
	saltLabel  = "fastsyn cookie v1"
	tupleLabel = "tuple"
	epochLabel = "epoch"
)

// MinSecret is the least number of bytes NewSecret takes: 128 bits (ISN-003).
const MinSecret = 16

// ErrSecret is wrapped by errors about a missing or short secret.
var ErrSecret = errors.New("unusable secret")

// Secret is the root from which keys are derived with HKDF-SHA256 (RFC 5869).
// Copies share one root. The zero Secret is unset and refused by NewRing.
type Secret struct {
	redacted
	expand func(info string, n int) ([]byte, error) // HKDF-Expand of the root
}

// NewSecret makes a Secret of key material with at least 128 bits of entropy, as
// from `head -c 32 /dev/urandom`; every node of a fleet gets the same bytes. The
// material is not kept, and the caller may clear it.
func NewSecret(material []byte) (Secret, error) {
	if len(material) < MinSecret {
		return Secret{}, fmt.Errorf("cookie: %w: %d bytes, need at least %d from a random generator",
			ErrSecret, len(material), MinSecret)
	}
	prk, err := hkdf.Extract(sha256.New, material, []byte(saltLabel))
	if err != nil {
		return Secret{}, fmt.Errorf("cookie: derive from secret: %w", err)
	}
	return newSecret(prk), nil
}

// newSecret keeps prk, the pseudorandom key of RFC 5869.
func newSecret(prk []byte) Secret {
	return Secret{expand: func(info string, n int) ([]byte, error) {
		return hkdf.Expand(sha256.New, prk, info, n)
	}}
}

// RandomSecret returns a Secret from crypto/rand, for an endpoint on its own:
// nothing it mints outlives the process.
func RandomSecret() Secret {
	prk := make([]byte, sha256.Size) // uniform, so there is nothing to extract
	_, _ = rand.Read(prk)            // never fails since Go 1.24
	return newSecret(prk)
}

// IsSet reports whether s came from NewSecret or RandomSecret.
func (s Secret) IsSet() bool { return s.expand != nil }

// Hasher returns the Hasher for the tuple key of s. All nodes of a fleet need the
// same one (CKI-018), and it must not change while tuples may be reused
// (ISN-003): a fleet that rotates its cookie secret keeps a second, lasting one
// for this.
func (s Secret) Hasher() (*Hasher, error) {
	if !s.IsSet() {
		return nil, fmt.Errorf("cookie: new hasher: %w: not set; use NewSecret or RandomSecret", ErrSecret)
	}
	return NewHasher(s.derive(tupleLabel)), nil
}

// epochPRF derives the cookie key of one epoch. The length is part of the input:
// nodes that disagree about it share no key, rather than every other one.
func (s Secret) epochPRF(epoch int64, length time.Duration) prf {
	info := append(make([]byte, 0, 32), epochLabel...)
	info = binary.BigEndian.AppendUint64(info, uint64(epoch))
	info = binary.BigEndian.AppendUint64(info, uint64(length))
	return newPRF(s.derive(string(info)))
}

// derive expands a root that is set.
func (s Secret) derive(info string) (key [16]byte) {
	out, err := s.expand(info, len(key))
	if err != nil {
		panic("cookie: " + err.Error()) // only for an output above 8160 bytes
	}
	copy(key[:], out)
	return key
}
