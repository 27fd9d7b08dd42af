package page

import (
	"context"
	"fmt"
	"html"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/bench"
	"github.com/fastsyn/fastsyn/dataplane/dptest"
)

// chromium runs it without a window, and returns what it wrote.
func chromium(t *testing.T, args ...string) (stdout, stderr string) {
	t.Helper()
	program, err := dptest.LookTool("chromium")
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	args = append([]string{
		"--headless", "--disable-gpu", "--no-first-run", "--no-sandbox", // root has none
		"--disable-dev-shm-usage", "--user-data-dir=" + t.TempDir(), "--enable-logging=stderr",
	}, args...)
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.WaitDelay = 10 * time.Second
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	require.NoError(t, cmd.Run(), "%s", &errs)
	return out.String(), errs.String()
}

// probe is a page that shows others in frames and says what does not fit in them: what is wider than the
// frame, and labels of plots that cover each other. A frame of srcdoc can be looked into.
const probe = `<!DOCTYPE html><meta charset="utf-8"><body>%s<pre id="found"></pre><script>
addEventListener("load", function () {
  var found = [];
  document.querySelectorAll("iframe").forEach(function (f) {
    var d = f.contentDocument, name = f.name + ": ";
    if (!d.documentElement.classList.contains("js")) { found.push(name + "the script did not run"); }
    if (f.contentWindow.getComputedStyle(d.querySelector("section")).borderRadius === "0px") { found.push(name + "no style"); }
    if (d.documentElement.scrollWidth > f.clientWidth) { found.push(name + d.documentElement.scrollWidth + " wide"); }
    d.querySelectorAll("svg.plot, svg.timeline, svg.drawing").forEach(function (svg) {
      var seen = [];
      svg.querySelectorAll("text").forEach(function (t) {
        var b = t.getBoundingClientRect();
        if (!b.width) { return; }
        if (b.left < 0 || b.right > f.clientWidth) { found.push(name + "label " + t.textContent + " is cut off"); }
        seen.forEach(function (s) {
          if (b.left < s.b.right - 1 && b.right > s.b.left + 1 && b.top < s.b.bottom - 3 && b.bottom > s.b.top + 3) {
            found.push(name + "label " + t.textContent + " covers " + s.t + " in " + svg.querySelector("title").textContent);
          }
        });
        seen.push({b: b, t: t.textContent});
      });
    });
    // The pointer over a column: the readout says what is there.
    var hit = d.querySelector("#time .hit");
    if (hit) {
      hit.dispatchEvent(new f.contentWindow.PointerEvent("pointerover", {bubbles: true}));
      if (!/opens\/s done/.test(d.querySelector("#time .readout").textContent)) { found.push(name + "no readout"); }
    }
  });
  document.getElementById("found").textContent = document.querySelectorAll("iframe").length + " frames\n" + found.join("\n");
});
</script>`

// A browser shows the page as meant: script and style pass its policy, nothing is wider than the
// screen, and no label covers another, on a phone and on a desk.
func TestChromium(t *testing.T) {
	if testing.Short() {
		t.Skip("a browser: not in short runs")
	}
	dptest.Need(t, "chromium")
	all := fixture()
	all.Search = trials()
	short := fixture()
	short.Intervals, short.Phases.Wait, short.Phases.FirstByte = short.Intervals[16:18], bench.Latency{}, all.Phases.SYNACK
	short.Population.Censored = short.Population.Count / 3
	var frames strings.Builder
	for name, r := range map[string]*bench.Report{"all": all, "short": short} {
		page := html.EscapeString(render(t, r))
		for _, width := range []int{360, 390, 768, 1440} {
			fmt.Fprintf(&frames, `<iframe name="%s %d" width="%d" height="800" srcdoc="%s"></iframe>`, name, width, width, page)
		}
	}
	file := filepath.Join(t.TempDir(), "probe.html")
	require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, probe, frames.String()), 0o600))
	dom, log := chromium(t, "--window-size=1600,1000", "--dump-dom", "file://"+file)
	require.NotRegexp(t, `(?i)content security policy|Refused to|Uncaught`, log)
	m := regexp.MustCompile(`(?s)<pre id="found">(.*?)</pre>`).FindStringSubmatch(dom)
	require.NotNil(t, m, "the page was not shown: %s", log)
	require.Equal(t, "8 frames", strings.TrimSpace(html.UnescapeString(m[1])))
}

// On paper the page is several sheets, with what is folded on the screen.
func TestPrint(t *testing.T) {
	if testing.Short() {
		t.Skip("a browser: not in short runs")
	}
	dptest.Need(t, "chromium")
	dir := t.TempDir()
	file, pdf := filepath.Join(dir, "report.html"), filepath.Join(dir, "report.pdf")
	require.NoError(t, os.WriteFile(file, []byte(render(t, fixture())), 0o600))
	chromium(t, "--no-pdf-header-footer", "--print-to-pdf="+pdf, "file://"+file)
	b, err := os.ReadFile(pdf)
	require.NoError(t, err)
	require.Contains(t, string(b[:8]), "%PDF-")
	pages := len(regexp.MustCompile(`/Type /Page\b`).FindAll(b, -1))
	require.Greater(t, pages, 3)
	require.Less(t, pages, 14)
}
