package dataplane

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// stub is a port that records how it was opened and closed.
type stub struct {
	name  string
	log   *[]string
	inner Port
}

func (s stub) Info() Info      { return Info{Driver: s.name} }
func (s stub) Queue(int) Queue { return nil }
func (s stub) Stats(int) Stats { return Stats{} }
func (s stub) Close() error {
	*s.log = append(*s.log, "close "+s.name)
	if s.inner != nil {
		return s.inner.Close()
	}
	return nil
}

// register adds test drivers "wire", "lazy" and decorators "deco", "fails" for one test.
func register(t *testing.T) *[]string {
	log := new([]string)
	registry.Lock()
	drivers, decorators := registry.drivers, registry.decorators
	registry.drivers, registry.decorators = nil, nil
	registry.Unlock()
	t.Cleanup(func() {
		registry.Lock()
		registry.drivers, registry.decorators = drivers, decorators
		registry.Unlock()
	})
	Register("wire", Driver{Example: "wire:x?queues=2", Open: func(target string, p *Params) (Port, error) {
		n := p.Int("queues", 1, 1, 8)
		if err := p.Err(); err != nil {
			return nil, err
		}
		*log = append(*log, fmt.Sprintf("open wire %s queues=%d", target, n))
		return stub{"wire", log, nil}, nil
	}})
	Register("lazy", Driver{Example: "lazy:x", Open: func(string, *Params) (Port, error) {
		return stub{"lazy", log, nil}, nil
	}})
	RegisterDecorator("deco", Decorator{Example: "deco(loss=1%):wire:x", Configure: func(p *Params) (func(Port) (Port, error), error) {
		loss := p.Percent("loss", 0)
		return func(inner Port) (Port, error) {
			*log = append(*log, fmt.Sprintf("wrap %s loss=%g", inner.Info().Driver, loss))
			return stub{"deco", log, inner}, nil
		}, p.Err()
	}})
	RegisterDecorator("fails", Decorator{Configure: func(p *Params) (func(Port) (Port, error), error) {
		return func(Port) (Port, error) { return nil, errors.New("fails: no room") }, p.Err()
	}})
	return log
}

func TestOpen(t *testing.T) {
	log := register(t)
	p, err := Open("deco(loss=50%):deco():wire:a:b?queues=3")
	require.NoError(t, err)
	require.NoError(t, p.Close())
	require.Equal(t, []string{
		"open wire a:b queues=3", "wrap wire loss=0", "wrap deco loss=0.5",
		"close deco", "close deco", "close wire",
	}, *log)
}

func TestOpenErrors(t *testing.T) {
	for _, c := range []struct {
		in   string
		want []string
		log  []string
	}{
		{"wier:x", []string{`driver "wier" is not registered`, `did you mean "wire" (example: wire:x?queues=2)`, "known: lazy, wire"}, nil},
		{"zzz:x", []string{`driver "zzz" is not registered (known: lazy, wire)`}, nil},
		{"decco():wire:x", []string{`decorator "decco" is not registered`, `did you mean "deco"`, "known: deco, fails"}, nil},
		{"deco:wire:x", []string{`"deco" is a decorator, not a driver`, "deco(loss=1%):wire:x"}, nil},
		{"wire(a=b):lazy:x", []string{`"wire" is a driver, not a decorator`, "wire:x?queues=2"}, nil},
		{"wire:x?queus=2", []string{`wire has no parameter "queus"`, `did you mean "queues"?`, "known: queues", "example: wire:x?queues=2"}, nil},
		{"wire:x?queues=9", []string{`wire: queues="9": it is a whole number from 1 to 8`}, nil},
		{"wire:x?queues=two&foo=1", []string{`queues="two"`, `no parameter "foo"`}, nil},
		{"deco(los=1%):wire:x", []string{`deco has no parameter "los"`, `did you mean "loss"?`}, nil},
		{"deco(loss=101%):wire:x", []string{`deco: loss="101%": it is a percentage from 0% to 100%`}, nil},
		{"lazy:x?a=b", []string{`lazy has no parameter "a" (it takes none`}, []string{"close lazy"}},
		{"deco():fails():deco():wire:x", []string{"fails: no room"}, []string{
			"open wire x queues=1", "wrap wire loss=0", "close deco", "close wire",
		}},
		{"wire", []string{`write "wire:"`}, nil},
	} {
		t.Run(c.in, func(t *testing.T) {
			log := register(t)
			p, err := Open(c.in)
			require.Nil(t, p)
			for _, w := range c.want {
				require.ErrorContains(t, err, w)
			}
			require.Equal(t, c.log, append([]string(nil), *log...))
		})
	}
	register(t)
	_, err := Open("nope:")
	require.ErrorIs(t, err, ErrUnknownDriver)
}

func TestRegisterMistakes(t *testing.T) {
	register(t)
	open := func(string, *Params) (Port, error) { return nil, nil }
	require.Panics(t, func() { Register("wire", Driver{Open: open}) })
	require.Panics(t, func() { Register("deco", Driver{Open: open}) })
	require.Panics(t, func() { RegisterDecorator("wire", Decorator{}) })
	require.Panics(t, func() { Register("empty", Driver{}) })
	require.Panics(t, func() { Register("", Driver{Open: open}) })
	require.Panics(t, func() { Register("Wire", Driver{Open: open}) })
	require.Equal(t, []string{"lazy", "wire"}, Drivers())
	require.Equal(t, []string{"deco", "fails"}, Decorators())
	require.Equal(t, "wire:x?queues=2", Example("wire"))
	require.Equal(t, "", Example("nope"))
}

func TestParams(t *testing.T) {
	list := []Param{
		{"int", "7"},
		{"pow", "64"},
		{"hex", "0xff"},
		{"float", "1.5"},
		{"pct", "0.5%"},
		{"frac", "0.25"},
		{"dur", "10ms"},
		{"size", "64K"},
		{"big", "2GiB"},
		{"plain", "100"},
		{"on", "yes"},
		{"off", "0"},
		{"str", "a b"},
		{"enum", "rx"},
	}
	p := NewParams("x", "x:y", list)
	require.Equal(t, 7, p.Int("int", 0, 0, 10))
	require.Equal(t, 3, p.Int("absent", 3, 0, 10))
	require.Equal(t, 64, p.PowerOfTwo("pow", 1, 1, 64))
	require.Equal(t, uint64(255), p.Uint64("hex", 0))
	require.Equal(t, 1.5, p.Float("float", 0, 0, 2))
	require.InDelta(t, 0.005, p.Percent("pct", 0), 1e-12)
	require.Equal(t, 0.25, p.Percent("frac", 0))
	require.Equal(t, 10*time.Millisecond, p.Duration("dur", 0, 0, time.Second))
	require.Equal(t, int64(65536), p.Size("size", 0, 0, 1<<20))
	require.Equal(t, int64(2<<30), p.Size("big", 0, 0, 1<<40))
	require.Equal(t, int64(100), p.Size("plain", 0, 0, 1<<20))
	require.True(t, p.Bool("on", false))
	require.False(t, p.Bool("off", true))
	require.Equal(t, "a b", p.String("str", ""))
	require.Equal(t, "rx", p.Enum("enum", "tx", "tx", "rx", "both"))
	require.True(t, p.Has("str"))
	require.False(t, p.Has("none"))
	require.NoError(t, p.Err())
}

func TestParamsBad(t *testing.T) {
	for _, c := range []struct {
		value string
		get   func(*Params)
		want  string
	}{
		{"11", func(p *Params) { p.Int("k", 0, 0, 10) }, "whole number from 0 to 10"},
		{"1.5", func(p *Params) { p.Int("k", 0, 0, 10) }, "whole number"},
		{"", func(p *Params) { p.Int("k", 0, 0, 10) }, "whole number"},
		{"6", func(p *Params) { p.PowerOfTwo("k", 1, 1, 8) }, "power of two from 1 to 8"},
		{"-1", func(p *Params) { p.Uint64("k", 0) }, "whole number"},
		{"NaN", func(p *Params) { p.Float("k", 0, 0, 1) }, "number from 0 to 1"},
		{"NaN%", func(p *Params) { p.Percent("k", 0) }, "percentage"},
		{"-1%", func(p *Params) { p.Percent("k", 0) }, "percentage"},
		{"2", func(p *Params) { p.Percent("k", 0) }, "percentage"},
		{"10", func(p *Params) { p.Duration("k", 0, 0, time.Second) }, "time with its unit"},
		{"2s", func(p *Params) { p.Duration("k", 0, 0, time.Second) }, "from 0s to 1s"},
		{"64k", func(p *Params) { p.Size("k", 0, 0, 100) }, "number of bytes"},
		{"1MM", func(p *Params) { p.Size("k", 0, 0, 1<<40) }, "number of bytes"},
		{"9999999999G", func(p *Params) { p.Size("k", 0, 0, 1<<62) }, "number of bytes"},
		{"maybe", func(p *Params) { p.Bool("k", false) }, "true or false"},
		{"xr", func(p *Params) { p.Enum("k", "tx", "tx", "rx") }, `one of tx, rx; did you mean "rx"?`},
		{"v", func(p *Params) { p.Fail("k", "no such interface") }, "no such interface"},
	} {
		t.Run(c.value, func(t *testing.T) {
			p := NewParams("drv", "drv:x?k=1", []Param{{"k", c.value}})
			c.get(p)
			require.ErrorContains(t, p.Err(), fmt.Sprintf("drv: k=%q: ", c.value))
			require.ErrorContains(t, p.Err(), c.want)
			require.ErrorContains(t, p.Err(), "example: drv:x?k=1")
		})
	}
}

func TestNearest(t *testing.T) {
	known := []string{"afpacket", "afxdp", "dpdk", "loop", "pcap"}
	for in, want := range map[string]string{
		"lop": "loop", "looop": "loop", "afpakcet": "afpacket", "pdck": "dpdk", "af": "afpacket", "packet": "afpacket", "zebra": "", "": "",
	} {
		require.Equal(t, want, nearest(in, known), in)
	}
}
