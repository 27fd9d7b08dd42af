package flow

import "fmt"

// inUse is the link of an entry that somebody holds.
const inUse = ^uint32(0)

// freeList hands out the indices 1 to len(link)-1 of a table, last returned first,
// so that memory still in cache is used again. An index that was never
// handed out is not touched, and neither is what it stands for. It allocates nothing.
type freeList struct {
	link  []uint32 // of a free entry the next free one, 0 at the end; of another inUse; 0 while never handed out
	head  uint32   // 0 when there is none
	fresh uint32   // the first index that was never handed out
	used  uint32
	high  uint32 // most that were used at a time
}

// newFreeList takes its links from the caller, zeroed; link[0] stands for no entry.
func newFreeList(link []uint32) freeList { return freeList{link: link, fresh: 1} }

// get returns a free index, 0 if there is none.
func (l *freeList) get() uint32 {
	i := l.head
	if i != 0 {
		l.head = l.link[i]
	} else {
		i = l.fresh
		if int(i) >= len(l.link) {
			return 0
		}
		l.fresh++
	}
	l.link[i] = inUse
	l.used++
	if l.used > l.high {
		l.high = l.used
	}
	return i
}

// put takes back what get returned. It panics if i is free: a second owner would
// write into text of another flow.
func (l *freeList) put(i uint32) {
	if l.link[i] != inUse {
		panic(fmt.Sprintf("flow: entry %d is freed twice, or was never taken", i))
	}
	l.link[i] = l.head
	l.head = i
	l.used--
}

// left returns how many get can still return.
func (l *freeList) left() int { return len(l.link) - 1 - int(l.used) }
