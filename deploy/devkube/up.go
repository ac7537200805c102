package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// upOptions is the command line of "up".
type upOptions struct {
	dir               string
	apiPort, etcdPort int
	timeout           time.Duration
	apiserverArgs     []string
	noNode            bool
}

func newUpCommand() *cobra.Command {
	var o upOptions
	command := newCommand("up", "Start the whole cluster under DIR and stay until SIGINT or SIGTERM.",
		func(ctx context.Context) error { return up(ctx, o) })
	flags := command.Flags()
	flags.StringVar(&o.dir, "dir", "", "folder of the cluster: data, credentials, logs, kubeconfig (made if missing)")
	flags.IntVar(&o.apiPort, "api-port", 0, "port of the API server on 127.0.0.1 (0: the one used before, or any free one)")
	flags.IntVar(&o.etcdPort, "etcd-port", 0, "port of etcd on 127.0.0.1 (0: likewise)")
	flags.DurationVar(&o.timeout, "timeout", 2*time.Minute, "how long each component may take to become ready")
	flags.StringArrayVar(&o.apiserverArgs, "apiserver-arg", nil, "one more argument for kube-apiserver (may be repeated)")
	flags.BoolVar(&o.noNode, "no-node", false, "do not simulate a node: a kubelet that somebody starts with DIR/pki/node.kubeconfig is the node")
	return command
}

func (o upOptions) validate() error {
	if o.dir == "" {
		return usageError{errors.New("--dir is required")}
	}
	for flag, port := range map[string]int{"--api-port": o.apiPort, "--etcd-port": o.etcdPort} {
		if port < 0 || port > 65535 {
			return usageError{fmt.Errorf("%s: %d is no port; give 1 to 65535, or 0 for any free one", flag, port)}
		}
	}
	if o.apiPort != 0 && o.apiPort == o.etcdPort {
		return usageError{fmt.Errorf("--api-port and --etcd-port are both %d", o.apiPort)}
	}
	return nil
}

// up runs the cluster until ctx ends, which is success, or until a component dies.
func up(ctx context.Context, o upOptions) error {
	started := time.Now()
	if err := o.validate(); err != nil {
		return err
	}
	syscall.Umask(0o077)
	dir, err := openDir(o.dir)
	if err != nil {
		return err
	}
	c, err := newCluster(dir, o, started)
	if err != nil {
		return err
	}
	defer c.processes.stop()
	err = c.start(ctx)
	if err == nil {
		fmt.Printf("devkube ready kubeconfig=%s server=%s\n", c.kubeconfig, c.server)
		err = c.watch(ctx)
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// openDir makes the folder if only its last part is missing, and claims it for this process. The
// claim is a lock the kernel drops with the process; its descriptor stays open on purpose.
func openDir(name string) (string, error) {
	dir, err := filepath.Abs(name)
	if err != nil {
		return "", err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return "", fmt.Errorf("--dir: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "log"), 0o700); err != nil {
		return "", fmt.Errorf("--dir: %w", err)
	}
	lock, err := syscall.Open(filepath.Join(dir, "lock"), syscall.O_CREAT|syscall.O_RDWR|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return "", fmt.Errorf("--dir: %s/lock: %w", dir, err)
	}
	if err := syscall.Flock(lock, syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return "", fmt.Errorf("--dir: another devkube runs in %s", dir)
	}
	return dir, nil
}

// cluster is one running control plane.
type cluster struct {
	dir, server, kubeconfig string
	options                 upOptions
	ports                   ports
	pki                     pki
	processes               processes
	started                 time.Time
}

func newCluster(dir string, o upOptions, started time.Time) (*cluster, error) {
	executable, err := os.Executable()
	if err != nil {
		return nil, err
	}
	chosen, err := choosePorts(dir, o.apiPort, o.etcdPort)
	if err != nil {
		return nil, err
	}
	credentials, err := openPKI(dir)
	if err != nil {
		return nil, err
	}
	return &cluster{
		dir:        dir,
		server:     fmt.Sprintf("https://127.0.0.1:%d", chosen.API),
		kubeconfig: filepath.Join(dir, "kubeconfig"),
		options:    o,
		ports:      chosen,
		pki:        credentials,
		processes: processes{
			executable: executable,
			logDir:     filepath.Join(dir, "log"),
			died:       make(chan *process, 8), // room for every component: a death is never waited for
		},
		started: started,
	}, nil
}

// start brings the components up in the order they need each other. The kubeconfig appears last.
func (c *cluster) start(ctx context.Context) error {
	_ = os.Remove(c.kubeconfig) // one from the run before says nothing about this one
	for component, user := range map[string]string{
		"kube-controller-manager": controllerManagerUser, "kube-scheduler": schedulerUser, "node": nodeUser,
	} {
		if err := c.pki.writeKubeconfig(c.pki.path(component+".kubeconfig"), c.server, user); err != nil {
			return err
		}
	}
	probes, err := c.newProbes()
	if err != nil {
		return err
	}
	if err := errors.Join(c.startEtcd(), c.startAPIServer()); err != nil {
		return err
	}
	err = c.waitAll(ctx, []step{{"etcd", probes.etcd}, {"kube-apiserver", probes.apiServer}})
	if err != nil {
		return err
	}
	if err := errors.Join(c.startControllerManager(), c.startScheduler()); err != nil {
		return err
	}
	steps := []step{
		{"kube-controller-manager", probes.controllerManager},
		{"kube-scheduler", probes.scheduler},
		{"default ServiceAccount", probes.serviceAccount},
	}
	if !c.options.noNode {
		if err := c.startNode(); err != nil {
			return err
		}
		steps = append(steps, step{"node", probes.node})
	}
	if err := c.waitAll(ctx, steps); err != nil {
		return err
	}
	return c.pki.writeKubeconfig(c.kubeconfig, c.server, adminUser)
}

// watch returns when ctx ends or a component dies.
func (c *cluster) watch(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case p := <-c.processes.died:
		return p.failure()
	}
}
