package cookie

// The MSS values a cookie can remember, ascending. Beside the values seen most
// (Ethernet 1460 and 1440, tunnels around 1400, jumbo frames) each holds the
// RFC 9293 §3.7.1 default of its family (536, 1220) and a small first entry, 216
// as FreeBSD's net.inet.tcp.minmss: a peer below it cannot be served by cookie
// (CKI-005). The tables are part of the format, see saltLabel.
var (
	mss4 = [8]uint16{216, 536, 1200, 1360, 1400, 1440, 1460, 8960}
	mss6 = [8]uint16{216, 536, 1160, 1220, 1360, 1420, 1440, 8940}
)

// The window shifts form N can remember; index 0 means no option. Rounding down
// makes the peer's window look smaller than it is, never larger.
var wscales = [8]uint8{0, 0, 2, 4, 6, 7, 8, 10}

// wscaleIndex maps a shift 0..14 (15 for safe indexing) to its index in wscales.
var wscaleIndex = [16]uint8{1, 1, 2, 2, 3, 3, 4, 5, 6, 6, 7, 7, 7, 7, 7, 7}

const (
	maxShift = 14 // RFC 7323 §2.3
	noShift  = 15 // form T: the SYN had no Window Scale option
)

func mssTable(v6 bool) *[8]uint16 {
	if v6 {
		return &mss6
	}
	return &mss4
}

// mssIndex returns the largest entry that does not exceed mss, or -1 (CKI-004, CKI-005).
func mssIndex(t *[8]uint16, mss uint16) int {
	i := len(t) - 1
	for i >= 0 && t[i] > mss {
		i--
	}
	return i
}

// MinMSS returns the smallest peer MSS a cookie can stand for, in bytes; Mint
// refuses a SYN below it.
func MinMSS(v6 bool) uint16 { return mssTable(v6)[0] }
