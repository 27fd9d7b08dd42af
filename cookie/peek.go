package cookie

// Peeked is what the ISS of a cookie shows to anybody, without a key. Only the MAC says
// whether it is a cookie at all.
type Peeked struct {
	MSS    uint16 // of the table
	WScale uint8  // form N
	Opts   Opts   // form N: HasWScale and SACK; form T: TS alone, the others hide in TSVal
	Parity uint8  // lowest bit of the number of the epoch
}

// Peek reads the low bits of an ISS: form T if ts, else form N. They are masked by the top of
// the MAC, which is there to be read: this spreads them and hides nothing.
func Peek(iss uint32, ts, v6 bool) (p Peeked) {
	if ts {
		low := iss ^ iss>>28
		p.MSS, p.Opts, p.Parity = mssTable(v6)[low>>1&7], TS, uint8(low&1)
		return p
	}
	var r Result
	decodeN(&r, &VerifyInput{Ack: iss + 1, V6: v6})
	p.MSS, p.WScale, p.Opts, p.Parity = r.MSS, r.WScale, r.Opts, uint8(r.parity())
	return p
}
