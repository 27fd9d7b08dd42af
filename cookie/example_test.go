package cookie_test

import (
	"fmt"
	"time"

	"github.com/fastsyn/fastsyn/cookie"
)

// A SYN is answered without keeping anything, and the ACK brings it all back.
func Example() {
	secret, err := cookie.NewSecret([]byte("the same 32 random bytes a node "))
	if err != nil {
		fmt.Println(err)
		return
	}
	hasher, err := secret.Hasher()
	if err != nil {
		fmt.Println(err)
		return
	}
	now := time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)
	ring, err := cookie.NewRing(secret, now, cookie.RingConfig{})
	if err != nil {
		fmt.Println(err)
		return
	}

	tuple := cookie.Tuple{ // 198.51.100.2:40000 > 192.0.2.1:80
		RemoteLo: 0xffff_c6336402, LocalLo: 0xffff_c0000201, RemotePort: 40000, LocalPort: 80,
	}
	keys := ring.Load() // once per burst
	syn := []cookie.Input{{
		Sum: hasher.SumOne(&tuple), IRS: 1000, TSNow: cookie.TSNow(now.UnixNano()),
		MSS: 1452, WScale: 7, Opts: cookie.HasWScale | cookie.SACK | cookie.TS,
	}}
	synAck := make([]cookie.Minted, len(syn))
	keys.Mint(synAck, syn)

	ring.Advance(now.Add(time.Minute)) // by the control goroutine
	ack := []cookie.VerifyInput{{
		Sum: hasher.SumOne(&tuple), Seq: 1001, Ack: synAck[0].ISS + 1,
		HasTS: true, TSEcr: synAck[0].TSVal, TSNow: cookie.TSNow(now.UnixNano()) + 60_000,
	}}
	result := make([]cookie.Result, len(ack))
	ring.Load().Verify(result, ack)

	r := result[0]
	fmt.Println(r.OK, r.IRS, r.MSS, r.WScale, r.Opts&cookie.SACK != 0)
	ack[0].Seq++
	ring.Load().Verify(result, ack)
	fmt.Println(result[0].OK, result[0].Reason)
	fmt.Println(secret, keys)
	// Output:
	// true 1000 1440 7 true
	// false mac
	// [redacted] [redacted]
}
