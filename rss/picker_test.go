package rss

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func mustRETA(tb testing.TB, size, queues int) RETA {
	r, err := NewRETA(size, queues)
	require.NoError(tb, err)
	return r
}

func mustPicker(tb testing.TB, key Key, reta RETA, lo, hi uint16) *Picker {
	p, err := NewPicker(New(key), reta, lo, hi)
	require.NoError(tb, err)
	return p
}

// CONFORMANCE VEC "Port choice".
func TestRSS_006_PortChoiceVectors(t *testing.T) {
	const remote, local = 0xc6336402, 0xc0000201 // 198.51.100.2, 192.0.2.1
	h := New(DefaultKey)
	require.Equal(t, uint32(0xe3644b67), h.Hash4(remote, local, 80, 0))
	require.Equal(t, uint32(0xc65908c4), h.Hash4(remote, local, 80, 32768))
	require.Equal(t, uint32(0x253d43a3), h.portHash(input4-2, 0x8000))
	require.Equal(t, uint32(0xa1d1c7d8), h.portHash(input4-2, 1))
	require.Equal(t, uint32(0xdfe8dfe8), New(SymmetricKey).Hash4(remote, local, 80, 32768))

	for _, c := range []struct {
		key   Key
		first [4]uint16
	}{
		{DefaultKey, [4]uint16{32768, 32780, 32772, 32776}},
		{SymmetricKey, [4]uint16{32768, 32769, 32770, 32771}},
	} {
		set := mustPicker(t, c.key, mustRETA(t, 128, 4), 32768, 60999).Start4(remote, local, 80)
		for q, want := range c.first {
			require.Equal(t, want, set.At(q, 0), "queue %d", q)
			least := uint16(65535)
			for i := range set.Count(q) {
				least = min(least, set.At(q, i))
			}
			require.Equal(t, want, least)
		}
	}
}

// tables are redirections as devices and people make them.
func tables(t *testing.T) map[string]RETA {
	weighted := make(RETA, 64) // 3/4 of the hashes to queue 5, queues 1 to 4 unused
	for i := range weighted {
		if i%4 != 0 {
			weighted[i] = 5
		}
	}
	random := make(RETA, 256)
	r := rand.New(rand.NewPCG(9, 10))
	for i := range random {
		random[i] = uint16(r.IntN(9))
	}
	return map[string]RETA{
		"1/1":      mustRETA(t, 1, 1),
		"128/1":    mustRETA(t, 128, 1),
		"128/4":    mustRETA(t, 128, 4),
		"128/3":    mustRETA(t, 128, 3),
		"512/64":   mustRETA(t, 512, 64),
		"512/7":    mustRETA(t, 512, 7),
		"4096/5":   mustRETA(t, 4096, 5),
		"weighted": weighted,
		"random":   random,
	}
}

// Every port of the range belongs to exactly one queue, is found there exactly
// once, and its reply hashes there by the specification.
func TestRSS_006_EveryPortExactlyOnce(t *testing.T) {
	keys := map[string]Key{
		"default": DefaultKey, "symmetric": SymmetricKey,
		"zero":   {},                                // all ports in one class
		"sparse": {3: 0x80, 13: 0x10, 36: 1, 39: 1}, // few classes in use
	}
	for kn, key := range keys {
		for rn, reta := range tables(t) {
			for _, r := range [][2]uint16{{32768, 60999}, {0, 65535}, {1024, 1030}, {40000, 40000}} {
				// Slow under the race detector, so not in all combinations.
				if r[1] == 65535 && rn != "128/3" && rn != "weighted" || rn == "4096/5" && kn != "default" {
					continue
				}
				t.Run(fmt.Sprintf("key=%s/reta=%s/ports=%d-%d", kn, rn, r[0], r[1]), func(t *testing.T) {
					p := mustPicker(t, key, reta, r[0], r[1])
					checkSet(t, p, reta, p.Start4(0xc6336402, 0xc0000201, 80), r[0], r[1],
						0xc6336402, 0xc0000201)
					checkSet(t, p, reta, p.Start6(0x20010db8<<32, 2, 0x20010db8<<32, 1, 80), r[0], r[1],
						0x20010db8<<32, 2, 0x20010db8<<32, 1)
				})
			}
		}
	}
}

// checkSet checks s, whose reply comes from addrs port 80: two IPv4 words or four IPv6 words.
func checkSet(t *testing.T, p *Picker, reta RETA, s PortSet, lo, hi uint16, addrs ...uint64) {
	t.Helper()
	var in []byte
	for _, a := range addrs {
		if len(addrs) == 2 {
			in = binary.BigEndian.AppendUint32(in, uint32(a))
		} else {
			in = binary.BigEndian.AppendUint64(in, a)
		}
	}
	in = append(in, 0, 80, 0, 0)
	key := p.t.Key()
	var seen [1 << 16]bool // with the count, "every port exactly once"
	sum := 0
	for q := range p.Queues() {
		n := s.Count(q)
		sum += n
		for i := range n {
			port := s.At(q, i)
			if port < lo || port > hi || port == 0 || seen[port] {
				t.Fatalf("queue %d, number %d of %d: port %d is zero, out of range or a repetition", q, i, n, port)
			}
			seen[port] = true
			if s.Queue(port) != uint16(q) {
				t.Fatalf("port %d was given for queue %d, belongs to %d", port, q, s.Queue(port))
			}
			if i%256 == 0 { // the specification is slow
				binary.BigEndian.PutUint16(in[len(in)-2:], port)
				want := hashGeneric(key[:], in)
				require.Equal(t, want, s.Hash(port))
				require.Equal(t, uint16(q), reta.Queue(want))
			}
		}
		for _, i := range []int{-1, n, n + 1, 1 << 30} {
			require.Zero(t, s.At(q, i))
		}
	}
	require.Equal(t, int(hi)-int(max(lo, 1))+1, sum)
	for _, q := range []int{-1, p.Queues(), 1 << 20} {
		require.Zero(t, s.Count(q))
		require.Zero(t, s.At(q, 0))
		w := s.Walk(q, 3)
		_, ok := w.Next()
		require.False(t, ok)
	}
}

// TWT-010: N ports of the range per destination, neither more nor less, and
// the sum over the queues is known before the first pick.
func TestTWT_010_CapacityPerDestination(t *testing.T) {
	p := mustPicker(t, DefaultKey, mustRETA(t, 128, 4), 32768, 60999)
	r := rand.New(rand.NewPCG(11, 12))
	for range 100 {
		s := p.Start4(r.Uint32(), r.Uint32(), uint16(r.Uint32()))
		sum := 0
		for q := range 4 {
			sum += s.Count(q)
			require.InDelta(t, 28232/4, s.Count(q), 16)
		}
		require.Equal(t, 28232, sum)
	}
}

func TestTWT_009_WalkIsOneLapFromAnyStart(t *testing.T) {
	s := mustPicker(t, DefaultKey, mustRETA(t, 128, 3), 32768, 60999).Start4(1, 2, 443)
	n := s.Count(1)
	for _, start := range []uint32{0, 1, uint32(n) - 1, uint32(n), 0xdeadbeef, 0xffffffff} {
		seen := make(map[uint16]bool, n)
		w := s.Walk(1, start)
		first := s.At(1, int(start%uint32(n)))
		for i := range n {
			require.Equal(t, n-i, w.Left())
			port, ok := w.Next()
			require.True(t, ok)
			if i == 0 {
				require.Equal(t, first, port)
			}
			require.False(t, seen[port])
			seen[port] = true
		}
		_, ok := w.Next()
		require.False(t, ok)
		require.Zero(t, w.Left())
		require.Len(t, seen, n)
	}
}

func TestRSS_006_PickIsTheFirstOfAWalk(t *testing.T) {
	r := rand.New(rand.NewPCG(21, 22))
	p := mustPicker(t, DefaultKey, mustRETA(t, 128, 3), 32768, 60999)
	for range 1000 {
		s, start := p.Start4(r.Uint32(), r.Uint32(), 80), r.Uint32()
		w := s.Walk(2, start)
		want, _ := w.Next()
		port, ok := s.Pick(2, start)
		require.True(t, ok)
		require.Equal(t, want, port)
		require.EqualValues(t, 2, s.Queue(port))
	}
	// TWT-010: what a queue cannot have is said, not searched for.
	s := mustPicker(t, DefaultKey, mustRETA(t, 128, 4), 40000, 40000).Start4(1, 2, 3)
	found := 0
	for q := -1; q <= 4; q++ {
		if port, ok := s.Pick(q, 7); ok {
			require.EqualValues(t, 40000, port)
			found++
		}
	}
	require.Equal(t, 1, found)
}

// The reciprocal divides exactly wherever it is used.
func TestOwnedReciprocal(t *testing.T) {
	for n := uint64(1); n <= MaxRETA; n++ {
		recip := (1<<32 + n - 1) / n
		for k := n; k <= 1<<16; k += n { // around each multiple
			for _, v := range []uint64{k - 1, k, k + 1} {
				if got := v * recip >> 32; got != v/n {
					t.Fatalf("%d/%d: %d", v, n, got)
				}
			}
		}
	}
}

// RSS-007 asks for at most 64 tries on average; a class index needs one. What
// can cost more is the ragged end of the range, so it has to stay a sliver.
func TestRSS_007_FewPortsNeedSearching(t *testing.T) {
	for _, size := range []int{64, 128, 512} {
		p := mustPicker(t, DefaultKey, mustRETA(t, size, 3), 32768, 60999)
		for _, c := range []*classes{&p.v4, &p.v6} {
			ragged := len(c.port) - int(c.least)*size
			require.Less(t, ragged, len(c.port)/20, "RETA of %d", size)
		}
	}
}

func TestNewPickerRefuses(t *testing.T) {
	h := New(DefaultKey)
	reta := mustRETA(t, 128, 4)
	gap := append(mustRETA(t, 128, 3), 65535)[:128]
	gap[127] = 65535
	for _, c := range []struct {
		name   string
		t      *Toeplitz
		reta   RETA
		lo, hi uint16
		want   string
	}{
		{"no key", nil, reta, 1, 2, "rss.New(key)"},
		{"no table", h, nil, 1, 2, "power of two"},
		{"odd table", h, make(RETA, 3), 1, 2, "power of two"},
		{"range reversed", h, reta, 2, 1, "range 2-1 is empty"},
		{"only port 0", h, reta, 0, 0, "empty"},
		{"queue number absurd", h, gap, 1, 2, "without gaps"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := NewPicker(c.t, c.reta, c.lo, c.hi)
			require.ErrorContains(t, err, c.want)
			require.ErrorContains(t, err, "rss: ")
		})
	}
}

func TestPickerKeepsItsOwnTable(t *testing.T) {
	reta := mustRETA(t, 128, 3)
	p := mustPicker(t, DefaultKey, reta, 1, 65535)
	s := p.Start4(1, 2, 3)
	before := s.Queue(5)
	for i := range reta {
		reta[i] = 2 - reta[i]
	}
	require.Equal(t, before, s.Queue(5))
}

func TestPickDoesNotAllocate(t *testing.T) {
	p := mustPicker(t, DefaultKey, mustRETA(t, 128, 3), 32768, 60999)
	n := uint32(0)
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		n++
		s := p.Start4(n, 2, 80)
		w := s.Walk(int(n%3), n)
		port, _ := w.Next()
		port2, _ := s.Pick(0, n)
		sink ^= uint32(port2)
		w6 := p.Start6(1, 2, 3, uint64(n), port).Walk(1, n)
		port, _ = w6.Next()
		sink ^= uint32(port)
	}))
}

func TestPickerIsShared(t *testing.T) {
	p := mustPicker(t, DefaultKey, mustRETA(t, 128, 4), 32768, 60999)
	var wg sync.WaitGroup
	for q := range 4 {
		wg.Go(func() {
			s := p.Start4(7, 8, 9)
			w := s.Walk(q, uint32(q))
			for port, ok := w.Next(); ok; port, ok = w.Next() {
				if s.Queue(port) != uint16(q) {
					t.Errorf("queue %d got port %d", q, port)
				}
			}
		})
	}
	wg.Wait()
}

// FuzzPicker: any key, table and range partitions its ports.
func FuzzPicker(f *testing.F) {
	f.Add(DefaultKey[:], []byte{0, 1, 2, 3}, uint16(32768), uint16(1000), uint32(1), uint32(2), uint16(80))
	f.Add([]byte{}, []byte{9, 0, 9}, uint16(65535), uint16(10), uint32(0), uint32(0), uint16(0))
	f.Add(SymmetricKey[:], []byte{0, 1, 2}, uint16(0), uint16(77), uint32(5), uint32(6), uint16(7))
	f.Fuzz(func(t *testing.T, key, table []byte, lo, span uint16, remote, local uint32, port uint16) {
		var k Key
		copy(k[:], key)
		size := 1
		for size < len(table) && size < 256 {
			size *= 2
		}
		reta := make(RETA, size)
		for i := range reta {
			if len(table) > 0 {
				reta[i] = uint16(table[i%len(table)] & 15)
			}
		}
		hi := uint16(min(int(lo)+int(span%2048), 65535))
		p, err := NewPicker(New(k), reta, lo, hi)
		if hi == 0 {
			require.Error(t, err)
			return
		}
		require.NoError(t, err)
		for _, s := range []PortSet{p.Start4(remote, local, port), p.Start6(uint64(remote), 1, 2, uint64(local), port)} {
			seen := map[uint16]bool{}
			for q := range p.Queues() {
				for i := range s.Count(q) {
					v := s.At(q, i)
					if v < max(lo, 1) || v > hi || seen[v] || s.Queue(v) != uint16(q) {
						t.Fatalf("queue %d number %d: port %d", q, i, v)
					}
					seen[v] = true
				}
			}
			require.Len(t, seen, int(hi)-int(max(lo, 1))+1)
		}
	})
}

func BenchmarkPick(b *testing.B) {
	for _, c := range []struct{ size, queues int }{{128, 4}, {128, 3}, {512, 7}} {
		p := mustPicker(b, DefaultKey, mustRETA(b, c.size, c.queues), 32768, 60999)
		name := fmt.Sprintf("reta=%d/queues=%d", c.size, c.queues)
		s := p.Start4(0xc6336402, 0xc0000201, 80)
		b.Run(name+"/op=next", func(b *testing.B) {
			w := s.Walk(1, 0)
			for b.Loop() {
				port, ok := w.Next()
				if !ok {
					w = s.Walk(1, 0)
				}
				sink ^= uint32(port)
			}
		})
		b.Run(name+"/op=at-random", func(b *testing.B) {
			n, i := uint32(s.Count(1)), uint32(0)
			for b.Loop() {
				i += 0x9e3779b1
				sink ^= uint32(s.At(1, int(uint64(i)*uint64(n)>>32)))
			}
		})
		b.Run(name+"/op=start+pick", func(b *testing.B) {
			i := uint32(0)
			for b.Loop() {
				i += 0x9e3779b1
				port, _ := p.Start4(i, 0xc0000201, 80).Pick(1, i)
				sink ^= uint32(port)
			}
		})
		b.Run(name+"/op=start+first", func(b *testing.B) {
			i := uint32(0)
			for b.Loop() {
				i += 0x9e3779b1
				w := p.Start4(i, 0xc0000201, 80).Walk(1, i)
				port, _ := w.Next()
				sink ^= uint32(port)
			}
		})
	}
}

func BenchmarkNewPicker(b *testing.B) {
	h, reta := New(DefaultKey), mustRETA(b, 512, 7)
	for b.Loop() {
		if _, err := NewPicker(h, reta, 32768, 60999); err != nil {
			b.Fatal(err)
		}
	}
}
