package bench

import "fmt"

// sums are the equations that hold between the fields of a report alone, whoever reads it. Those of a
// scenario that was not run are 0 = 0 and left out.
func (r *Report) sums() []Equation {
	h, f, w, s, e := &r.Handshakes, &r.Flows, &r.HTTP, &r.SYNFlood, &r.Echo
	all := []Equation{
		sum("attempted = established + refused + timed out + unreachable + reset + pending",
			h.Attempted, h.Established+h.Refused+h.TimedOut+h.Unreachable+h.Reset+h.Pending),
		sum("established = done + aborted + reset + broken + open", h.Established, f.Done+f.Aborted+f.Reset+f.Broken+f.Open),
		sum("transactions = complete + not connected + bad response + short + reset + broken + pending",
			w.Attempted, w.Complete+w.NotConnected+w.BadResponse+w.Short+w.Reset+w.Broken+w.Pending),
		sum("SYNs sent = answered + reset + unanswered", s.Sent, s.Answered+s.Reset+s.Unanswered),
		sum("frames sent = returned + lost + in flight", e.Sent, e.Returned+e.Lost+e.InFlight),
	}
	for i := range r.Path {
		all = append(all, r.Path[i].sum())
	}
	var out []Equation
	for _, x := range all {
		if x.Left != 0 || x.Right != 0 {
			out = append(out, x)
		}
	}
	return out
}

func sum(name string, left, right uint64) Equation { return Equation{name, left, right, left == right} }

// sum is what came into a stage and what became of it.
func (s *Stage) sum() Equation {
	in, out := s.In+lostBy(s.Added), s.Out+lostBy(s.Lost)
	if !s.Seen { // bounds, which need not add up
		in, out = 0, 0
	}
	return sum(fmt.Sprintf("path, %s: in + added = out + lost", s.Name), in, out)
}
