package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	logTailLines = 12
	logTailBytes = 16 << 10
	etcdGrace    = time.Second
)

// process is one component, running.
type process struct {
	name    string
	logPath string
	cmd     *exec.Cmd
	ended   chan struct{} // closed when the process is gone
}

// processes are the components in the order they were started. It promises that none of them
// outlives this process, however it ends.
type processes struct {
	executable string
	logDir     string
	all        []*process
	died       chan *process
}

// start runs this binary again as the component name. Call it from the main goroutine only.
func (ps *processes) start(name string, args ...string) error {
	p := &process{name: name, logPath: filepath.Join(ps.logDir, name+".log"), ended: make(chan struct{})}
	_ = os.Rename(p.logPath, p.logPath+".old") // of the run before, if there was one
	log, err := os.OpenFile(p.logPath, os.O_CREATE|os.O_WRONLY|os.O_TRUNC|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	p.cmd = exec.Command(ps.executable, append([]string{name}, args...)...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.Env = os.Environ()
	if os.Getenv("GOGC") == "" {
		p.cmd.Env = append(p.cmd.Env, "GOGC=50") // memory over CPU: many of these share a small machine
	}
	// A group of its own: Ctrl-C at a terminal reaches us alone, and we stop them in order.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", name, err)
	}
	ps.all = append(ps.all, p)
	go func() {
		_ = p.cmd.Wait()
		close(p.ended)
		ps.died <- p
	}()
	return nil
}

// stop ends everything, last started first. All but etcd are killed: kube-apiserver takes a minute
// over SIGTERM, and for ever if etcd went before it.
func (ps *processes) stop() {
	for i := len(ps.all) - 1; i >= 0; i-- {
		p := ps.all[i]
		if p.name == "etcd" {
			_ = p.cmd.Process.Signal(syscall.SIGTERM)
			select {
			case <-p.ended:
			case <-time.After(etcdGrace):
			}
		}
		_ = p.cmd.Process.Kill() // no-op on a process that is gone
		<-p.ended
	}
}

// failure says that a component died, how, and what it said last.
func (p *process) failure() error {
	return fmt.Errorf("%s died (%s); the end of %s:\n%s", p.name, p.cmd.ProcessState, p.logPath, tail(p.logPath))
}

// tail is the last few lines of a file.
func tail(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	if len(text) > logTailBytes {
		text = text[len(text)-logTailBytes:]
	}
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	if len(lines) > logTailLines {
		lines = lines[len(lines)-logTailLines:]
	}
	return strings.TrimSpace("  " + string(bytes.Join(lines, []byte("\n  "))))
}
