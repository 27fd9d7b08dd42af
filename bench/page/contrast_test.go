package page

import (
	"math"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// luminance of a colour as WCAG 2.2 defines it.
func luminance(t *testing.T, hex string) float64 {
	t.Helper()
	hex = hex[1:]
	if len(hex) == 3 {
		hex = string([]byte{hex[0], hex[0], hex[1], hex[1], hex[2], hex[2]})
	}
	n, err := strconv.ParseUint(hex, 16, 32)
	require.NoError(t, err)
	part := func(v uint64) float64 {
		f := float64(v&255) / 255
		if f <= 0.04045 {
			return f / 12.92
		}
		return math.Pow((f+0.055)/1.055, 2.4)
	}
	return 0.2126*part(n>>16) + 0.7152*part(n>>8) + 0.0722*part(n)
}

func contrast(t *testing.T, a, b string) float64 {
	t.Helper()
	x, y := luminance(t, a), luminance(t, b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

var colour = `(#[0-9a-f]{3}(?:[0-9a-f]{3})?)`

// Text can be read on both grounds in both modes (WCAG 2.2 AA), and so can the lines of plots.
func TestContrast(t *testing.T) {
	colours := map[string][2]string{}
	for _, m := range regexp.MustCompile(`--(\w+):light-dark\(`+colour+`,`+colour+`\)`).FindAllStringSubmatch(style, -1) {
		colours[m[1]] = [2]string{m[2], m[3]}
	}
	for _, name := range []string{"ink", "quiet", "accent", "good", "red", "blue", "orange", "purple", "green", "olive"} {
		require.Contains(t, colours, name)
		for mode := range 2 {
			for _, ground := range []string{"card", "ground"} {
				c := contrast(t, colours[name][mode], colours[ground][mode])
				require.GreaterOrEqual(t, c, 4.5, "%s on %s, mode %d", name, ground, mode)
			}
		}
	}
}

// The levels of the heat map go one way only, in even steps: from the ground away, in both modes.
func TestHeatScale(t *testing.T) {
	levels := regexp.MustCompile(`\.h(\d+)\{fill:light-dark\(`+colour+`,`+colour+`\)\}`).FindAllStringSubmatch(style, -1)
	require.Len(t, levels, heatLevels)
	lightness := func(hex string) float64 { return 116*math.Cbrt(luminance(t, hex)) - 16 } // CIE 1976 L*
	for i := 1; i < heatLevels; i++ {
		require.Equal(t, strconv.Itoa(i), levels[i][1])
		for mode, down := range []bool{true, false} {
			step := lightness(levels[i][2+mode]) - lightness(levels[i-1][2+mode])
			if down {
				step = -step
			}
			require.Greater(t, step, 4.0, "level %d, mode %d", i, mode)
			require.Less(t, step, 9.0, "level %d, mode %d", i, mode)
		}
	}
}
