package cookie

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func tupleOf(t *testing.T, remote, local string) (out Tuple) {
	t.Helper()
	word := func(b []byte) (w uint64) {
		for _, x := range b {
			w = w<<8 | uint64(x)
		}
		return w
	}
	r, l := netip.MustParseAddr(remote).As16(), netip.MustParseAddr(local).As16()
	return Tuple{word(r[:8]), word(r[8:]), word(l[:8]), word(l[8:]), 40000, 80}
}

// CONFORMANCE section 24, TFO cookies, also produced or accepted by a live kernel; the
// keys are those of packetdrill and of the kernel's selftests.
func TestTFO_002_LinuxVectors(t *testing.T) {
	const a, b, zero = "a0bf63f7-ed803d81-cd641d30-cebc4a90", "a1a1a1a1-b2b2b2b2-c3c3c3c3-d4d4d4d4", "00000000-00000000-00000000-00000000"
	for _, c := range []struct{ key, src, dst, want string }{
		{a, "10.248.0.2", "192.168.0.2", "00abaaabe8e954c2"},
		{a, "10.248.0.3", "192.168.0.2", "1313a2da994a0951"},
		{a, "10.248.0.3", "192.168.0.3", "76d2c1c530f51f79"},
		{a, "10.9.0.2", "10.9.0.1", "e11d6529b5de71a5"},
		{a, "2001:db8::2", "2001:db8::1", "793958062347088d"},
		{zero, "10.248.0.2", "192.168.0.2", "93b7aa4f550f8a1a"},
		{b, "192.0.2.1", "192.168.0.1", "3021b9d889017eeb"},
	} {
		f, err := NewLinuxFastOpen(c.key)
		require.NoError(t, err)
		tuple := tupleOf(t, c.src, c.dst)
		got := f.Cookie(&tuple)
		require.Equal(t, c.want, hex.EncodeToString(got[:]), c.src)
		require.Equal(t, FastOpenCurrent, f.Check(&tuple, got[:]))
		tuple.RemotePort++
		require.Equal(t, got, f.Cookie(&tuple), "ports do not matter")
	}
	f, err := NewLinuxFastOpen(b + "," + a)
	require.NoError(t, err)
	tuple := tupleOf(t, "10.248.0.2", "192.168.0.2")
	require.Equal(t, FastOpenPrevious, f.Check(&tuple, unhex(t, "00abaaabe8e954c2")), "TFO-007")
}

func TestFastOpenKeyErrors(t *testing.T) {
	for _, text := range []string{"", "a0bf63f7", "a0bf63f7-ed803d81-cd641d30", "a0bf63f7-ed803d81-cd641d30-cebc4a9x", "a0bf63f7-ed803d81-cd641d30-cebc4a", ",", "a,b,c"} {
		_, err := NewLinuxFastOpen(text)
		require.ErrorContains(t, err, "cookie: Fast Open key", text)
		require.NotContains(t, err.Error(), "a0bf63f7")
	}
	_, err := Secret{}.FastOpen(Secret{})
	require.ErrorIs(t, err, ErrSecret)
}

// Computed with `openssl enc -aes-128-ecb` from the layout in the comments.
func TestFastOpenVectors(t *testing.T) {
	eachKernel(t, func(t *testing.T) {
		c := newPRF(testKey)()
		v4, v6 := tupleOf(t, "198.51.100.2", "192.0.2.1"), tupleOf(t, "2001:db8::2", "2001:db8::1")
		require.Equal(t, uint64(0xb3cd33923eca6121), c.fastOpen(&v4))
		require.Equal(t, uint64(0x5f54794cb2fcb6ea), c.fastOpen(&v6))
	})
}

func TestTFO_004_007_Rotation(t *testing.T) {
	old, cur, other := testSecret(t), RandomSecret(), RandomSecret()
	before, err := old.FastOpen(Secret{})
	require.NoError(t, err)
	during, err := cur.FastOpen(old)
	require.NoError(t, err)
	after, err := cur.FastOpen(Secret{})
	require.NoError(t, err)
	stranger, err := other.FastOpen(Secret{})
	require.NoError(t, err)
	for i := range uint32(512) {
		tuple := tupleN(i<<16, i%2 == 1)
		a, b, s := before.Cookie(&tuple), during.Cookie(&tuple), stranger.Cookie(&tuple)
		require.Equal(t, b, after.Cookie(&tuple))
		require.NotEqual(t, a, b)
		require.Equal(t, FastOpenPrevious, during.Check(&tuple, a[:]))
		require.Equal(t, FastOpenCurrent, during.Check(&tuple, b[:]))
		require.Equal(t, FastOpenRefused, after.Check(&tuple, a[:]))
		require.Equal(t, FastOpenRefused, during.Check(&tuple, s[:]))
		for n := range 17 {
			if n != 8 {
				require.Equal(t, FastOpenRefused, during.Check(&tuple, make([]byte, n)), "length")
			}
		}
		moved := tuple
		moved.RemoteLo ^= 1
		require.Equal(t, FastOpenRefused, during.Check(&moved, b[:]), "foreign source")
		moved = tuple
		moved.LocalLo ^= 1
		require.Equal(t, FastOpenRefused, during.Check(&moved, b[:]), "other address of ours")
		for bit := range 64 {
			bad := b
			bad[bit/8] ^= 1 << (bit % 8)
			require.Equal(t, FastOpenRefused, during.Check(&tuple, bad[:]))
		}
	}
	tuple := tupleN(1, false)
	c := during.Cookie(&tuple)
	require.Zero(t, testing.AllocsPerRun(100, func() { c = during.Cookie(&tuple); during.Check(&tuple, c[:]) }))
	seen := map[string]bool{}
	for v := range FastOpenPrevious + 2 {
		seen[v.String()] = true
	}
	require.Len(t, seen, 4)
}

// The cookie shares no word with anything a Sum shows for the same addresses.
func TestFastOpenIsADomainOfItsOwn(t *testing.T) {
	s := testSecret(t)
	f, err := s.FastOpen(Secret{})
	require.NoError(t, err)
	h, err := s.Hasher()
	require.NoError(t, err)
	for _, v6 := range []bool{false, true} {
		tuple := tupleN(0, v6)
		tuple.LocalPort = 0
		c := f.Cookie(&tuple)
		sum := h.SumOne(&tuple)
		require.NotEqual(t, fmt.Sprintf("%x", c), fmt.Sprintf("%016x", sum.Hash))
	}
	require.NotEqual(t, s.derive(tupleLabel), s.derive(fastOpenLabel))
	// Even under one key.
	c, one := newPRF(testKey)(), tupleN(0, false)
	one.LocalPort = 0
	require.NotEqual(t, NewHasher(testKey).SumOne(&one).Hash, c.fastOpen(&one))
}

// The keys come with the ring: nodes of one secret agree, and a rotation loses no client.
func TestTFO_007_RingRotates(t *testing.T) {
	other := RandomSecret()
	a, b := testRing(t, 0), testRing(t, 0)
	fresh, err := NewRing(other, testWall, RingConfig{})
	require.NoError(t, err)
	tuple := tupleN(1, false)
	old := a.Load().FastOpen().Cookie(&tuple)
	require.Equal(t, old, b.Load().FastOpen().Cookie(&tuple), "a fleet")
	renewed := fresh.Load().FastOpen().Cookie(&tuple)
	require.NotEqual(t, old, renewed)

	from := testWall.Add(DefaultEpoch)
	require.NoError(t, a.Rotate(other, from))
	require.Equal(t, old, a.Load().FastOpen().Cookie(&tuple), "not yet")
	require.Equal(t, FastOpenCurrent, a.Load().FastOpen().Check(&tuple, old[:]))
	require.Equal(t, FastOpenPrevious, a.Load().FastOpen().Check(&tuple, renewed[:]), "of a node whose clock is ahead")
	for i := 1; i <= 100; i *= 10 { // clients keep a cookie for long
		a.Advance(testWall.Add(time.Duration(i+1) * DefaultEpoch))
		require.Equal(t, renewed, a.Load().FastOpen().Cookie(&tuple))
		require.Equal(t, FastOpenCurrent, a.Load().FastOpen().Check(&tuple, renewed[:]))
		require.Equal(t, FastOpenPrevious, a.Load().FastOpen().Check(&tuple, old[:]))
	}
	require.NoError(t, a.Rotate(RandomSecret(), testWall.Add(200*DefaultEpoch)))
	a.Advance(testWall.Add(201 * DefaultEpoch))
	require.Equal(t, FastOpenPrevious, a.Load().FastOpen().Check(&tuple, renewed[:]))
	require.Equal(t, FastOpenRefused, a.Load().FastOpen().Check(&tuple, old[:]), "two keys at most")
}

// The key of Linux hosts does not turn with the secret.
func TestTFO_007_RingOfLinuxKeys(t *testing.T) {
	const a, b = "a0bf63f7-ed803d81-cd641d30-cebc4a90", "a1a1a1a1-b2b2b2b2-c3c3c3c3-d4d4d4d4"
	first, err := NewLinuxFastOpen(a)
	require.NoError(t, err)
	r, err := NewRing(testSecret(t), testWall, RingConfig{FastOpen: first})
	require.NoError(t, err)
	tuple := tupleOf(t, "10.248.0.2", "192.168.0.2")
	cookie := unhex(t, "00abaaabe8e954c2")
	require.NoError(t, r.Rotate(RandomSecret(), testWall.Add(DefaultEpoch)))
	r.Advance(testWall.Add(2 * DefaultEpoch))
	require.Equal(t, FastOpenCurrent, r.Load().FastOpen().Check(&tuple, cookie))
	both, err := NewLinuxFastOpen(b + "," + a)
	require.NoError(t, err)
	epoch := r.Load().Epoch()
	r.SetFastOpen(both)
	require.Equal(t, epoch, r.Load().Epoch())
	require.Equal(t, FastOpenPrevious, r.Load().FastOpen().Check(&tuple, cookie))
	r.Advance(testWall.Add(9 * DefaultEpoch))
	require.Equal(t, FastOpenPrevious, r.Load().FastOpen().Check(&tuple, cookie))
}
