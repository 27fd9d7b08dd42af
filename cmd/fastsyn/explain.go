package main

import (
	"encoding/hex"
	"fmt"
	"io"
	"time"

	"github.com/fastsyn/fastsyn/cookie"
)

// explanation writes indented lines of name and value; the first error stays.
type explanation struct {
	w   io.Writer
	err error
}

func (e *explanation) printf(format string, args ...any) {
	if e.err == nil {
		_, e.err = fmt.Fprintf(e.w, format+"\n", args...)
	}
}

func (e *explanation) fact(name, format string, args ...any) {
	e.printf("  %-13s "+format, append([]any{name}, args...)...)
}

func (e *explanation) head(sa *synAck) {
	e.printf("SYN-ACK from %s port %d to %s port %d", sa.Local, sa.LocalPort, sa.Remote, sa.RemotePort)
	e.fact("ISS", "%d (%#08x)", sa.iss, sa.iss)
	e.fact("IRS", "%d (%#08x)", sa.irs, sa.irs)
	if sa.hasTS {
		e.fact("TSval", "%d (%#08x)", sa.tsval, sa.tsval)
	}
	e.fact("sent", "%s", sa.at.UTC().Format(time.RFC3339Nano))
}

// hash returns the tuple as package cookie has it.
func (sa *synAck) hash() cookie.Tuple {
	return cookie.Tuple{
		RemoteHi: sa.Remote.Hi, RemoteLo: sa.Remote.Lo, LocalHi: sa.Local.Hi, LocalLo: sa.Local.Lo,
		RemotePort: sa.RemotePort, LocalPort: sa.LocalPort,
	}
}

func parityName(p uint8) string { return [2]string{"even", "odd"}[p&1] }

func (e *explanation) options(ws uint8, opts cookie.Opts) {
	if opts&cookie.HasWScale != 0 {
		e.fact("window scale", "%d", ws)
	} else {
		e.fact("window scale", "not offered")
	}
	e.fact("SACK", "%s", yes(opts&cookie.SACK != 0))
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// searchEpochs is how far from the time given other epochs are tried, in both directions.
const searchEpochs = 60

func (o *explainFlags) explainOwn(e *explanation, sa *synAck) error {
	v6 := !sa.Local.Is4()
	p := cookie.Peek(sa.iss, sa.hasTS, v6)
	e.printf("\nIf it is a cookie of fastsyn, anybody can read from its ISS:")
	if sa.hasTS {
		e.fact("form", "T: with timestamps, 28 bits of MAC")
	} else {
		e.fact("form", "N: without timestamps, 24 bits of MAC")
	}
	e.fact("epoch", "one with an %s number (parity of the key)", parityName(p.Parity))
	e.fact("MSS", "%d: the largest of the table that the peer's MSS reaches", p.MSS)
	if !sa.hasTS {
		e.options(p.WScale, p.Opts)
		e.fact("ECN", "no: form N does not carry it")
	}
	secret, found, err := loadSecret(o.secretFile)
	if err != nil {
		return err
	}
	if !found {
		e.printf("\nWithout the secret it cannot be known:")
		e.fact("whether", "it is a cookie at all: a stored handshake's ISS has such bits too")
		e.fact("MAC", "whether it is genuine, and for this tuple")
		e.fact("epoch", "which one, so when it expires")
		if sa.hasTS {
			e.fact("options", "window scale, SACK and ECN are in TSval, below an offset only the secret gives")
			e.fact("age", "for the same reason")
		} else {
			e.fact("age", "form N carries no time; the epoch alone bounds it")
		}
		e.printf("Give --secret-file FILE, or set %s.", secretEnv)
		return nil
	}
	return o.explainMAC(e, sa, secret)
}

// explainMAC checks the cookie in the epochs around the time it was sent.
func (o *explainFlags) explainMAC(e *explanation, sa *synAck, secret cookie.Secret) error {
	hasher, err := secret.Hasher()
	if err != nil {
		return err
	}
	tuple := sa.hash()
	sum := hasher.SumOne(&tuple)
	ring, err := cookie.NewRing(secret, sa.at, cookie.RingConfig{Epoch: o.epoch})
	if err != nil {
		return &usageError{fmt.Errorf("--cookie-epoch: %w", err)}
	}
	ts := sa.tsval - sum.TSOff
	ack := []cookie.VerifyInput{{
		Sum: sum, Seq: sa.irs + 1, Ack: sa.iss + 1, TSEcr: sa.tsval, HasTS: sa.hasTS, V6: !sa.Local.Is4(),
		TSNow: ts, // the time is looked at below
	}}
	var res [1]cookie.Result
	e.printf("\nWith the secret:")
	for d := 0; d <= searchEpochs; d++ {
		for _, epoch := range []int{-d, d} {
			ring.Advance(sa.at.Add(time.Duration(epoch) * o.epoch))
			keys := ring.Load()
			keys.Verify(res[:], ack)
			p := cookie.Peek(sa.iss, sa.hasTS, ack[0].V6)
			// Two keys are open; the one of the epoch itself is looked for here.
			if !res[0].OK || uint8(keys.Epoch()&1) != p.Parity {
				continue
			}
			return o.explainGood(e, sa, &res[0], keys.Epoch(), epoch, ts)
		}
	}
	e.fact("MAC", "does not verify in any of the %d epochs of %v around the time", 2*searchEpochs+1, o.epoch)
	behind := int32(cookie.ISN(sum.ISN, sa.at.UnixNano()) - sa.iss)
	if d := time.Duration(behind) * 64; d.Abs() < 2*time.Second {
		e.fact("ISS", "fits the clock of this tuple to %v: it is that of a stored handshake (RFC 6528), no cookie", d.Round(time.Millisecond))
		return nil
	}
	e.printf("It is not a cookie of this secret, epoch length, tuple and ISN. Check --secret-file, --cookie-epoch, --time, and")
	e.printf("that the capture shows the addresses the endpoint itself saw (no NAT between).")
	return nil
}

func (o *explainFlags) explainGood(e *explanation, sa *synAck, r *cookie.Result, number int64, away int, ts uint32) error {
	start := time.Unix(0, number*int64(o.epoch)).UTC()
	e.fact("MAC", "verifies")
	e.fact("epoch", "%d, from %s to %s, %s", number, start.Format(time.RFC3339), start.Add(o.epoch).Format(time.RFC3339), parityName(uint8(number&1)))
	e.fact("accepted", "until %s", start.Add(2*o.epoch).Format(time.RFC3339))
	if away != 0 {
		e.fact("note", "this is %d epochs from the time given; a clock is off, or --time is", away)
	}
	e.fact("MSS", "%d", r.MSS)
	e.options(r.WScale, r.Opts)
	e.fact("ECN", "%s", yes(r.Opts&cookie.ECN != 0))
	if sa.hasTS {
		age := time.Duration(int32(cookie.TSNow(sa.at.UnixNano())-ts)) * time.Millisecond
		e.fact("age", "%v at the time given, up to 63 ms too long (options ride in the low bits)", age)
	} else {
		e.fact("age", "not carried; at most what has passed since the epoch began")
	}
	return nil
}

// linuxKeyLen is two keys of SipHash.
const linuxKeyLen = 32

// explainLinux reads the cookie as the kernel writes it.
func (o *explainFlags) explainLinux(e *explanation, sa *synAck) (err error) {
	count := uint32(sa.at.Unix() / cookie.LinuxEpoch)
	if o.count != "" {
		if count, err = parse32("count", o.count); err != nil {
			return err
		}
	}
	var off uint32
	if o.tsOffset != "" {
		if off, err = parse32("ts-offset", o.tsOffset); err != nil {
			return err
		}
	}
	material, source, err := secretMaterial(o.secretFile)
	if err != nil {
		return err
	}
	if material == nil {
		e.printf("\nWithout the two keys nothing of a Linux cookie can be read: its count and the index of the MSS")
		e.printf("are added to hashes. %s", linuxTSNote(sa, o.tsOffset != ""))
		e.printf("Give the keys as 64 hexadecimal digits in --secret-file FILE or %s.", secretEnv)
		return nil
	}
	keys, err := hex.DecodeString(string(material))
	if err != nil || len(keys) != linuxKeyLen {
		return fmt.Errorf("%s: with --codec linux want the two SipHash keys as 64 hexadecimal digits, H0 first", source)
	}
	l := cookie.NewLinux([16]byte(keys[:16]), [16]byte(keys[16:]))
	var res [1]cookie.Result
	l.Verify(res[:], []cookie.LinuxAck{{
		Tuple: sa.hash(), Seq: sa.irs + 1, Ack: sa.iss + 1, TSEcr: sa.tsval, TSOff: off, HasTS: sa.hasTS,
		TSNow: cookie.TSNow(sa.at.UnixNano()),
	}}, count)
	r := &res[0]
	e.printf("\nWith the keys, in the count %d and the one before:", count)
	if !r.OK {
		e.fact("MAC", "does not verify")
		e.printf("A host counts minutes since its boot: give its count by --count.")
		return nil
	}
	e.fact("MAC", "verifies (its odds are 2^-29 for a guess: 4 indices, 2 epochs)")
	e.fact("MSS", "%d", r.MSS)
	if sa.hasTS && o.tsOffset != "" {
		e.options(r.WScale, r.Opts)
		e.fact("ECN", "%s", yes(r.Opts&cookie.ECN != 0))
	}
	e.printf("%s", linuxTSNote(sa, o.tsOffset != ""))
	return nil
}

// linuxTSNote says what the timestamp tells.
func linuxTSNote(sa *synAck, offset bool) string {
	switch {
	case !sa.hasTS:
		return "There is no timestamp, so window scale, SACK and ECN are lost (CKI-008)."
	case offset:
		return "Window scale, SACK and ECN are not covered by the MAC (CKI-009)."
	}
	return "Window scale, SACK and ECN are in the low six bits of TSval, below an offset per tuple: give --ts-offset."
}
