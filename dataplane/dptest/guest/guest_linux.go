package guest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fastsyn/fastsyn/dataplane/dptest"
)

// Config says what Boot boots. The zero value of every field but Image and NIC is its default.
type Config struct {
	Image *Image // programs; Boot adds busybox, modules and the rest
	// NIC is the device as QEMU's -device has it, without netdev, mac and place, such
	// as "virtio-net-pci,mq=on,rss=on,vectors=6": vectors are twice the queues and two.
	NIC       string
	Driver    Driver
	HugePages int           // of 2 MiB, reserved
	CPUs      int           // 0: 3, one for each of two workers and one for the rest
	MemoryMiB int           // 0: 512
	Limit     time.Duration // of the guest's life; 0: a minute
	Verbose   bool          // log the kernel's console even if the test passes
}

// grace is how much longer than the guest itself the host waits before it kills QEMU.
const grace = 10 * time.Second

// Guest is a running guest. Its methods are for the goroutine of the test.
type Guest struct {
	cmd      *exec.Cmd
	con      *console
	kernel   string // file of the kernel's messages
	deadline time.Time
	output   output        // of QEMU
	done     chan struct{} // closed when QEMU has ended
	jobs     int
}

// Needs are what Boot needs of the machine (dptest.Need).
var Needs = []string{"netns", "tun", "qemu", "busybox", "guestkernel"}

// Boot boots a guest whose NIC is at the other end of the lab's tap, and ends it
// with the test. It returns when the guest takes commands.
func Boot(t testing.TB, lab *dptest.Lab, c Config) *Guest {
	t.Helper()
	dptest.Need(t, Needs...)
	if c.CPUs == 0 {
		c.CPUs = 3
	}
	if c.MemoryMiB == 0 {
		c.MemoryMiB = 512
	}
	if c.Limit == 0 {
		c.Limit = time.Minute
	}
	var g *Guest
	for attempt := 1; ; attempt++ {
		g = &Guest{done: make(chan struct{}), deadline: time.Now().Add(c.Limit)}
		if err := g.start(t, lab, &c); err != nil {
			t.Fatalf("guest: %v", err)
		}
		err := g.boot(bootSilence)
		if err == nil {
			break
		}
		g.stop()
		if attempt == bootAttempts || !errors.Is(err, errSilent) {
			t.Fatalf("guest: booting: %v; %s", err, g.trouble())
		}
		t.Logf("guest: booting: %v; once more. %s", err, g.trouble())
	}
	t.Cleanup(func() {
		g.stop()
		if t.Failed() || c.Verbose {
			t.Logf("guest: %s", g.trouble())
		}
	})
	return g
}

// On a machine with far more to do than processors, emulated processors now and then
// wait for each other for ever while the kernel starts them (2 of about 80 boots at loads
// of 4 to 20 per processor, QEMU 7.2). Nothing of what is tested has begun by then.
const (
	bootAttempts = 3
	bootSilence  = 30 * time.Second // without a message of the kernel
)

// errSilent says that a kernel stopped booting without a word.
var errSilent = errors.New("the kernel has fallen silent")

// boot waits until the guest takes commands.
func (g *Guest) boot(silence time.Duration) error {
	size, last := int64(-1), time.Now()
	for {
		err := g.con.greeted(time.Second)
		if !errors.Is(err, errNoAnswer) {
			return err
		}
		st, err := os.Stat(g.kernel)
		if err == nil && st.Size() != size {
			size, last = st.Size(), time.Now()
		}
		if time.Since(last) > silence || time.Now().After(g.deadline) {
			return errSilent
		}
	}
}

// start builds the image and starts QEMU in the lab's namespace.
func (g *Guest) start(t testing.TB, lab *dptest.Lab, c *Config) error {
	kernel, err := FindKernel()
	if err != nil {
		return err
	}
	names, bind := c.Driver.modules()
	modules, err := kernel.Order(names...)
	if err != nil {
		return err
	}
	image, err := buildImage(c, modules, bind)
	if err != nil {
		return err
	}
	dir := t.TempDir()
	initrd := filepath.Join(dir, "initrd")
	if err := writeImage(image, initrd); err != nil {
		return err
	}
	g.kernel = filepath.Join(dir, "console")
	ip, err := dptest.LookTool("ip")
	if err != nil {
		return err
	}
	qemu, err := dptest.LookTool("qemu")
	if err != nil {
		return err
	}
	args := append([]string{
		// Ends QEMU even if this process dies first.
		"netns", "exec", lab.PeerNS, "timeout", "-s", "KILL", strconv.Itoa(int((c.Limit + grace).Seconds())), qemu,
	}, arguments(lab, c, kernel.Image, initrd, g.kernel)...)
	g.cmd = exec.Command(ip, args...)
	g.cmd.Stdout, g.cmd.Stderr = &g.output, &g.output // devices of QEMU print on both
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	g.cmd.WaitDelay = time.Second
	ours, theirs, err := socketPair()
	if err != nil {
		return err
	}
	g.cmd.ExtraFiles = []*os.File{theirs} // becomes agentFD
	err = g.cmd.Start()
	_ = theirs.Close()
	if err != nil {
		_ = ours.Close()
		return fmt.Errorf("starting QEMU: %w", err)
	}
	g.con = newConsole(ours, ours)
	go func() {
		_ = g.cmd.Wait()
		close(g.done)
	}()
	return nil
}

// agentFD is the file descriptor of the agent's console in QEMU.
const agentFD = 3

// socketPair makes two connected sockets (socketpair(2)).
func socketPair() (ours, theirs *os.File, err error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "agent"), os.NewFile(uintptr(fds[1]), "agent of QEMU"), nil
}

func buildImage(c *Config, modules []string, bind string) (*Image, error) {
	m := c.Image.clone()
	busybox, err := dptest.LookTool("busybox")
	if err != nil {
		return nil, err
	}
	if err := m.Program("/bin/busybox", busybox); err != nil {
		return nil, err
	}
	for _, f := range modules {
		if err := m.copyFile("/modules/"+filepath.Base(f), f); err != nil {
			return nil, err
		}
	}
	m.File("/init", 0o755, []byte(initScript(c, modules, bind)))
	m.File("/agent", 0o644, []byte(agent))
	return m, nil
}

func writeImage(m *Image, name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	_, err = m.WriteTo(f)
	return errors.Join(err, f.Close())
}

// cpu is all that QEMU can emulate, right or wrong: the 256-bit VAES of QEMU 7.2
// encrypts the lower block twice, which package cookie has to notice.
const cpu = "max"

// arguments of QEMU (qemu-system-x86_64(1)).
func arguments(lab *dptest.Lab, c *Config, kernel, initrd, console string) []string {
	machine, cmdline := "q35", "console="+kernelTTY+" panic=-1 tsc=reliable no_timer_check"
	nic := c.NIC + ",netdev=n0,addr=02.0,romfile=,mac=" + lab.MAC.String()
	netdev := "tap,id=n0,ifname=" + lab.PeerIf + ",script=no,downscript=no,vhost=off"
	if lab.Queues > 1 {
		netdev += ",queues=" + strconv.Itoa(lab.Queues)
	}
	var more []string
	if c.Driver == VFIO {
		machine += ",kernel-irqchip=off"
		cmdline += " intel_iommu=on iommu=pt"
		more = []string{"-device", "intel-iommu,intremap=on,caching-mode=on,aw-bits=48,device-iotlb=on"}
		nic += ",iommu_platform=on,ats=on"
	}
	args := []string{
		"-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
		"-accel", "tcg,thread=multi", "-cpu", cpu, "-machine", machine,
		"-smp", strconv.Itoa(c.CPUs), "-m", strconv.Itoa(c.MemoryMiB),
		"-kernel", kernel, "-initrd", initrd, "-append", cmdline,
		"-chardev", "file,id=kernel,path=" + strings.ReplaceAll(console, ",", ",,"), "-serial", "chardev:kernel",
		"-chardev", "socket,id=agent,fd=" + strconv.Itoa(agentFD), "-serial", "chardev:agent",
		"-netdev", netdev,
	}
	// The IOMMU comes before the device behind it.
	return append(append(args, more...), "-device", nic)
}

// Run runs a script of sh in the guest and returns how it ended. The test fails if the guest does not answer.
func (g *Guest) Run(t testing.TB, script string) Result {
	t.Helper()
	r, err := g.con.run(script, time.Until(g.deadline)+grace)
	if err != nil {
		t.Fatalf("guest: %s: %v", firstLine(script), err)
	}
	return r
}

// Must is Run of a script that has to succeed. It returns the standard output.
func (g *Guest) Must(t testing.TB, script string) string {
	t.Helper()
	r := g.Run(t, script)
	if r.Code != 0 {
		t.Fatalf("guest: %s: %v", firstLine(script), r)
	}
	return r.Out
}

// ReadFile returns the content of a file of the guest.
func (g *Guest) ReadFile(t testing.TB, name string) []byte {
	t.Helper()
	return []byte(g.Must(t, "cat "+quote(name)))
}

// Job is a command that runs in the background of the guest.
type Job struct {
	g      *Guest
	base   string // of its files in the guest
	script string
}

// Start starts a simple command (sh: no list, no pipe) in the background.
func (g *Guest) Start(t testing.TB, command string) *Job {
	t.Helper()
	g.jobs++
	j := &Job{g: g, base: fmt.Sprintf("/run/job%d", g.jobs), script: command}
	g.Must(t, fmt.Sprintf(`b=%s
echo %s >$b.sh
(sh $b.sh >$b.out 2>$b.err </dev/null & p=$!; echo $p >$b.pid; wait $p; echo $? >$b.tmp; mv $b.tmp $b.code) >/dev/null 2>&1 &
while [ ! -s $b.pid ]; do usleep 1000; done`, j.base, quote("exec "+command)))
	return j
}

// WaitFor waits until the command has written text, and fails the test if it
// ends without, or after limit.
func (j *Job) WaitFor(t testing.TB, text string, limit time.Duration) {
	t.Helper()
	r := j.g.Run(t, fmt.Sprintf(`b=%s i=0
found() { grep -qF -e %s $b.out $b.err; }
until found; do
	[ ! -e $b.code ] || { found; exit; }
	i=$((i+1)); [ $i -lt %d ] || exit 2
	usleep 20000
done`, j.base, quote(text), max(1, limit/(20*time.Millisecond))))
	switch r.Code {
	case 0:
	case 1:
		t.Fatalf("guest: %s ended without writing %q: %v", firstLine(j.script), text, j.Wait(t))
	default:
		t.Fatalf("guest: %s has not written %q: %v", firstLine(j.script), text, j.g.Run(t, fmt.Sprintf("cat %s.out; cat %s.err >&2", j.base, j.base)))
	}
}

// Signal sends a signal, such as "INT".
func (j *Job) Signal(t testing.TB, signal string) {
	t.Helper()
	j.g.Must(t, "kill -"+signal+" $(cat "+j.base+".pid)")
}

// Wait waits for the command's end and returns how it ended.
func (j *Job) Wait(t testing.TB) Result {
	t.Helper()
	code := j.g.Must(t, fmt.Sprintf("while [ ! -e %s.code ]; do usleep 10000; done; cat %s.code", j.base, j.base))
	n, err := strconv.Atoi(strings.TrimSpace(code))
	if err != nil {
		t.Fatalf("guest: exit status of %s: %v", firstLine(j.script), err)
	}
	return Result{n, j.g.Must(t, "cat "+j.base+".out"), j.g.Must(t, "cat "+j.base+".err")}
}

// stop ends QEMU and waits for that.
func (g *Guest) stop() {
	if g.con == nil {
		return
	}
	select {
	case <-g.done:
	default:
		_ = syscall.Kill(-g.cmd.Process.Pid, syscall.SIGKILL)
		<-g.done
	}
	g.con.drain()
}

// trouble is what QEMU and the kernel said.
func (g *Guest) trouble() string {
	kernel, err := os.ReadFile(g.kernel)
	if err != nil {
		kernel = []byte(err.Error())
	}
	return fmt.Sprintf("output of QEMU:\n%s\nconsole of the kernel:\n%s", g.output.String(), bytes.TrimSpace(kernel))
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// output is a buffer that a process writes to while others read.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

var _ io.Writer = (*output)(nil)

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}
