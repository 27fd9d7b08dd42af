package worker

const maxPaths = 4096 // distinct (MAC, VLAN) pairs that peers are remembered behind

// path is where the frames of a peer come from: its own or its router's MAC.
type path struct {
	mac  [6]byte
	vlan uint16 // TCI
}

// paths gives small handles to the (MAC, VLAN) pairs seen, so that a record can
// answer later, from a timer, without a neighbour lookup (NET-003). When it is
// full, handle 0 sends such answers through the neighbour table.
type paths struct {
	all  []path // handle - 1
	hash [2 * maxPaths]uint16
	last uint16
}

func (p *paths) handle(mac [6]byte, vlan uint16) uint16 {
	want := path{mac, vlan}
	if p.last != 0 && p.all[p.last-1] == want {
		return p.last
	}
	h := uint32(2166136261)
	for _, b := range mac {
		h = (h ^ uint32(b)) * 16777619
	}
	h = (h ^ uint32(vlan)) * 16777619
	for i := range uint32(8) {
		slot := &p.hash[(h+i)%(2*maxPaths)]
		if *slot == 0 {
			if len(p.all) == maxPaths {
				return 0
			}
			p.all = append(p.all, want)
			*slot = uint16(len(p.all))
			p.last = *slot
			return *slot
		}
		if p.all[*slot-1] == want {
			p.last = *slot
			return *slot
		}
	}
	return 0
}

func (p *paths) get(h uint16) (path, bool) {
	if h == 0 || int(h) > len(p.all) {
		return path{}, false
	}
	return p.all[h-1], true
}
