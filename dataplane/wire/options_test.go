package wire

import (
	"bytes"
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOPT_ParseOptions(t *testing.T) {
	const syn, text = true, false
	ts := Options{Has: HasTimestamps, TSVal: 1000, TSEcr: 7}
	for _, c := range []struct {
		id, name, opts string
		syn            bool
		want           Options
	}{
		{"OPT_001", "absent", "", syn, Options{}},
		{"OPT_002", "MSS 0", "02040000", syn, Options{}},
		{"OPT_002", "MSS 47 as on the wire", "0204002f", syn, Options{Has: HasMSS, MSS: 47}},
		{"OPT_003", "MSS 65535", "0204ffff", syn, Options{Has: HasMSS, MSS: 65535}},
		{"OPT_004", "MSS twice", "020405780204 03e8", syn, Options{Has: HasMSS, MSS: 1000}},
		{"OPT_004", "MSS twice, last one absent", "020405780204 0000", syn, Options{Has: HasMSS, MSS: 1400}},
		{"OPT_004", "MSS twice, last one malformed", "020405780205 000000", syn, Options{Has: HasMSS, MSS: 1400}},
		{"OPT_004", "WS twice", "030303030309", syn, Options{Has: HasWScale, WScale: 9}},
		{"OPT_004", "TS twice", "080a00000001000000020101080a000003e800000007", text, ts},
		{"OPT_005", "MSS length 3", "02030501 0303070000", syn, Options{Has: HasWScale, WScale: 7}},
		{"OPT_005", "MSS length 5", "0205050101 030307", syn, Options{Has: HasWScale, WScale: 7}},
		{"OPT_005", "TS length 8", "0808000003e80000 030307", syn, Options{Has: HasWScale, WScale: 7}},
		{"OPT_005", "SACK-permitted length 3", "040300 030307", syn, Options{Has: HasWScale, WScale: 7}},
		{"OPT_005", "WS length 2", "0302 030307", syn, Options{Has: HasWScale, WScale: 7}},
		{"OPT_005", "TFO odd cookie", "2207aabbccddee 030307", syn, Options{Has: HasWScale, WScale: 7}},
		{"OPT_005", "TFO short cookie", "2204aabb 030307", syn, Options{Has: HasWScale, WScale: 7}},
		{"OPT_005", "MD5 length 10", "130a0000000000000000 030307", syn, Options{Has: HasWScale, WScale: 7}},
		{"OPT_006", "length 0", "0204 0578 0800 0303", syn, Options{Has: HasMSS | OptMalformed, MSS: 1400}},
		{"OPT_006", "length 1", "0204 0578 0801 0303", syn, Options{Has: HasMSS | OptMalformed, MSS: 1400}},
		{"OPT_006", "past the end", "0204 0578 080a 0303", syn, Options{Has: HasMSS | OptMalformed, MSS: 1400}},
		{"OPT_006", "kind without length", "0204 0578 010101 08", syn, Options{Has: HasMSS | OptMalformed, MSS: 1400}},
		{"OPT_006", "unknown kind past the end", "63ff0000", syn, Options{Has: OptMalformed}},
		{"OPT_007", "EOL ends", "0000 020405b4", syn, Options{}},
		{"OPT_007", "NOPs at odd places", "01 0204 05b4 01 03 03 07 01 01 01", syn, Options{Has: HasMSS | HasWScale, MSS: 1460, WScale: 7}},
		{"OPT_007", "40 NOPs", "01010101010101010101010101010101010101010101010101010101010101010101010101010101", syn, Options{}},
		{"OPT_008", "unknown kinds", "1e04aaaa 6302 fd04bbbb fe04abcd 020405b4", syn, Options{Has: HasMSS, MSS: 1460}},
		{"OPT_009", "BSD order", optsBSD, syn, Options{Has: HasMSS | HasWScale | HasTimestamps | HasSACKPermitted, MSS: 1460, WScale: 6, TSVal: 1000000000}},
		{"OPT_009", "Linux order", optsLinux, syn, Options{Has: HasMSS | HasWScale | HasTimestamps | HasSACKPermitted, MSS: 1460, WScale: 7, TSVal: 1000}},
		{"OPT_009", "Windows order", optsWindows, syn, Options{Has: HasMSS | HasWScale | HasSACKPermitted, MSS: 1460, WScale: 8}},
		{"OPT_010", "WS 14", "03030e01", syn, Options{Has: HasWScale, WScale: 14}},
		{"OPT_010", "WS 15", "03030f01", syn, Options{Has: HasWScale | WScaleClamped, WScale: 14}},
		{"OPT_010", "WS 255", "0303ff01", syn, Options{Has: HasWScale | WScaleClamped, WScale: 14}},
		{"OPT_010", "WS 15 then 3", "03030f 030303", syn, Options{Has: HasWScale, WScale: 3}},
		{"OPT_010", "Linux layout, WS 15", "020405b40402080a000003e8000000000103030f", syn, Options{Has: HasMSS | HasWScale | HasTimestamps | HasSACKPermitted | WScaleClamped, MSS: 1460, WScale: 14, TSVal: 1000}},
		{"OPT_002", "Linux layout, MSS 0", "020400000402080a000003e80000000001030307", syn, Options{Has: HasWScale | HasTimestamps | HasSACKPermitted, WScale: 7, TSVal: 1000}},
		{"OPT_011", "SYN options on text", optsLinux + "22020101", text, Options{Has: HasTimestamps, TSVal: 1000}},
		{"OPT_011", "experimental TFO on text", "fe04f989", text, Options{}},
		{"OPT_013", "SACK on S", "0101050a00000001000000 02", syn, Options{}},
		{"OPT_013", "SACK on text", "0101050a00000001000000 02", text, Options{Has: HasSACK}},
		{"OPT_013", "SACK length 11", "050b00000001000000 0200", text, Options{}},
		{"OPT_014", "MD5", "1312000102030405060708090a0b0c0d0e0f", syn, Options{Has: HasMD5}},
		{"OPT_014", "AO", "1d10000102030405060708090a0b0c0d", syn, Options{Has: HasAO}},
		{"TFO", "request", "22020101", syn, Options{Has: HasFastOpen}},
		{"TFO", "cookie 8", "220a01020304050607080101", syn, Options{Has: HasFastOpen, TFOLen: 8, TFO: [16]byte{1, 2, 3, 4, 5, 6, 7, 8}}},
		{"TFO", "cookie 16", "22120102030405060708090a0b0c0d0e0f100101", syn, Options{Has: HasFastOpen, TFOLen: 16, TFO: [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}}},
		{"TFO", "experimental request", "fe04f989", syn, Options{Has: HasFastOpen | FastOpenExp}},
		{"TFO", "experimental cookie", "fe0cf9890102030405060708", syn, Options{Has: HasFastOpen | FastOpenExp, TFOLen: 8, TFO: [16]byte{1, 2, 3, 4, 5, 6, 7, 8}}},
		{"OPT_004", "TFO 16 then 4", "22120102030405060708090a0b0c0d0e0f10 220609090909", syn, Options{Has: HasFastOpen, TFOLen: 4, TFO: [16]byte{9, 9, 9, 9}}},
		{"OPT_008", "experimental without magic", "fe02 fe03f9 0303 07", syn, Options{Has: HasWScale, WScale: 7}},
		{"TSP", "TS", "0101080a000003e800000007", text, ts},
	} {
		t.Run(c.id+"/"+c.name, func(t *testing.T) {
			got := Options{TSVal: 9, Has: 0xffff, TFO: [16]byte{15: 1}} // must be overwritten
			opts := unhex(t, c.opts)
			ParseOptions(opts, c.syn, &got)
			require.Equal(t, c.want, got)

			if len(opts)%4 != 0 {
				return
			}
			// The same through Parse.
			var flags Flags = FlagACK
			if c.syn {
				flags = FlagSYN
			}
			p, r := parse(eth(ip4(cli4, srv4, ProtoTCP, nil, tcp(cli4, srv4, flags, opts, []byte("abc")))))
			require.Equal(t, OK, r)
			require.Equal(t, c.want, p.Seg.Opt)
		})
	}
}

func TestOptionIter(t *testing.T) {
	it := NewOptionIter(unhex(t, "020405b4 01 03 03 07 fd02 00 0204"))
	var kinds []uint8
	for {
		o, ok := it.Next()
		if !ok {
			break
		}
		kinds = append(kinds, o.Kind)
		if o.Kind == OptMSS {
			require.Equal(t, []byte{5, 0xb4}, o.Data)
			require.EqualValues(t, 4, o.Len)
		}
	}
	require.Equal(t, []uint8{2, 1, 3, 253, 0}, kinds)
	require.False(t, it.Malformed())

	it = NewOptionIter([]byte{1, 8, 10, 0})
	o, ok := it.Next()
	require.True(t, ok)
	require.EqualValues(t, OptNOP, o.Kind)
	_, ok = it.Next()
	require.False(t, ok)
	require.True(t, it.Malformed())
	require.Equal(t, []byte{8, 10, 0}, it.Rest())
	_, ok = it.Next()
	require.False(t, ok)
	var zero OptionIter
	_, ok = zero.Next()
	require.False(t, ok)
}

func TestSACKBlocks(t *testing.T) {
	var got [4]SACKBlock
	want := []SACKBlock{{1, 2}, {3, 4}, {0xfffffff0, 5}, {7, 8}}
	b := make([]byte, 40)
	for n := 1; n <= 4; n++ {
		l := PutSACK(b, want[:n], 40)
		require.Equal(t, 4+8*n, l)
		require.Equal(t, n, SACKBlocks(b[:l], &got))
		require.Equal(t, want[:n], got[:n])
	}
	require.Zero(t, SACKBlocks(unhex(t, optsLinux), &got))
	require.Zero(t, SACKBlocks(unhex(t, "0502 0509000000010000000200"), &got))
	require.Zero(t, SACKBlocks(nil, &got))
}

func TestENC_001_002_003_PutOptions(t *testing.T) {
	full := Options{MSS: 1460, WScale: 7, TSVal: 0x01020304, TSEcr: 0xa1a2a3a4, TFO: [16]byte{1, 2, 3, 4, 5, 6, 7, 8}}
	const ts = "01020304a1a2a3a4"
	for _, c := range []struct {
		id   string
		has  OptionSet
		syn  bool
		tfo  uint8
		want string
	}{
		{"ENC_001", 0, true, 0, ""},
		{"ENC_001", HasMSS, true, 0, "020405b4"},
		{"ENC_001", HasMSS | HasWScale, true, 0, "020405b4" + "01030307"},
		{"ENC_001", HasMSS | HasSACKPermitted, true, 0, "020405b4" + "01010402"},
		{"ENC_001", HasMSS | HasSACKPermitted | HasWScale, true, 0, "020405b4" + "01010402" + "01030307"},
		{"ENC_001", HasMSS | HasTimestamps, true, 0, "020405b4" + "0101080a" + ts},
		{"ENC_001", HasMSS | HasTimestamps | HasWScale, true, 0, "020405b4" + "0101080a" + ts + "01030307"},
		{"ENC_001", HasMSS | HasSACKPermitted | HasTimestamps, true, 0, "020405b4" + "0402080a" + ts},
		{"ENC_001", HasMSS | HasSACKPermitted | HasTimestamps | HasWScale, true, 0, "020405b4" + "0402080a" + ts + "01030307"},
		{"ENC_002", HasTimestamps, false, 0, "0101080a" + ts},
		{"ENC_002", HasMSS | HasSACKPermitted | HasTimestamps | HasWScale | HasFastOpen | HasSACK | HasMD5, false, 0, "0101080a" + ts},
		{"ENC_002", 0, false, 0, ""},
		{"ENC_003", HasMSS | HasFastOpen, true, 0, "020405b4" + "22020101"},
		{"ENC_003", HasMSS | HasFastOpen, true, 8, "020405b4" + "220a0102030405060708" + "0101"},
		{"ENC_003", HasMSS | HasFastOpen | FastOpenExp, true, 0, "020405b4" + "fe04f989"},
		{"ENC_003", HasMSS | HasFastOpen | FastOpenExp, true, 8, "020405b4" + "fe0cf9890102030405060708"},
		{"ENC_003", HasMSS | HasSACKPermitted | HasTimestamps | HasWScale | HasFastOpen, true, 8, "020405b4" + "0402080a" + ts + "01030307" + "220a0102030405060708" + "0101"},
		{"ENC_003", HasMSS | HasSACKPermitted | HasTimestamps | HasWScale | HasFastOpen, true, 16, "020405b4" + "0402080a" + ts + "01030307" + "2212010203040506070800000000000000000101"},
		{"ENC_004", HasMSS | HasFastOpen, true, 7, "020405b4"},
		{"ENC_004", HasMSS | HasFastOpen, true, 18, "020405b4"},
		{"ENC_004", HasMSS | HasFastOpen, true, 4, "020405b4" + "220601020304" + "0101"},
		{"ENC_004", HasMSS | HasFastOpen, true, 6, "020405b4" + "2208010203040506"},
	} {
		t.Run(c.id+"/"+c.want, func(t *testing.T) {
			o := full
			o.Has, o.TFOLen = c.has, c.tfo
			b := bytes.Repeat([]byte{0xee}, 48)
			n := PutOptions(b, &o, c.syn)
			require.Equal(t, c.want, hex.EncodeToString(b[:n]))
			require.Equal(t, OptionsLen(&o, c.syn), n)
			require.Equal(t, bytes.Repeat([]byte{0xee}, 48-n), b[n:], "wrote past its length")
			if n > 0 {
				require.Zero(t, PutOptions(b[:n-1], &o, c.syn))
			}
		})
	}
	o := Options{Has: HasWScale, WScale: 99}
	b := make([]byte, 4)
	require.Equal(t, 4, PutOptions(b, &o, true))
	require.EqualValues(t, 14, b[3])
}

func TestENC_002_SACK(t *testing.T) {
	blocks := []SACKBlock{{1, 2}, {3, 4}, {5, 6}, {7, 8}, {9, 10}}
	b := make([]byte, 40)
	require.Equal(t, 36, PutSACK(b, blocks, 40))
	require.Equal(t, "01010522"+"00000001"+"00000002", hex.EncodeToString(b[:12]))
	require.Equal(t, 28, PutSACK(b, blocks, 28), "three beside timestamps")
	require.Equal(t, "0101051a", hex.EncodeToString(b[:4]))
	require.Zero(t, PutSACK(b, blocks, 11))
	require.Zero(t, PutSACK(b, blocks, -5))
	require.Zero(t, PutSACK(b, nil, 40))
	require.Zero(t, PutSACK(b[:35], blocks, 40))

	s := benchSegments()[3].s // timestamps
	p := make([]byte, 128)
	n := PutSACK(b, blocks, MaxOptionsLen-12)
	l := PutTCPExtra(p, &s, b[:n], []byte("text"))
	require.Equal(t, 20+20+40+4, l)
	q, r := parse(eth(p[:l]))
	require.Equal(t, OK, r)
	require.Equal(t, HasTimestamps|HasSACK, q.Seg.Opt.Has)
	var got [4]SACKBlock
	tv, ok := ParseTCP(p[20:l])
	require.True(t, ok)
	require.Equal(t, 3, SACKBlocks(tv.Options(), &got))
	require.Equal(t, blocks[:3], got[:3])
	require.Zero(t, PutTCPExtra(p, &s, make([]byte, 32), nil), "no room")
	require.Zero(t, PutTCPExtra(p, &s, make([]byte, 3), nil), "not padded")
}
