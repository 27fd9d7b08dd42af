package main

import (
	"math"
	"time"

	"github.com/fastsyn/fastsyn"
)

// idleList finds the flows of a worker on which nothing useful happened for a while. As all wait
// for the same time, a list in the order of touch needs no timers: its front is due first.
type idleList struct {
	after int64 // ns
	// By flow index; 0, which no flow has, holds front and back.
	slots []idleSlot
}

// idleSlot is a flow in the list: 32 bytes.
type idleSlot struct {
	id         fastsyn.FlowID
	prev, next uint32
	at         int64  // when it was touched
	left       uint32 // text on its way when it was looked at last
	closed     bool   // by us, for it was idle
}

// newIdleList is one for flows that may rest for after, and up to idleGrain longer.
func newIdleList(after time.Duration) *idleList {
	return &idleList{after: int64(after), slots: make([]idleSlot, 1)}
}

// idleGrain is how close together touches are not told apart, so that a flow of many short
// exchanges is not moved at each.
const idleGrain = int64(time.Second)

// add begins to watch a flow, in place of one that had its index before.
func (l *idleList) add(id fastsyn.FlowID, now int64) {
	i := id.Index()
	if n := int(i) + 1 - len(l.slots); n > 0 {
		l.slots = append(l.slots, make([]idleSlot, n)...)
	}
	l.remove(i)
	l.slots[i] = idleSlot{id: id, at: now}
	l.push(i)
}

// touch says that something useful happened on a flow.
func (l *idleList) touch(id fastsyn.FlowID, now int64) {
	if s := l.slot(id); s != nil && now-s.at >= idleGrain && !s.closed {
		l.rest(id.Index(), 0, now)
	}
}

// forget ends the watch.
func (l *idleList) forget(id fastsyn.FlowID) {
	if l.slot(id) != nil {
		l.remove(id.Index())
	}
}

// due returns a flow that has rested for too long; when there is none, nil and the time when
// there may be one. The flow stays at the front until rest or forget.
func (l *idleList) due(now int64) (*idleSlot, int64) {
	i := l.slots[0].next
	if i == 0 {
		return nil, math.MaxInt64
	}
	s := &l.slots[i]
	if t := s.at + l.after + idleGrain; t > now {
		return nil, t
	}
	return s, now
}

// rest has flow i wait once more.
func (l *idleList) rest(i, left uint32, now int64) {
	s := l.slots[i]
	l.remove(i)
	s.at, s.left = now, left
	l.slots[i] = s
	l.push(i)
}

func (l *idleList) slot(id fastsyn.FlowID) *idleSlot {
	if i := int(id.Index()); id.Valid() && i < len(l.slots) && l.slots[i].id == id {
		return &l.slots[i]
	}
	return nil
}

func (l *idleList) push(i uint32) {
	head := &l.slots[0]
	last := head.prev
	l.slots[i].prev, l.slots[i].next = last, 0
	l.slots[last].next, head.prev = i, i
}

func (l *idleList) remove(i uint32) {
	s := &l.slots[i]
	if !s.id.Valid() {
		return
	}
	l.slots[s.prev].next, l.slots[s.next].prev = s.next, s.prev
	*s = idleSlot{}
}
