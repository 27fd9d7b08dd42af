package dptest

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/fastsyn/fastsyn/dataplane/netlab"
)

// RequireEnv names the environment variable that turns skips into failures: a
// comma separated list of needs, or "all". CI sets it, so that a test which
// should run there cannot be skipped unnoticed.
const RequireEnv = "FASTSYN_REQUIRE"

// need is one thing a test can need.
type need struct {
	check  func() error // nil when the machine has it
	remedy string
}

// tools maps programs to the Debian package that has them.
var tools = map[string]string{
	"ab":        "apache2-utils",
	"bpftool":   "bpftool",
	"chromium":  "chromium",
	"conntrack": "conntrack",
	"curl":      "curl",
	"ethtool":   "ethtool",
	"haproxy":   "haproxy",
	"hping3":    "hping3",
	"ip":        "iproute2",
	"iperf3":    "iperf3",
	"iptables":  "iptables",
	"nc":        "netcat-openbsd",
	"nft":       "nftables",
	"nginx":     "nginx",
	"ping":      "iputils-ping",
	"openssl":   "openssl",
	"python3":   "python3",
	"qemu":      "qemu-system-x86",
	"socat":     "socat",
	"ssh":       "openssh-client",
	"sshd":      "openssh-server",
	"ss":        "iproute2",
	"tc":        "iproute2",
	"tcpdump":   "tcpdump",
	"testpmd":   "dpdk",
	"tshark":    "tshark",
	"wrk":       "wrk",
}

// needs are all known needs.
var needs = func() map[string]need {
	m := map[string]need{
		"root": {isRoot, "run the test as root (go test -exec sudo)"},
		"netns": {canNetNS, "run as root, or with CAP_SYS_ADMIN and CAP_NET_ADMIN, where network namespaces may be made" +
			" (docker run --privileged), and apt install iproute2"},
		"cap_net_raw":   {canRaw, "run as root, or setcap cap_net_raw+ep on the test binary (docker run --cap-add NET_RAW)"},
		"cap_net_admin": {canAdmin, "run as root, or setcap cap_net_admin+ep on the test binary (docker run --cap-add NET_ADMIN)"},
		"hugepages":     {hasHugepages, "reserve some: sysctl vm.nr_hugepages=64"},
		"dpdk":          {hasDPDK, "install libdpdk-dev and pkg-config, then CGO_ENABLED=1 go test -tags dpdk"},
		"tun":           {canTun, "modprobe tun (docker run --device /dev/net/tun)"},
		"busybox":       {hasBusybox, "apt install busybox-static"},
		"guestkernel": {hasGuestKernel, ".ci/deps --guest-kernel (downloads a kernel package of Debian's into the cache and" +
			" unpacks it there; nothing is installed, no root needed)"},
	}
	m["afpacket"] = m["cap_net_raw"]
	for tool, pkg := range tools {
		m[tool] = need{func() error { _, err := LookTool(tool); return err }, "apt install " + pkg}
	}
	return m
}()

// short is replaced by the tests of Need.
var short = testing.Short

// Need skips the test with the reason and the remedy when the machine lacks
// one of what: "root", "netns", "afpacket" (or "cap_net_raw"), "cap_net_admin",
// "hugepages", "tun", "dpdk", "guestkernel", or a program such as "tcpdump". When RequireEnv lists what is
// missing, the test fails instead. A name that is not known fails the test.
//
// With -short it skips whatever the machine has: the kernel on the far side
// does not see how this program was built, so one build is enough for it.
func Need(t testing.TB, what ...string) {
	t.Helper()
	if short() {
		t.Skipf("dptest: needs %v: -short leaves out tests that need the machine", what)
	}
	required := requirement(t)
	for _, w := range what {
		n, ok := needs[w]
		if !ok {
			t.Fatalf("dptest: need %q is not known (known: %s)", w, known())
		}
		err := n.check()
		if err == nil {
			continue
		}
		if required[w] || required["all"] {
			t.Fatalf("dptest: needs %s, which %s requires: %v; to fix it: %s", w, RequireEnv, err, n.remedy)
		}
		t.Skipf("dptest: needs %s: %v; to run this test: %s", w, err, n.remedy)
	}
}

// requirement reads RequireEnv. A typing error there fails the test, or it
// would quietly require nothing.
func requirement(t testing.TB) map[string]bool {
	t.Helper()
	m := map[string]bool{}
	for w := range strings.SplitSeq(os.Getenv(RequireEnv), ",") {
		w = strings.TrimSpace(w)
		if w == "" {
			continue
		}
		if _, ok := needs[w]; !ok && w != "all" {
			t.Fatalf("dptest: %s lists %q, which is not known (known: all, %s)", RequireEnv, w, known())
		}
		m[w] = true
	}
	return m
}

func known() string { return strings.Join(slices.Sorted(maps.Keys(needs)), ", ") }

// aliases are the file names of programs that have others than we use.
var aliases = map[string][]string{
	"qemu":    {"qemu-system-x86_64"},
	"testpmd": {"dpdk-testpmd", "testpmd"},
}

// LookTool returns the path of a program, also looking where PATH of ordinary users does not.
func LookTool(name string) (string, error) {
	candidates, ok := aliases[name]
	if !ok {
		candidates = []string{name}
	}
	for _, c := range candidates {
		if p, err := netlab.LookTool(c); err == nil {
			return p, nil
		}
	}
	return "", fmt.Errorf("program %s: %w", name, exec.ErrNotFound)
}

func isRoot() error {
	if os.Geteuid() != 0 {
		return errors.New("not running as root")
	}
	return nil
}
