package handshake

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// allMarks are the combinations of AE, CWR and ECE, as letters of the kit, and what they say.
var allMarks = []string{"", "E", "C", "EC", "N", "NE", "NC", "NEC"}

func TestECN_001to003_Passive(t *testing.T) {
	for _, policy := range []CookiePolicy{CookiesNever, CookiesAlways} {
		for _, mode := range []ECNMode{ECNPassive, ECNOn, ECNOff} {
			for _, marks := range allMarks {
				for tos := range 4 {
					id := "ECN-001"
					if marks == "NEC" || tos != 0 {
						id = "ECN-002"
					}
					t.Run(fmt.Sprintf("%s %v %v S%s tos=%d", id, policy, mode, marks, tos), func(t *testing.T) {
						want := mode != ECNOff && (marks == "EC" && tos == 0 || marks == "NEC")
						k := newKit(t, Config{Cookies: policy, ECN: mode})
						sa := "SA"
						if want {
							sa = "SAE" // never CWR, never AE: ECN-003
						}
						k.play(fmt.Sprintf("S%s tos=%d mss=1460 ts=1 ws=7 | %s seq=0 ack=1 tos=0", marks, tos, sa))
						k.play("A seq=1 ack=1 ts=2 | - | ESTABLISHED | established")
						require.Equal(t, want, k.info.ECN)
					})
				}
			}
		}
	}
}

// An ECN or AccECN SYN never gets a reset where the same SYN without would get none.
func TestECN_002_NeverAReset(t *testing.T) {
	for _, state := range transitionStates() {
		for _, policy := range []CookiePolicy{CookiesNever, CookiesAlways} {
			if policy == CookiesAlways && state.name != "LISTEN" {
				continue // the scripts need records
			}
			for _, seq := range []int{0, 1, 2, 70000} {
				answer := func(marks string) string {
					k := newKit(t, Config{Cookies: policy})
					if state.active || state.state == Closed {
						k.tup.LocalPort = 5000
					}
					k.play(state.script)
					line := fmt.Sprintf("S%s seq=%d mss=1460", marks, seq)
					segs := k.inject([]wire.Segment{k.parse(line, line)})
					segs[0].Flags &^= wire.FlagECE
					return k.show(&segs[0])
				}
				plain := answer("")
				for _, marks := range allMarks[1:] {
					require.Equal(t, plain, answer(marks), "%s, S%s seq=%d", state.name, marks, seq)
				}
			}
		}
	}
}

func TestECN_004_Active(t *testing.T) {
	// Off unless asked for, and then what the peer says does not matter.
	for _, mode := range []ECNMode{ECNPassive, ECNOff} {
		k := newKit(t, Config{ECN: mode})
		k.play("connect | S tos=0 | SYN-SENT\nSAE seq=0 ack=1 | A tos=0 | ESTABLISHED | established")
		require.False(t, k.info.ECN)
	}
	for _, marks := range allMarks {
		t.Run("ECN-004 SA"+marks, func(t *testing.T) {
			eachFamily(t, Config{ECN: ECNOn}, func(t *testing.T, k *kit) {
				k.play("connect | SEC seq=0 tos=0 | SYN-SENT\nSA" + marks + " seq=0 ack=1 | A seq=1 ack=1 tos=0 | ESTABLISHED | established")
				// A classic client does not know AE and so ignores it.
				require.Equal(t, marks == "E" || marks == "NE", k.info.ECN)
			})
		})
	}
	// Crossing SYNs: on if both ask.
	for _, c := range []struct {
		mode ECNMode
		in   string
		on   bool
	}{{ECNOn, "SEC", true}, {ECNOn, "SNEC", true}, {ECNOn, "S", false}, {ECNOn, "SE", false}, {ECNOn, "SEC tos=2", false}, {ECNPassive, "SEC", false}} {
		k := newKit(t, Config{ECN: c.mode})
		sa := "SA"
		if c.on {
			sa = "SAE"
		}
		k.play("connect | " + map[ECNMode]string{ECNOn: "SEC", ECNPassive: "S"}[c.mode])
		k.play(c.in + " seq=0 | " + sa + " seq=0 ack=1 | SYN-RECEIVED\nSA seq=0 ack=1 | A | ESTABLISHED | established")
		require.Equal(t, c.on, k.info.ECN, c.in)
	}
}

// All that goes out is Not-ECT, but for new text on a flow with ECN.
func TestECN_005_Codepoints(t *testing.T) {
	const open = "SEC mss=1460 | SAE tos=0\n+1001ms | SAE tos=0\nA seq=1 ack=1 tos=2 | - | ESTABLISHED | established\n"
	newKit(t, Config{}).play(open + `
		send 5                       | PA seq=1 len=5 tos=2
		+3001ms                      | PA seq=1 len=5 tos=0      # retransmitted
		A seq=1 ack=6                | - | - | acked
		PA seq=1 ack=6 len=5 tos=2   | A ack=6 tos=0 | - | data 0+5
		SA seq=0 ack=1 tos=2         | A tos=0                   # challenge
		send 5 fin                   | FPA seq=6 len=5 tos=2
		abort                        | RA tos=0 | CLOSED
	`)
	newKit(t, Config{ECN: ECNOn}).play(`
		connect                      | SEC tos=0
		SAE seq=0 ack=1 tos=2        | A tos=0 | ESTABLISHED | established
		send 1                       | PA tos=2
		A seq=1 ack=2                | - | - | acked
		close                        | FA tos=0
	`)
	newKit(t, Config{}).play(opened + "send 5 | PA tos=0") // without ECN
	newKit(t, Config{}).play("SEC lport=9 tos=0 | RA tos=0\nA lport=9 ack=3 tos=3 | R tos=0")
}

func TestECN_006_Retransmission(t *testing.T) {
	// Ours asks once; the peer may still have heard the first copy.
	k := newKit(t, Config{ECN: ECNOn})
	k.play(`
		connect            | SEC seq=0
		+1001ms            | S seq=0
		+2001ms            | S seq=0
		SAE seq=0 ack=1    | A | ESTABLISHED | established
	`)
	require.True(t, k.info.ECN)
	k = newKit(t, Config{ECN: ECNOn})
	k.play("connect | SEC seq=0\n+1001ms | S seq=0\nSA seq=0 ack=1 | A | ESTABLISHED | established")
	require.False(t, k.info.ECN)
	// Sent again at once because of a leftover of the peer: it is no first copy either.
	newKit(t, Config{ECN: ECNOn}).play("connect | SEC seq=0\nA seq=5 ack=0 | R seq=0 & S seq=0 | SYN-SENT")
	// A SYN-ACK keeps ECE, also for a peer that no longer asks.
	k = newKit(t, Config{})
	k.play(`
		SEC mss=1460       | SAE
		+1001ms            | SAE
		S mss=1460         | SAE
		+2001ms            | SAE
		A seq=1 ack=1      | - | ESTABLISHED | established
	`)
	require.True(t, k.info.ECN)
}

func TestECN_007_Echo(t *testing.T) {
	const open = "SEC mss=1460 | SAE\nA seq=1 ack=1 | - | ESTABLISHED | established\n"
	newKit(t, Config{}).play(open + `
		PA seq=1 ack=1 len=5 tos=2     | A ack=6   | - | data 0+5
		PA seq=6 ack=1 len=5 tos=3     | AE ack=11 | - | data 0+5     # CE
		PA seq=11 ack=1 len=5 tos=2    | AE ack=16 | - | data 0+5     # until CWR
		send 4                         | PAE len=4
		PAC seq=16 ack=5 len=5 tos=2   | A ack=21  | - | acked, data 0+5
		PAC seq=21 ack=5 len=5 tos=3   | AE ack=26 | - | data 0+5     # CWR, but marked again
		PA seq=31 ack=5 len=5 tos=2    | AE ack=26                    # ahead
		A seq=26 ack=5 tos=3           | -                            # only text counts
		abort                          | RA        | CLOSED           # no ECE on a reset
	`)
	// A mark on the text that completes the handshake, and on text that is ahead.
	newKit(t, Config{}).play("SEC mss=1460 | SAE\nPA seq=1 ack=1 len=5 tos=3 | AE ack=6 | - | established, data 0+5")
	newKit(t, Config{}).play("SEC mss=1460 | SAE\nPA seq=6 ack=1 len=5 tos=3 | AE ack=1 | - | established")
	// ECE from the peer is answered once, on the next new text.
	newKit(t, Config{}).play(open + `
		AE seq=1 ack=1        | -
		send 5                | PA tos=2
		AE seq=1 ack=6        | - | - | acked
		send 5                | PAC tos=2
		AE seq=1 ack=6        | -                   # an old one
		+1001ms               | PA tos=0            # repeated: no CWR again
		A seq=1 ack=11        | - | - | acked
		send 5                | PA tos=2
	`)
	// Without ECN marks mean nothing.
	newKit(t, Config{}).play(opened + `
		PA seq=1 ack=1 len=5 tos=3     | A ack=6 | - | data 0+5
		send 5                         | PA tos=0
		AE seq=6 ack=6                 | - | - | acked
		send 5                         | PA tos=0
	`)
}

// ECN-008 is not implemented as a server or client of AccECN: what is promised is
// that its SYN is served, and that ours never looks like one.
func TestECN_008_NoAccurateECN(t *testing.T) {
	for _, mode := range []ECNMode{ECNPassive, ECNOn, ECNOff} {
		k := newKit(t, Config{ECN: mode})
		k.play("connect | " + map[ECNMode]string{ECNPassive: "S", ECNOn: "SEC", ECNOff: "S"}[mode])
		require.Zero(t, k.last[0].Flags&wire.FlagAE)
	}
	// The third ACK of an AccECN client that met a classic server has no counter in its flags.
	k := newKit(t, Config{})
	k.play("SNEC tos=1 mss=1460 | SAE\nA seq=1 ack=1 | - | ESTABLISHED | established")
	require.True(t, k.info.ECN)
}

func TestCKI_021_ECNOnlyWithTimestamps(t *testing.T) {
	eachFamily(t, Config{Cookies: CookiesAlways}, func(t *testing.T, k *kit) {
		k.play("SEC mss=1460 ts=1 | SAE seq=0 ack=1 ts | CLOSED\nA seq=1 ack=1 ts=2 | - | ESTABLISHED | established")
		require.True(t, k.info.ECN && k.info.Cookie)
		k.play("send 3 | PA tos=2")
	})
	eachFamily(t, Config{Cookies: CookiesAlways}, func(t *testing.T, k *kit) {
		k.play("SEC mss=1460 ws=7 | SA seq=0 ack=1 | CLOSED\nA seq=1 ack=1 | - | ESTABLISHED | established")
		require.False(t, k.info.ECN)
		k.play("send 3 | PA tos=0")
	})
	// Timestamps that this side has switched off carry nothing.
	k := newKit(t, Config{Cookies: CookiesAlways, NoTimestamps: true})
	k.play("SEC mss=1460 ts=1 | SA seq=0 ack=1 !ts | CLOSED\nA seq=1 ack=1 | - | ESTABLISHED | established")
	require.False(t, k.info.ECN)
}

func TestParseECNMode(t *testing.T) {
	for _, m := range []ECNMode{ECNPassive, ECNOff, ECNOn} {
		got, err := ParseECNMode(m.String())
		require.NoError(t, err)
		require.Equal(t, m, got)
	}
	_, err := ParseECNMode("accurate")
	require.ErrorContains(t, err, "want passive, off or on")
}
