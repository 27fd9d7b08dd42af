package cookie

import (
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// DefaultEpoch is the epoch length of a RingConfig that sets none; Linux counts
// minutes as well (CKI-002).
const DefaultEpoch = time.Minute

// Bounds of RingConfig.Epoch. The upper one keeps two epochs far inside half of
// the timestamp clock's range (24.8 days).
const (
	MinEpoch = time.Second
	MaxEpoch = 24 * time.Hour
)

// RingConfig sets the timing of a Ring; all nodes of a fleet need the same Epoch.
type RingConfig struct {
	// Epoch is how long one key mints; 0 means DefaultEpoch. Whole milliseconds.
	Epoch time.Duration
	// Skew is by how much the clock of another node may run ahead of ours, at most
	// Epoch/4. Two open epochs have two parities, so there is room for a third
	// only by closing the oldest early: for the last Skew of an epoch the key of
	// the previous one gives way to the next. Cookies then live from Epoch-Skew
	// instead of Epoch on. A node that runs ahead itself needs no allowance.
	Skew time.Duration
	// FastOpen makes and checks the cookies of Fast Open. Nil: they come from the
	// secret and turn with it, so that the nodes of a fleet agree (TFO-007). One that
	// is set, as to agree with Linux hosts, is changed by SetFastOpen alone.
	FastOpen *FastOpen
}

// Ring derives the key of each epoch from a Secret and UTC and publishes the open
// ones. Load is for any goroutine; Advance and Rotate are for the control path
// and take a lock. It reads no clock.
type Ring struct {
	redacted
	keys atomic.Pointer[Keys]

	mu     sync.Mutex
	length int64 // ns
	skew   int64 // ns
	secret Secret
	from   int64  // first epoch of secret
	old    Secret // before from; unset until the first Rotate
	given  bool   // fastOpen is not derived from the secret
	// fastOpen of the epochs before from, and of those since.
	fastOpen [2]*FastOpen
}

// NewRing returns a Ring that holds the keys for the wall-clock time wall. It
// fails if the secret is unset or the configuration is out of bounds.
func NewRing(secret Secret, wall time.Time, cfg RingConfig) (*Ring, error) {
	if cfg.Epoch == 0 {
		cfg.Epoch = DefaultEpoch
	}
	if !secret.IsSet() {
		return nil, fmt.Errorf("cookie: new ring: %w: not set; use NewSecret or RandomSecret", ErrSecret)
	}
	if cfg.Epoch < MinEpoch || cfg.Epoch > MaxEpoch || cfg.Epoch%time.Millisecond != 0 {
		return nil, fmt.Errorf("cookie: new ring: epoch %v: must be whole milliseconds from %v to %v", cfg.Epoch, MinEpoch, MaxEpoch)
	}
	if cfg.Skew < 0 || cfg.Skew > cfg.Epoch/4 {
		return nil, fmt.Errorf("cookie: new ring: skew %v: must be from 0 to a quarter of the epoch, %v", cfg.Skew, cfg.Epoch/4)
	}
	r := &Ring{length: int64(cfg.Epoch), skew: int64(cfg.Skew), secret: secret, from: math.MinInt64, given: cfg.FastOpen != nil}
	f := cfg.FastOpen
	if f == nil {
		var err error
		if f, err = secret.FastOpen(Secret{}); err != nil {
			return nil, fmt.Errorf("cookie: new ring: %w", err)
		}
	}
	r.fastOpen = [2]*FastOpen{f, f}
	r.publish(r.at(wall))
	return r, nil
}

// Load returns the published keys, never nil. Call it once per burst.
func (r *Ring) Load() *Keys { return r.keys.Load() }

// Advance publishes the keys that are due at the wall-clock time wall, if they
// differ from those published, and returns when to call it next. Being late is
// harmless up to an epoch on one machine; in a fleet it adds to the clock skew.
func (r *Ring) Advance(wall time.Time) (next time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	epoch, early := r.at(wall)
	if k := r.keys.Load(); k.epoch != epoch || k.early != early {
		r.publish(epoch, early)
	}
	end := (epoch + 1) * r.length
	if !early {
		end -= r.skew
	}
	return time.Unix(0, end).UTC()
}

// Rotate has the epochs that begin at or after from derive from secret, and the
// ones before from the present secret (CKI-017). Nodes that get the same two
// secrets and the same from hold the same keys, whenever they are told; to lose
// no handshake tell all of them before from, at least one epoch ahead. Two
// secrets are kept, so it fails while epochs of the last but one are still open.
// The tuple key is untouched, see Secret.Hasher. Fast Open cookies of the secret
// before stay good until the next rotation, since clients keep them for long; those
// of a node whose clock is ahead are accepted before from as well.
func (r *Ring) Rotate(secret Secret, from time.Time) error {
	if !secret.IsSet() {
		return fmt.Errorf("cookie: rotate: %w: not set; use NewSecret or RandomSecret", ErrSecret)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	k := r.keys.Load()
	first := floorDiv(from.UnixNano()+r.length-1, r.length)
	if r.old.IsSet() && (r.from >= k.epoch || first < r.from+2) {
		return fmt.Errorf("cookie: rotate: the rotation of epoch %d has not run its two epochs yet (now %d, asked for %d); rotate later",
			r.from, k.epoch, first)
	}
	if !r.given {
		before, err := r.secret.FastOpen(secret)
		if err != nil {
			return fmt.Errorf("cookie: rotate: %w", err)
		}
		since, err := secret.FastOpen(r.secret)
		if err != nil {
			return fmt.Errorf("cookie: rotate: %w", err)
		}
		r.fastOpen = [2]*FastOpen{before, since}
	}
	r.old, r.secret, r.from = r.secret, secret, first
	r.publish(k.epoch, k.early)
	return nil
}

// SetFastOpen has f make and check the cookies of Fast Open from now on. To turn a
// key of Linux hosts, give NewLinuxFastOpen both, the new one first (TFO-007).
func (r *Ring) SetFastOpen(f *FastOpen) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.given, r.fastOpen = true, [2]*FastOpen{f, f}
	k := r.keys.Load()
	r.publish(k.epoch, k.early)
}

// at returns the epoch that wall lies in, and whether the next one's key is due.
func (r *Ring) at(wall time.Time) (epoch int64, early bool) {
	ns := wall.UnixNano()
	epoch = floorDiv(ns, r.length)
	return epoch, ns >= (epoch+1)*r.length-r.skew
}

func (r *Ring) publish(epoch int64, early bool) {
	other := epoch - 1
	if early {
		other = epoch + 1
	}
	k := &Keys{
		epoch: epoch, early: early,
		maxAge: uint32(2*r.length/int64(time.Millisecond)) + tsMask,
		skew:   uint32(r.skew / int64(time.Millisecond)),
	}
	k.slot[epoch&1] = r.key(epoch)
	k.slot[other&1] = r.key(other)
	k.fastOpen = r.fastOpen[0]
	if epoch >= r.from {
		k.fastOpen = r.fastOpen[1]
	}
	r.keys.Store(k)
}

func (r *Ring) key(epoch int64) prf {
	if epoch < r.from {
		return r.old.epochPRF(epoch, time.Duration(r.length))
	}
	return r.secret.epochPRF(epoch, time.Duration(r.length))
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
