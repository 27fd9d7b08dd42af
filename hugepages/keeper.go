package hugepages

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"time"
)

// Keeper adds pages to the hugetlb pools, remembers what it added, and gives
// back exactly that. Its memory is a directory of files, so that it outlives the
// process: what a process reserved and did not release before it died is found by the
// next one. All processes that use the same directory take turns.
//
// It needs root, since Linux lets nobody else change the pools.
type Keeper struct {
	root    fs.FS
	dir     string
	base    uint64                         // bytes of a base page
	write   func(name, value string) error // to a file of root
	mount   func(dir string, page uint64) error
	unmount func(dir string) error
	lock    func(dir string) (unlock func() error, err error)
}

// NewKeeper returns a keeper that remembers in dir, StateDir if dir is "". Wraps
// errors.ErrUnsupported on other systems than Linux.
func NewKeeper(dir string) (*Keeper, error) {
	k, err := newKeeper()
	if err != nil {
		return nil, err
	}
	if k.dir = dir; dir == "" {
		k.dir = StateDir
	}
	k.base = uint64(os.Getpagesize())
	return k, nil
}

// ReserveOptions tune Reserve. The zero value binds the pages to this process.
type ReserveOptions struct {
	// Keep lets the reservation outlive this process until it is released by hand.
	Keep bool
	// Mount is a directory on which to have a hugetlbfs, "" for none. It is made
	// if missing. A hugetlbfs of the same page size that is there already is used.
	Mount string
	// Compact has the kernel defragment memory first, which takes a while.
	Compact bool
}

// Reserve adds count pages of page bytes to the pool, on a NUMA node or AnyNode. The
// kernel may give fewer: then the reservation is what it gave, and Short says
// why. None at all is an error, as is asking for nearly all memory there is.
func (k *Keeper) Reserve(page uint64, count, node int, opts ReserveOptions) (r *Reservation, err error) {
	if count < 1 {
		return nil, fmt.Errorf("hugepages: reserve %d pages: want at least 1", count)
	}
	pools, err := PoolsFS(k.root)
	if err != nil {
		return nil, err
	}
	pool, err := find(pools, page)
	if err != nil {
		return nil, err
	}
	if uint64(count) > 1<<62/page {
		return nil, fmt.Errorf("hugepages: reserve %d pages of %s: more memory than can be addressed", count, BytesText(page))
	}
	if _, ok := pool.On(node); !ok && node != AnyNode {
		return nil, fmt.Errorf("hugepages: reserve on NUMA node %d: no such node; there are %s", node, nodeList(pool.Nodes))
	}
	if err := k.affordable(page, uint64(count), node); err != nil {
		return nil, err
	}
	if err := k.makeDir(); err != nil {
		return nil, err
	}
	unlock, err := k.lock(k.dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if r, err = k.plan(page, uint64(count), node, opts.Keep); err != nil {
		return nil, err
	}
	if opts.Compact {
		if err := k.write("proc/sys/vm/compact_memory", "1"); err != nil {
			return nil, k.denied("compact memory", "proc/sys/vm/compact_memory", "1", err)
		}
	}
	if err := writeRecord(k.dir, r); err != nil {
		return nil, err
	}
	err = k.grow(r)
	if err == nil && opts.Mount != "" {
		err = k.makeMount(r, opts.Mount)
	}
	if err != nil {
		_, undo := k.release(r, 0)
		return nil, errors.Join(err, undo)
	}
	return r, writeRecord(k.dir, r)
}

// plan describes the reservation before anything is changed.
func (k *Keeper) plan(page, count uint64, node int, keep bool) (*Reservation, error) {
	me, err := selfFS(k.root)
	if err != nil {
		return nil, err
	}
	me.Kept = keep
	var id [4]byte
	_, _ = rand.Read(id[:]) // never fails
	r := &Reservation{
		Schema: recordSchema, ID: fmt.Sprintf("r%d-%s", me.PID, hex.EncodeToString(id[:])),
		PageBytes: page, Node: node, Asked: count, Owner: me, Since: time.Now().UTC().Round(0), Pending: true,
	}
	live, err := recordsFS(os.DirFS(k.dir), ".")
	if err != nil {
		return nil, err
	}
	for i := range live {
		// Whoever is not done although we have the lock is dead. Settle what it
		// added before the pool grows any further.
		if o := &live[i]; o.Pending && o.Owner.BootID == me.BootID {
			if err := k.attribute(o); err != nil {
				return nil, err
			}
			o.Pending = false
			if err := writeRecord(k.dir, o); err != nil {
				return nil, err
			}
		}
	}
	if r.Shares, err = k.measure(page); err != nil {
		return nil, err
	}
	for i := range r.Shares {
		s := &r.Shares[i]
		s.Others = s.Before
		for _, other := range live {
			if other.Owner.BootID != me.BootID || other.PageBytes != page {
				continue
			}
			for _, o := range other.Shares {
				if o.Node == s.Node {
					s.Others -= min(s.Others, o.Pages)
				}
			}
		}
	}
	return r, nil
}

// measure returns the size of the pool by node as Before, without surplus.
func (k *Keeper) measure(page uint64) ([]NodeShare, error) {
	pools, err := PoolsFS(k.root)
	if err != nil {
		return nil, err
	}
	p, err := find(pools, page)
	if err != nil {
		return nil, err
	}
	if len(p.Nodes) == 0 {
		return []NodeShare{{Node: AnyNode, Before: persistent(p.Total, p.Surplus)}}, nil
	}
	var out []NodeShare
	for _, n := range p.Nodes {
		out = append(out, NodeShare{Node: n.Node, Before: persistent(n.Total, n.Surplus)})
	}
	return out, nil
}

// knob is the file that sets the size of a pool, of one node or of all.
func knob(page uint64, node int) string {
	if node == AnyNode {
		return path.Join(poolDir, sizeDir(page), "nr_hugepages")
	}
	return path.Join(nodeDir, fmt.Sprintf("node%d/hugepages", node), sizeDir(page), "nr_hugepages")
}

// grow adds what r asks for and notes where it came.
func (k *Keeper) grow(r *Reservation) error {
	var base uint64
	for _, s := range r.Shares {
		if r.Node == AnyNode || s.Node == r.Node {
			base += s.Before
		}
	}
	file, target := knob(r.PageBytes, r.Node), fmt.Sprint(base+r.Asked)
	// The kernel stops adding pages when the thread has a signal pending
	// (set_max_huge_pages in mm/hugetlb.c), and the Go scheduler uses signals. So
	// writing goes on while it helps.
	for stalled, last := 0, uint64(0); stalled < 3 && last < r.Asked; {
		if err := k.write(file, target); err != nil {
			if last > 0 {
				break
			}
			return k.denied(fmt.Sprintf("reserve %d pages of %s", r.Asked, BytesText(r.PageBytes)), file, target, err)
		}
		if err := k.attribute(r); err != nil {
			return err
		}
		if n := r.Pages(); n > last {
			stalled, last = 0, n
		} else {
			stalled++
		}
	}
	r.Pending = false
	got := r.Pages()
	if got < r.Asked {
		r.Short = k.whyShort(r, got)
	}
	if got == 0 {
		return fmt.Errorf("hugepages: reserve %s: %s", r.request(), r.Short)
	}
	return nil
}

// attribute sets the pages of r to what the pool has grown by since r was
// planned, but never to more than was asked for.
func (k *Keeper) attribute(r *Reservation) error {
	now, err := k.measure(r.PageBytes)
	if err != nil {
		return err
	}
	left := r.Asked
	for i := range r.Shares {
		s := &r.Shares[i]
		s.Pages = 0
		for _, n := range now {
			if n.Node == s.Node && n.Before > s.Before && (r.Node == AnyNode || s.Node == r.Node) {
				s.Pages = min(n.Before-s.Before, left)
				left -= s.Pages
			}
		}
	}
	return nil
}

func (r *Reservation) request() string {
	s := fmt.Sprintf("%d pages of %s", r.Asked, BytesText(r.PageBytes))
	if r.Node != AnyNode {
		s += fmt.Sprintf(" on node %d", r.Node)
	}
	return s
}

// Released is what became of a reservation.
type Released struct {
	ID        string `json:"id"`
	PageBytes uint64 `json:"page_bytes"`
	Pages     uint64 `json:"pages"` // given back
	Busy      uint64 `json:"busy"`  // in use or promised: still reserved, and remembered
	Lost      uint64 `json:"lost"`  // taken out of the pool by somebody else already
	// Gone: the reservation was made before the last boot, so there was nothing to give back.
	Gone      bool   `json:"gone"`
	Unmounted string `json:"unmounted,omitempty"` // the hugetlbfs of the reservation
}

// Release gives back pages of a reservation, at most limit of them, all if limit is 0.
// A page that is in use stays, and stays remembered, for a later Release. Pages
// that somebody else reserved stay too, whatever happened to the pool meanwhile.
func (k *Keeper) Release(r *Reservation, limit uint64) (out Released, err error) {
	unlock, err := k.lock(k.dir)
	if err != nil {
		return Released{}, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	// Another process may have released it since r was read.
	records, err := recordsFS(os.DirFS(k.dir), ".")
	for i := range records {
		if records[i].ID == r.ID {
			return k.release(&records[i], limit)
		}
	}
	return Released{}, errors.Join(err, fmt.Errorf("hugepages: release %s: no such reservation in %s: released already", r.ID, k.dir))
}

// release needs the lock.
func (k *Keeper) release(r *Reservation, limit uint64) (Released, error) {
	out := Released{ID: r.ID, PageBytes: r.PageBytes}
	if lifeFS(k.root, r.Owner) == Gone {
		out.Gone = true
		return out, removeRecord(k.dir, r)
	}
	if r.Pending {
		if err := k.attribute(r); err != nil {
			return out, err
		}
		r.Pending = false
	}
	all := limit == 0 || limit >= r.Pages()
	if all && r.Mount != nil {
		if err := k.dropMount(r.Mount); err != nil {
			return out, err
		}
		out.Unmounted, r.Mount = r.Mount.Path, nil
	}
	if limit == 0 {
		limit = r.Pages()
	}
	for i := range r.Shares {
		s := &r.Shares[i]
		want := min(s.Pages, limit)
		if want == 0 {
			continue
		}
		limit -= want
		if err := k.shrink(r.PageBytes, s, want, &out); err != nil {
			return out, errors.Join(err, writeRecord(k.dir, r))
		}
	}
	if r.Pages() == 0 && r.Mount == nil {
		return out, removeRecord(k.dir, r)
	}
	return out, writeRecord(k.dir, r)
}

// shrink gives back up to want pages of a share.
func (k *Keeper) shrink(page uint64, s *NodeShare, want uint64, out *Released) error {
	pools, err := PoolsFS(k.root)
	if err != nil {
		return err
	}
	p, err := find(pools, page)
	if err != nil {
		return err
	}
	size, free := persistent(p.Total, p.Surplus), p.Available()
	if s.Node != AnyNode {
		n, ok := p.On(s.Node)
		if !ok {
			return fmt.Errorf("hugepages: release on NUMA node %d: the node is gone: nothing was changed", s.Node)
		}
		size, free = persistent(n.Total, n.Surplus), min(n.Free, free)
	}
	// Down to what others had, if somebody made the pool smaller meanwhile.
	ours := min(want, size-min(size, s.Others))
	lost := want - ours
	// Free pages only: the kernel would turn pages in use into surplus, and
	// promised ones are needed by those who mapped them.
	give := min(ours, free)
	if give > 0 {
		target := fmt.Sprint(size - give)
		if err := k.write(knob(page, s.Node), target); err != nil {
			return k.denied(fmt.Sprintf("release %d pages of %s", give, BytesText(page)), knob(page, s.Node), target, err)
		}
	}
	s.Pages -= give + lost
	out.Pages, out.Lost, out.Busy = out.Pages+give, out.Lost+lost, out.Busy+ours-give
	return nil
}

// List returns the reservations remembered, oldest first, with their Life.
func (k *Keeper) List() ([]Reservation, error) {
	if _, err := os.Stat(k.dir); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	records, err := recordsFS(os.DirFS(k.dir), ".")
	for i := range records {
		records[i].Life = lifeFS(k.root, records[i].Owner)
	}
	return records, err
}

// ReleaseStale gives back what processes reserved that have died since, and
// forgets what was reserved before the last boot. First it removes the files that
// dead processes left in the hugetlbfs mounts of this machine, for they hold pages.
func (k *Keeper) ReleaseStale() (out []Released, files []string, err error) {
	mounts, err := MountsFS(k.root)
	if err != nil {
		return nil, nil, err
	}
	for _, m := range mounts {
		if m.Usable {
			swept, e := sweep(k.root, m.Path)
			files, err = append(files, swept...), errors.Join(err, e)
		}
	}
	records, e := k.List()
	err = errors.Join(err, e)
	for i := range records {
		if l := records[i].Life; l == Dead || l == Gone {
			r, e := k.Release(&records[i], 0)
			err = errors.Join(err, e)
			if e == nil {
				out = append(out, r)
			}
		}
	}
	return out, files, err
}

func (k *Keeper) makeDir() error {
	if err := os.MkdirAll(k.dir, 0o755); err != nil {
		return fmt.Errorf("hugepages: remember reservations: %w: run as root (sudo), or name another directory", err)
	}
	return nil
}
