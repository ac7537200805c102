// Command devkube is a Kubernetes control plane in one binary, for the demo and for tests: the real
// kube-apiserver, kube-controller-manager and kube-scheduler of k8s.io/kubernetes, an embedded etcd,
// and one SIMULATED node, each a sub-command, and "up", which runs them all as separate processes.
//
// It listens on 127.0.0.1 only, needs no root, and downloads nothing. It never runs a container: the
// node marks pods Running (see node.go). It is not for production and keeps no data through a power
// cut (etcd's fsync is off). The real kubelet is a sub-command, too, which "up" never starts: who has
// root and a container runtime starts it beside "up --no-node" (tests/support/pods).
package main

import (
	"fmt"
	"os"
	"runtime"

	"k8s.io/component-base/cli"
)

const usage = `devkube: a Kubernetes control plane on 127.0.0.1 for demos and tests (its node is simulated)

  devkube up --dir DIR          start everything, write DIR/kubeconfig, stay until SIGINT or SIGTERM
  devkube etcd | kube-apiserver | kube-controller-manager | kube-scheduler | node
                                one component (what "up" starts); each explains itself with --help
  devkube kubelet               the real kubelet, for "up --no-node": needs root and a container runtime
`

// Exit codes: 1 something failed while running, 2 the command line was wrong.
const (
	exitFailed = 1
	exitUsage  = 2
)

// The main goroutine stays on the main thread: "up" starts its children from it with a
// parent-death signal, which the kernel sends when the starting *thread* ends.
func init() { runtime.LockOSThread() }

func main() {
	if len(os.Args) < 2 {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(exitUsage)
	}
	name := os.Args[1]
	if newCommand, ok := upstream[name]; ok {
		command := newCommand()
		command.SetArgs(os.Args[2:])
		os.Exit(cli.Run(command))
	}
	switch name {
	case "up":
		os.Exit(execute(newUpCommand(), os.Args[2:]))
	case "etcd":
		os.Exit(execute(newEtcdCommand(), os.Args[2:]))
	case "node":
		os.Exit(execute(newNodeCommand(), os.Args[2:]))
	case "help", "--help", "-h":
		fmt.Print(usage)
	default:
		fmt.Fprintf(os.Stderr, "devkube: no sub-command %q\n%s", name, usage)
		os.Exit(exitUsage)
	}
}
