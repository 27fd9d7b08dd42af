package dptest

import (
	"bytes"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Process is a program in the background. Its output is kept.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // valid after done

	mu      sync.Mutex
	out     bytes.Buffer
	changed chan struct{} // closed and replaced when out grows
}

// Start starts a program in a namespace. It is killed, with the processes it
// started, at the end of the test; its output is logged if the test failed.
func (l *Lab) Start(t testing.TB, ns string, cmd ...string) *Process {
	t.Helper()
	path, err := LookTool("ip")
	if err != nil {
		t.Fatalf("dptest: %v", err)
	}
	return Start(t, append([]string{path, "netns", "exec", ns}, cmd...)...)
}

// Start is Lab.Start in the namespace of the test.
func Start(t testing.TB, cmd ...string) *Process {
	t.Helper()
	p := &Process{done: make(chan struct{}), changed: make(chan struct{})}
	p.cmd = exec.Command(cmd[0], cmd[1:]...)
	p.cmd.Stdout, p.cmd.Stderr = p, p
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	// A grandchild that keeps the pipe open must not keep Wait from ending.
	p.cmd.WaitDelay = time.Second
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("dptest: starting %s: %v", strings.Join(cmd, " "), err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.Stop()
		if t.Failed() {
			t.Logf("dptest: output of %s:\n%s", strings.Join(cmd, " "), p.Output())
		}
	})
	return p
}

// Write implements io.Writer for the program's output.
func (p *Process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.changed)
	p.changed = make(chan struct{})
	return p.out.Write(b)
}

// Output returns what the program wrote so far, standard error included.
func (p *Process) Output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

// WaitFor waits until the output contains s, and fails the test when the
// program ends or limit passes before that.
func (p *Process) WaitFor(t testing.TB, s string, limit time.Duration) {
	t.Helper()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for ended := false; ; {
		p.mu.Lock()
		found, changed := strings.Contains(p.out.String(), s), p.changed
		p.mu.Unlock()
		switch {
		case found:
			return
		case ended:
			t.Fatalf("dptest: %s ended (%v) without writing %q; it wrote:\n%s", p.cmd, p.err, s, p.Output())
		}
		select {
		case <-changed:
		case <-p.done:
			ended = true // look once more: the last output came before
		case <-timer.C:
			t.Fatalf("dptest: %s did not write %q within %v; it wrote:\n%s", p.cmd, s, limit, p.Output())
		}
	}
}

// Wait waits for the program to end and returns how it did.
func (p *Process) Wait() error {
	<-p.done
	return p.err
}

// Signal sends a signal to the program.
func (p *Process) Signal(s syscall.Signal) error { return p.cmd.Process.Signal(s) }

// Stop kills the program and the processes of its group, and waits for its end.
func (p *Process) Stop() {
	select {
	case <-p.done:
	default:
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-p.done
	}
}
