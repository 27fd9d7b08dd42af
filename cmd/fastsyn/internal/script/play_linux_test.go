package script

import "testing"

func TestScriptsOnTheKernel(t *testing.T) {
	needKernel(t)
	play(t, Kernel, func(t *testing.T, s *Script, fam Family) {
		k := newKernel(t, s.Settings, fam, DefaultLink)
		defer k.free()
		if err := Run(s, fam, k, DefaultLink); err != nil {
			t.Error(err)
		}
	})
}
