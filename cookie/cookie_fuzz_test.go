package cookie

import (
	"slices"
	"testing"
	"time"
)

// FuzzVerify feeds anything to Verify: it must not panic, and what it accepts must
// be what one of the two open epochs mints.
func FuzzVerify(f *testing.F) {
	ring := testRing(f, 0)
	old := ring.Load()
	ring.Advance(testWall.Add(time.Minute))
	keys := ring.Load()
	for _, opts := range []Opts{0, HasWScale | SACK, TS, HasWScale | SACK | ECN | TS} {
		for i, k := range []*Keys{old, keys} {
			in := testInput(uint32(i), i == 1, opts)
			m := mintOne(k, in)
			v := ackFor(&in, &m, 100)
			f.Add(v.Sum.Hash, v.Sum.ISN, v.Sum.TSOff, v.Seq, v.Ack, v.TSEcr, v.TSNow, v.HasTS, v.V6)
		}
	}
	f.Fuzz(func(t *testing.T, hash uint64, isn, off, seq, ack, ecr, now uint32, ts, v6 bool) {
		v := VerifyInput{Sum: Sum{hash, isn, off}, Seq: seq, Ack: ack, TSEcr: ecr, TSNow: now, HasTS: ts, V6: v6}
		r := verifyOne(keys, v)
		if !r.OK {
			if r.Reason == ReasonNone || r != (Result{Reason: r.Reason}) {
				t.Fatalf("refused with %+v", r)
			}
			return
		}
		if !slices.Contains(mssTable(v6)[:], r.MSS) || r.WScale > maxShift || ts != (r.Opts&TS != 0) || r.Reason != ReasonNone {
			t.Fatalf("accepted %+v", r)
		}
		in := Input{Sum: v.Sum, IRS: r.IRS, TSNow: now, MSS: r.MSS, WScale: r.WScale, Opts: r.Opts, V6: v6}
		if mintOne(old, in).ISS != r.ISS && mintOne(keys, in).ISS != r.ISS {
			t.Fatalf("accepted %+v, which neither epoch mints", r)
		}
	})
}

// FuzzMintVerify: an honest answer within an epoch brings back what was minted.
func FuzzMintVerify(f *testing.F) {
	f.Add(uint64(1), uint32(2), uint32(3), uint32(4), uint32(1e6), uint32(50), uint16(1460), uint8(7), uint8(3), false)
	f.Add(uint64(1), uint32(2), uint32(3), uint32(4), uint32(0), uint32(0), uint16(1220), uint8(14), uint8(15), true)
	f.Add(uint64(0), uint32(0), uint32(0), uint32(0), uint32(0), uint32(60000), uint16(100), uint8(200), uint8(255), true)
	ring := testRing(f, 0)
	keys := ring.Load()
	ring.Advance(testWall.Add(time.Minute))
	later := ring.Load()
	f.Fuzz(func(t *testing.T, hash uint64, isn, off, irs, now, delay uint32, mss uint16, shift, opts uint8, v6 bool) {
		in := Input{
			Sum: Sum{hash, isn, off}, IRS: irs, TSNow: now, MSS: mss, WScale: shift, Opts: Opts(opts), V6: v6,
		}
		m := mintOne(keys, in)
		if mss < MinMSS(v6) {
			if m != (Minted{}) {
				t.Fatalf("mss %d minted %+v", mss, m)
			}
			return
		}
		if !m.OK || m.MSS > mss || m.WScale > shift || m.Opts&^in.Opts != 0 {
			t.Fatalf("%+v minted %+v", in, m)
		}
		delay %= uint32(DefaultEpoch.Milliseconds())
		ack := ackFor(&in, &m, delay)
		for _, k := range []*Keys{keys, later} {
			r := verifyOne(k, ack)
			want := Result{IRS: irs, ISS: m.ISS, AgeMS: r.AgeMS, MSS: m.MSS, WScale: m.WScale, Opts: m.Opts, OK: true}
			if r != want {
				t.Fatalf("got %+v, want %+v", r, want)
			}
			if m.Opts&TS != 0 && (r.AgeMS < delay || r.AgeMS-delay > tsMask) {
				t.Fatalf("age %d ms after %d", r.AgeMS, delay)
			}
		}
	})
}
