package flow

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// timedFlow is a record of the size of a flow's with a timer in it.
type timedFlow struct {
	_     [72]byte
	timer link
	_     [44]byte
}

func newTimedWheel(flows int, now uint32) *wheel {
	return newWheel(linksIn(make([]timedFlow, flows+1), func(r *timedFlow) *link { return &r.timer }), now)
}

// wheelModel is a wheel beside a map that does the same in the obvious way.
type wheelModel struct {
	t     testing.TB
	w     *wheel
	now   uint32
	left  bool // something due may be left, so the wheel may be behind
	flows uint32
	at    map[uint32]uint32
	turn  map[uint32]uint32 // the tick in whose turn it comes: at, unless the wheel was past that
}

func newWheelModel(t testing.TB, flows, now uint32) *wheelModel {
	return &wheelModel{t: t, w: newTimedWheel(int(flows), now), now: now, flows: flows, at: map[uint32]uint32{}, turn: map[uint32]uint32{}}
}

func (m *wheelModel) arm(i, at uint32) {
	m.w.arm(i, at)
	m.at[i], m.turn[i] = at, at
	if int32(at-m.w.now) < 0 {
		m.turn[i] = m.w.now
	}
}

func (m *wheelModel) disarm(i uint32) {
	m.w.disarm(i)
	delete(m.at, i)
}

// drain moves the clock by step ms and takes what is due, at most limit flows, with a call of meanwhile
// after each. All of it, and nothing else, has to come, in its turn. If something was left the last
// time, the clock stands still, so that the wheel stays in range.
func (m *wheelModel) drain(step uint32, limit int, meanwhile func()) {
	if !m.left {
		m.now += step
	}
	m.left = true
	now, idle, last := m.now, 0, m.w.now
	for got := 0; got < limit; {
		i, ok := m.w.due(now)
		if !ok {
			// It may have to move flows first, but not more than there are, one level down each time.
			if in, any := m.w.next(now); !any || in != 0 {
				m.left = false
				m.check()
				return
			}
			if idle++; idle > int(m.flows)*wheelLevels/wheelMoves+1 {
				m.t.Fatalf("due at %d: no progress", now)
			}
			continue
		}
		at, armed := m.at[i]
		switch {
		case !armed:
			m.t.Fatalf("flow %d is due at %d, but not armed", i, now)
		case int32(now-at) < 0:
			m.t.Fatalf("flow %d is due at %d, %d ms early", i, now, at-now)
		case int32(m.turn[i]-last) < 0:
			m.t.Fatalf("flow %d, due at %d, comes after %d", i, m.turn[i], last)
		}
		if _, armed = m.w.armed(i); armed {
			m.t.Fatalf("flow %d was due and is still armed", i)
		}
		delete(m.at, i)
		last = m.turn[i]
		got++
		if meanwhile != nil {
			meanwhile()
		}
	}
	m.checkEach()
}

// check compares everything, after all that is due was taken.
func (m *wheelModel) check() {
	for i, at := range m.at {
		if int32(m.now-at) >= 0 {
			m.t.Fatalf("flow %d was due at %d, and has not come at %d", i, at, m.now)
		}
	}
	m.checkEach()
}

func (m *wheelModel) checkEach() {
	in, any := m.w.next(m.now)
	if any != (len(m.at) != 0) || int(m.w.count) != len(m.at) {
		m.t.Fatalf("next says %v and there are %d, want %d", any, m.w.count, len(m.at))
	}
	for i := uint32(1); i <= m.flows; i++ {
		want, armed := m.at[i]
		at, ok := m.w.armed(i)
		if ok != armed || ok && at != want {
			m.t.Fatalf("flow %d is armed %v for %d, want %v for %d", i, ok, at, armed, want)
		}
		if armed && int32(in) > max(int32(want-m.now), 0) {
			m.t.Fatalf("next at %d is in %d ms, flow %d is due in %d", m.now, in, i, int32(want-m.now))
		}
	}
}

// TestWheel_AgainstModel takes random timers of all lengths through random steps
// of the clock, which wraps.
func TestWheel_AgainstModel(t *testing.T) {
	// From a tick to the range, each order of magnitude as often.
	some := func(rng *rand.Rand) uint32 { return rng.Uint32() >> (2 + rng.IntN(30)) }
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 6))
		const flows = 300
		m := newWheelModel(t, flows, -rng.Uint32()>>rng.IntN(30))
		change := func() {
			i := 1 + rng.Uint32N(flows)
			switch rng.IntN(8) {
			default:
				m.arm(i, m.now+some(rng))
			case 0:
				m.arm(i, m.now-some(rng))
			case 1, 2:
				m.disarm(i)
			}
		}
		for range 200 {
			for range rng.IntN(20) {
				change()
			}
			limit, meanwhile := 1<<30, (func())(nil)
			switch rng.IntN(4) {
			case 0:
				limit = rng.IntN(10)
			case 1:
				left := 200 // flows armed for the past in between are due again
				meanwhile = func() {
					if left--; left > 0 {
						change()
					}
				}
			}
			m.drain(some(rng), limit, meanwhile)
		}
	}
}

// FuzzWheel reads a script of four bytes a step.
func FuzzWheel(f *testing.F) {
	f.Add([]byte{255, 255, 255, 10, 0, 1, 0, 200, 0, 2, 8, 20, 1, 1, 0, 0, 2, 0, 8, 255, 2, 0, 0, 1})
	f.Add([]byte{0, 0, 0, 0, 0, 7, 22, 255, 3, 9, 4, 9, 2, 1, 22, 255, 2, 255, 23, 255})
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) < 4 {
			return
		}
		const flows = 100
		b := script
		m := newWheelModel(t, flows, uint32(b[0])<<24|uint32(b[1])<<16|uint32(b[2])<<8|uint32(b[3]))
		step := func() bool {
			if b = b[4:]; len(b) < 4 {
				return false
			}
			i, d := 1+uint32(b[1])%flows, uint32(b[3])<<(b[2]%23)
			switch b[0] % 4 {
			case 0:
				m.arm(i, m.now+d)
			case 1:
				m.disarm(i)
			case 3:
				m.arm(i, m.now-d)
			}
			return true
		}
		for step() {
			if b[0]%4 == 2 {
				limit := 1 << 30
				if b[1] < 64 {
					limit = int(b[1])
				}
				d := uint32(b[3]) << (b[2] % 23)
				var meanwhile func()
				if b[1]%2 == 1 {
					meanwhile = func() {
						if len(b) >= 8 && b[4]%4 != 2 {
							step()
						}
					}
				}
				m.drain(d, limit, meanwhile)
			}
		}
	})
}

// TestWheel_WakesRarely: who sleeps until next wakes up for a timer as often as
// there are levels at most, however far ahead it is, and for the last time exactly when it is due.
func TestWheel_WakesRarely(t *testing.T) {
	for _, in := range []uint32{0, 1, 255, 256, 300, 65535, 65536, 2 * 3600_000, 1<<24 + 12345, 24*86400_000 - 1, 1<<31 - 1} {
		for _, start := range []uint32{0, 77, 255, 256, 1<<16 - 1, 1<<24 - 3, 1<<31 - 1, 1 << 31, 1<<32 - 1, 1<<32 - 70000} {
			w := newTimedWheel(1, start)
			now := start
			w.arm(1, start+in)
			for wakes := 1; ; wakes++ {
				left, ok := w.next(now)
				if !ok || wakes > wheelLevels+1 { // one more for a pause longer than wheelIdle
					t.Fatalf("armed for %d+%d: next says %v after %d calls", start, in, ok, wakes)
				}
				now += left
				if _, ok = w.due(now); ok {
					break
				}
			}
			if now != start+in {
				t.Errorf("armed for %d+%d: due at %d", start, in, now)
			}
		}
	}
}

// TestWheel_BoundedWork: flows that have to move all at once do so wheelMoves in a call, and
// next asks for another one until they have. None is late by more than these calls.
func TestWheel_BoundedWork(t *testing.T) {
	const flows = 10 * wheelMoves
	w := newTimedWheel(flows, 0)
	for i := uint32(1); i <= flows; i++ {
		w.arm(i, 1000)
	}
	for calls := 1; ; calls++ {
		if i, ok := w.due(1<<10 - 256); ok {
			t.Fatalf("flow %d is due 232 ms early", i)
		}
		in, _ := w.next(1<<10 - 256)
		if in != 0 {
			if calls != flows/wheelMoves || in != 1000-768 {
				t.Errorf("next is in %d ms after %d calls, want %d after %d", in, calls, 1000-768, flows/wheelMoves)
			}
			break
		}
	}
	for n := range flows {
		if _, ok := w.due(5000); !ok {
			t.Fatalf("%d flows were due, want %d", n, flows)
		}
	}
	if i, ok := w.due(5000); ok || w.count != 0 {
		t.Errorf("flow %d is due twice", i)
	}
}

// TestWheel_MovesPerTimer: a timer within 255 ms is where it belongs at once, whatever the clock shows.
func TestWheel_MovesPerTimer(t *testing.T) {
	for _, start := range []uint32{0, 128, 255, 1<<16 - 1, 1<<32 - 100} {
		for _, in := range []uint32{1, 127, 200, 255} {
			w := newTimedWheel(1, start)
			w.arm(1, start+in)
			if left, ok := w.next(start); !ok || left != in {
				t.Errorf("armed for %d+%d: next is in %d ms", start, in, left)
			}
		}
	}
}

func TestWheel_OutOfRange(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a timer beyond the records was armed")
		}
	}()
	newTimedWheel(3, 0).arm(4, 1)
}

func TestWheel_ZeroAllocs(t *testing.T) {
	w := newTimedWheel(1000, 0)
	now := uint32(0)
	if n := testing.AllocsPerRun(1000, func() {
		for i := uint32(1); i <= 1000; i++ {
			w.arm(i, now+i*i)
		}
		w.disarm(7)
		now += 5000
		for {
			if _, ok := w.due(now); !ok {
				break
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkWheel(b *testing.B) {
	// The usual fate of a timer: armed with a segment, disarmed by its ACK.
	for _, flows := range []uint32{1 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("ArmDisarm/%d", flows), func(b *testing.B) {
			w := newTimedWheel(int(flows), 0)
			for i := uint32(1); i <= flows; i++ {
				w.arm(i, 200)
			}
			i := uint32(0)
			for b.Loop() {
				i = i%flows + 1
				w.disarm(i)
				w.arm(i, 150+i%100)
			}
		})
	}
	b.Run("Rearm", func(b *testing.B) { // a timer of a flow in cache, among others
		w := newTimedWheel(100, 0)
		for i := uint32(1); i <= 100; i++ {
			w.arm(i, 200+i)
		}
		at := uint32(0)
		for b.Loop() {
			at++
			w.arm(50, 200+at%64)
		}
	})
	b.Run("DueNothing", func(b *testing.B) { // each burst asks
		w := newTimedWheel(100, 0)
		w.arm(1, 1<<30)
		for b.Loop() {
			if _, ok := w.due(1); ok {
				b.Fatal("due")
			}
		}
	})
	b.Run("Expire", func(b *testing.B) { // a timer that fires, in its turn among 1000
		w := newTimedWheel(1000, 0)
		now := uint32(0)
		for i := uint32(1); i <= 1000; i++ {
			w.arm(i, i)
		}
		for b.Loop() {
			i, ok := w.due(now)
			for !ok {
				now++
				i, ok = w.due(now)
			}
			w.arm(i, now+1000)
		}
	})
	b.Run("Jump", func(b *testing.B) { // two hours at once, over a timer of each length
		w := newTimedWheel(3, 0)
		now := uint32(0)
		for b.Loop() {
			w.arm(1, now+200)
			w.arm(2, now+60_000)
			w.arm(3, now+7200_000)
			now += 7200_000
			for range 3 {
				if _, ok := w.due(now); !ok {
					b.Fatal("not due")
				}
			}
		}
	})
}
