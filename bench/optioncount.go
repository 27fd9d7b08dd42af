package bench

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/fastsyn/fastsyn/handshake"
)

// OptionCount says which options are in use on established flows, as one end knows it.
type OptionCount struct {
	Flows      uint64 `json:"flows"`
	ByCookie   uint64 `json:"by_cookie"` // proved by a SYN cookie; only the end that accepts knows
	WScale     uint64 `json:"wscale"`
	SACK       uint64 `json:"sack"`
	Timestamps uint64 `json:"timestamps"`
	// MSS counts flows by the largest segment that this end sends, as the other announced it.
	MSS map[string]uint64 `json:"mss"`
}

// optionTally is an OptionCount that is being made, by one worker.
type optionTally struct {
	OptionCount
	mss map[uint16]uint64 // few: cookies know a handful of sizes
}

func (o *optionTally) count(i *handshake.Info) {
	one := func(b bool) uint64 {
		if b {
			return 1
		}
		return 0
	}
	o.Flows++
	o.ByCookie += one(i.Cookie)
	o.WScale += one(i.WScale)
	o.SACK += one(i.SACK)
	o.Timestamps += one(i.Timestamps)
	o.mss[i.MSS]++
}

// add adds o to sum.
func (o *optionTally) add(sum *OptionCount) {
	sum.Flows += o.Flows
	sum.ByCookie += o.ByCookie
	sum.WScale += o.WScale
	sum.SACK += o.SACK
	sum.Timestamps += o.Timestamps
	if sum.MSS == nil {
		sum.MSS = map[string]uint64{}
	}
	for mss, n := range o.mss {
		sum.MSS[strconv.Itoa(int(mss))] += n
	}
}

// text is the shares of the options, and the MSS values.
func (o *OptionCount) text() string {
	share := func(n uint64) string { return percent(n, o.Flows) }
	s := fmt.Sprintf("window scale %s, SACK %s, timestamps %s, MSS", share(o.WScale), share(o.SACK), share(o.Timestamps))
	var sizes []int
	for size := range o.MSS {
		n, _ := strconv.Atoi(size)
		sizes = append(sizes, n)
	}
	slices.Sort(sizes)
	slices.Reverse(sizes)
	var list []string
	for i, n := range sizes {
		if i == 4 {
			list = append(list, "...")
			break
		}
		list = append(list, fmt.Sprintf("%d (%s)", n, share(o.MSS[strconv.Itoa(n)])))
	}
	return s + " " + strings.Join(list, ", ")
}

// percent is n of all, with as many digits as tell it from none and all.
func percent(n, all uint64) string {
	if all == 0 {
		return "-"
	}
	x := 100 * float64(n) / float64(all)
	switch {
	case n == 0 || n == all:
		return fmt.Sprintf("%.0f %%", x)
	case x > 99.9 || x < 0.1:
		return fmt.Sprintf("%.3f %%", min(x, 99.999))
	}
	return fmt.Sprintf("%.1f %%", x)
}
