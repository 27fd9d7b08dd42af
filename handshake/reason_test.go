package handshake

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// Every reason is reached by some segment, and each segment has one: that
// of its own, which a script ends with, once more than before.
func TestFLD_010_EveryReasonIsCounted(t *testing.T) {
	gated := func(g Gate) func(*kit) {
		return func(k *kit) { require.NoError(t, k.e.SetGate(wire.Addr{}, 80, g)) }
	}
	// Another peer comes first and takes the only place.
	taken := func(k *kit) {
		k.peer(40001)
		k.play(cookieOut + "A seq=1 ack=1 | - | ESTABLISHED | established")
		k.peer(40000)
	}
	late := func(k *kit) { // it has its cookie already
		gated(Gate{Backlog: 1})(k)
		k.play(cookieOut)
		iss := k.iss
		taken(k)
		k.iss = iss
	}
	for want, c := range [numOutcomes]struct {
		cfg    Config
		set    func(*kit)
		before string
		last   string
	}{
		Consumed:          {before: halfOpen, last: "A seq=1 ack=1 | - | ESTABLISHED | established"},
		Answered:          {last: "S mss=1460 | SA"},
		AnsweredCookie:    {cfg: Config{Cookies: always}, last: "S mss=1460 | SA"},
		AnsweredReset:     {last: "A seq=1 ack=1 | R seq=1"},
		AnsweredChallenge: {before: opened, last: "S seq=0 | A seq=1 ack=1"},
		DropRateLimited:   {before: opened + "S seq=0 | A\n", last: "S seq=0 | -"},
		DropRST:           {last: "R seq=1 | -"},
		DropBadFlags:      {last: "SF | -"},
		DropNoACK:         {before: opened, last: "F seq=1 | -"},
		DropTableFull:     {cfg: Config{Cookies: CookiesNever, MaxHalfOpen: 1}, before: halfOpen, last: "S rport=41000 mss=1460 | -"},
		DropFlowsFull:     {cfg: Config{Cookies: always, MaxFlows: 1}, set: taken, before: cookieOut, last: "A seq=1 ack=1 | -"},
		DropMSS:           {cfg: Config{Cookies: always}, last: "S mss=100 | -"},
		DropSigned:        {last: "S mss=1460 md5 | -"},
		DropOutOfOrder:    {before: opened, last: "PA seq=100 ack=1 len=5 | A seq=1 ack=1"},
		DropSYNLimit:      {cfg: Config{Flood: FloodConfig{SYN: Limit{PerSecond: 1, Burst: 1}}}, before: halfOpen, last: "S rport=41000 mss=1460 | -"},
		DropSourceLimit:   {cfg: Config{Flood: FloodConfig{Source: Limit{PerSecond: 1, Burst: 1}}}, before: halfOpen, last: "S rport=41000 mss=1460 | -"},
		DropQueueFull:     {set: gated(Gate{Backlog: 1}), before: opened, last: "S rport=41000 mss=1460 | -"},
		DropQueueFullACK:  {cfg: Config{Cookies: always}, set: late, last: "A seq=1 ack=1 | -"},
		DropDeferred:      {set: gated(Gate{Defer: time.Second}), before: halfOpen, last: "A seq=1 ack=1 | -"},
		DropBadCookie:     {cfg: Config{Cookies: always, Flood: FloodConfig{SilentBadCookies: true}}, before: cookieOut, last: "A seq=1 ack=9 | -"},
		DropCookieLimit:   {cfg: Config{Cookies: always, Flood: FloodConfig{CookieAccepts: Limit{PerSecond: 1, Burst: 1}}}, set: taken, before: cookieOut, last: "A seq=1 ack=1 | -"},
		DropResetLimit:    {cfg: Config{Flood: FloodConfig{Resets: Limit{PerSecond: 1, Burst: 1}}}, before: "S lport=99 | RA\n", last: "S lport=99 | -"},
		DropNoMemory:      {set: func(k *kit) { k.e.HoldSYNs(k.now+1, DropNoMemory) }, last: "S mss=1460 | -"},
	} {
		t.Run("FLD-010 "+Outcome(want).String(), func(t *testing.T) {
			k := newKit(t, c.cfg)
			if c.set != nil {
				c.set(k)
			}
			k.play(c.before)
			before := k.e.Counters().Outcome
			k.play(c.last)
			after := k.e.Counters().Outcome
			before[want]++
			require.Equal(t, before, after)
			ctr := k.e.Counters()
			require.Empty(t, ctr.Check())
		})
	}
}
