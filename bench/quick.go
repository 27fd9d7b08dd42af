package bench

import "math/bits"

// Quick is a histogram of nanoseconds for a place where even that of a latency would be felt. 16 buckets
// for each doubling, so a value is kept to 3 %; runs of equal values, as those of one burst often
// are, are recorded at once. It belongs to one goroutine; the zero value is ready.
type Quick struct {
	counts [quickBuckets]uint64
	last   int64
	run    uint64 // of last, not in counts yet
}

const (
	quickBits    = 4 // of a value, after the first
	quickRange   = 38
	quickBuckets = (quickRange - quickBits + 1) << quickBits
)

// Record counts ns; below 0 is 0, above 274 s is that.
func (q *Quick) Record(ns int64) {
	if ns != q.last {
		q.settle()
		q.last = ns
	}
	q.run++
}

// settle counts the run that is open.
func (q *Quick) settle() {
	q.counts[quickBucket(q.last)] += q.run
	q.run = 0
}

func quickBucket(ns int64) int {
	v := min(uint64(max(ns, 0)), 1<<quickRange-1)
	e := bits.Len64(v|(1<<quickBits)) - quickBits - 1
	return e<<quickBits + int(v>>e)
}

// AddTo adds what was recorded to sum.
func (q *Quick) AddTo(sum *Quick) {
	q.settle()
	for i, n := range q.counts {
		sum.counts[i] += n
	}
}

// Distribution returns it under a name; each value stands in the middle of its bucket.
func (q *Quick) Distribution(name string) Distribution {
	q.settle()
	h := newLatency().h
	for i, n := range q.counts {
		if n > 0 {
			from, to := quickBounds(i)
			_ = h.RecordValues(from+(to-from)/2, int64(n)) // in range: cannot fail
		}
	}
	return Distribution{name, h}
}

// quickBounds are the least and the largest value of bucket i.
func quickBounds(i int) (from, to int64) {
	e := max(0, i>>quickBits-1)
	from = int64(i-e<<quickBits) << e
	return from, from + 1<<e - 1
}
