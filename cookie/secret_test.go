package cookie

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestISN_003_SecretsNeverPrint(t *testing.T) {
	secret := testSecret(t)
	hasher, err := secret.Hasher()
	require.NoError(t, err)
	ring := testRing(t, 0)
	tuple := tupleN(1, false)
	sum := hasher.SumOne(&tuple)
	fast, err := secret.FastOpen(secret)
	require.NoError(t, err)
	linuxFast, err := NewLinuxFastOpen("a0bf63f7-ed803d81-cd641d30-cebc4a90")
	require.NoError(t, err)
	linux := NewLinux(testKey, testKey)
	values := map[string]any{
		"FastOpen": *fast, "*FastOpen": fast, "Linux FastOpen": linuxFast, "Linux": *linux, "*Linux": linux,
		"Secret": secret, "*Secret": &secret, "Hasher": *hasher, "*Hasher": hasher,
		"Keys": *ring.Load(), "*Keys": ring.Load(), "*Ring": ring, "Sum": sum, "*Sum": &sum,
	}
	for name, v := range values {
		t.Run(name, func(t *testing.T) {
			for _, verb := range "vtbcdoOqxXUeEfFgGs" {
				for _, flags := range []string{"", "+", "#", "-", " ", "0", "+#", "40", ".3"} {
					require.Equal(t, redactedText, fmt.Sprintf("%"+flags+string(verb), v), "%%%s%c", flags, verb)
				}
			}
			require.Equal(t, redactedText, fmt.Sprint(v))
			require.Equal(t, redactedText, v.(fmt.Stringer).String())
			require.Equal(t, redactedText, v.(fmt.GoStringer).GoString())
			require.Equal(t, redactedText, v.(slog.LogValuer).LogValue().String())
			require.ErrorContains(t, fmt.Errorf("wrapped: %v", v), redactedText)

			j, err := json.Marshal(v)
			require.NoError(t, err)
			require.Equal(t, `"`+redactedText+`"`, string(j))
			j, err = json.Marshal(map[string]any{"k": struct{ V any }{v}})
			require.NoError(t, err)
			require.Equal(t, `{"k":{"V":"[redacted]"}}`, string(j))
			x, err := xml.Marshal(struct {
				XMLName xml.Name `xml:"x"`
				V       any
			}{V: v})
			require.NoError(t, err)
			require.Equal(t, `<x><V>[redacted]</V></x>`, string(x))

			var buf bytes.Buffer
			slog.New(slog.NewTextHandler(&buf, nil)).Info("m", "k", v)
			require.Contains(t, buf.String(), `k=[redacted]`)
			buf.Reset()
			slog.New(slog.NewJSONHandler(&buf, nil)).Info("m", "k", v, slog.Group("g", "k", v))
			require.Contains(t, buf.String(), `"k":"[redacted]","g":{"k":"[redacted]"}`)
		})
	}
}

// fmt calls no methods of unexported fields and, for a verb that does not fit, even
// follows their pointers; %w outside Errorf passes over the methods as well.
func TestISN_003_SecretsNeverPrintFromFields(t *testing.T) {
	secret := testSecret(t)
	tupleKey := secret.derive(tupleLabel)
	hasher := NewHasher(tupleKey)
	ring := testRing(t, 0)
	type holder struct {
		S Secret
		s Secret
		h Hasher
		k Keys
		r *Ring
		p *Keys
		f *FastOpen
		l Linux
	}
	// The roots of this test, recomputed: what fmt must not find.
	prk, err := hkdf.Extract(sha256.New, testMaterial, []byte(saltLabel))
	require.NoError(t, err)
	var schedule []byte
	var roundKey []byte // as crypto/aes, or SipHash, holds it in words
	for i := range 4 {
		w := tupleKey[4*i:]
		roundKey = fmt.Append(roundKey, " ", binary.LittleEndian.Uint32(w), " ", binary.BigEndian.Uint32(w))
		if i%2 == 0 {
			roundKey = fmt.Append(roundKey, " ", binary.LittleEndian.Uint64(w))
		}
	}
	for _, w := range hasher.prf().rk { // the bytes of the whole schedule, in any order of printing
		schedule = append(schedule, w)
	}
	fast, err := secret.FastOpen(secret)
	require.NoError(t, err)
	v := holder{secret, secret, *hasher, *ring.Load(), ring, ring.Load(), fast, *NewLinux(tupleKey, tupleKey)}
	require.NotNil(t, []any{v.s, v.h, v.k, v.r, v.p, v.f, v.l})
	for _, format := range []string{"%v", "%+v", "%#v", "%x", "%X", "%s", "%q", "%d", "%o", "%b", "%t", "%w"} {
		for _, out := range []string{fmt.Sprintf(format, v), fmt.Sprintf(format, &v), fmt.Sprintf(format, []holder{v})} {
			if format != "%w" {
				require.Contains(t, out, redactedText)
			}
			for _, word := range bytes.Fields(roundKey) {
				require.NotContains(t, out, string(word), format)
			}
			for _, material := range [][]byte{prk, tupleKey[:], testMaterial, schedule[16:]} {
				// Twelve bytes: a shorter run of digits can stand in an address by chance.
				for off := range len(material) - 11 {
					part := material[off : off+12]
					for _, leak := range []string{
						hex.EncodeToString(part), string(part), strings.Trim(fmt.Sprintf(format, part), "[]{}"),
						strings.Trim(fmt.Sprint(part), "[]"),
					} {
						require.NotContains(t, strings.ToLower(out), strings.ToLower(leak), format)
					}
				}
			}
		}
	}
}

func TestISN_003_SecretLength(t *testing.T) {
	for n := range MinSecret {
		_, err := NewSecret(testMaterial[:n])
		require.ErrorIs(t, err, ErrSecret)
		require.NotContains(t, err.Error(), string(testMaterial[:max(n, 1)])+"x")
	}
	s, err := NewSecret(testMaterial[:MinSecret])
	require.NoError(t, err)
	require.True(t, s.IsSet())
	require.False(t, Secret{}.IsSet())
}

// The caller may clear the material afterwards.
func TestSecretKeepsNoReference(t *testing.T) {
	material := bytes.Clone(testMaterial)
	s, err := NewSecret(material)
	require.NoError(t, err)
	clear(material)
	require.Equal(t, testSecret(t).derive(tupleLabel), s.derive(tupleLabel))
}
