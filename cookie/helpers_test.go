package cookie

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	testKey      = [16]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
	testMaterial = []byte("0123456789abcdef0123456789abcdef")
	testWall     = time.Date(2024, 2, 29, 12, 0, 20, 0, time.UTC) // 20 s into an epoch of 60 s
)

func testSecret(tb testing.TB) Secret {
	tb.Helper()
	s, err := NewSecret(testMaterial)
	require.NoError(tb, err)
	return s
}

func testRing(tb testing.TB, skew time.Duration) *Ring {
	tb.Helper()
	r, err := NewRing(testSecret(tb), testWall, RingConfig{Skew: skew})
	require.NoError(tb, err)
	return r
}

// tupleN returns the i-th of a row of neighbouring peers of one listener: the
// port changes first, then the address.
func tupleN(i uint32, v6 bool) Tuple {
	port := uint16(i)
	if v6 {
		return Tuple{
			RemoteHi: 0x20010db8_00000000, RemoteLo: 2 + uint64(i>>16),
			LocalHi: 0x20010db8_00000000, LocalLo: 1, RemotePort: port, LocalPort: 80,
		}
	}
	return Tuple{
		RemoteLo: 0xffff_c6336402 + uint64(i>>16), LocalLo: 0xffff_c0000201,
		RemotePort: port, LocalPort: 80,
	}
}

func mintOne(k *Keys, in Input) Minted {
	var dst [1]Minted
	k.Mint(dst[:], []Input{in})
	return dst[0]
}

func verifyOne(k *Keys, in VerifyInput) Result {
	var dst [1]Result
	k.Verify(dst[:], []VerifyInput{in})
	return dst[0]
}

// ackFor is what an honest peer sends delay ms after the SYN-ACK was minted.
func ackFor(in *Input, m *Minted, delay uint32) VerifyInput {
	v := VerifyInput{Sum: in.Sum, Seq: in.IRS + 1, Ack: m.ISS + 1, TSNow: in.TSNow + delay, V6: in.V6}
	if m.Opts&TS != 0 {
		v.HasTS, v.TSEcr = true, m.TSVal
	}
	return v
}
