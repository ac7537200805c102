package main

import (
	"context"
	"path/filepath"
	"strconv"
	_ "time/tzdata" // time zones of CronJobs, as upstream has it

	"github.com/spf13/cobra"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"

	// Register the Prometheus exporters and version flags the upstream main packages register.
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
)

// upstream are the Kubernetes components exactly as upstream's own main packages build them. Each
// installs a process-wide signal handler and registers global feature gates and metrics, so one
// process runs one of them, never two.
var upstream = map[string]func() *cobra.Command{
	"kube-apiserver":          apiserver.NewAPIServerCommand,
	"kube-controller-manager": controllermanager.NewControllerManagerCommand,
	"kube-scheduler":          func() *cobra.Command { return scheduler.NewSchedulerCommand() },
	"kubelet":                 func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) },
}

func (c *cluster) startEtcd() error {
	return c.processes.start("etcd",
		"--data-dir", filepath.Join(c.dir, "etcd"),
		"--port", strconv.Itoa(c.ports.Etcd),
		"--cert-file", c.pki.path("server.crt"),
		"--key-file", c.pki.path("server.key"),
		"--client-ca-file", c.pki.path("ca.crt"))
}

func (c *cluster) startAPIServer() error {
	return c.processes.start("kube-apiserver", append([]string{
		"--bind-address=127.0.0.1",
		"--advertise-address=127.0.0.1",
		"--endpoint-reconciler-type=none", // a loopback address is no valid endpoint: it logs for ever
		"--secure-port=" + strconv.Itoa(c.ports.API),
		"--tls-cert-file=" + c.pki.path("server.crt"),
		"--tls-private-key-file=" + c.pki.path("server.key"),
		"--etcd-servers=https://127.0.0.1:" + strconv.Itoa(c.ports.Etcd),
		"--etcd-cafile=" + c.pki.path("ca.crt"),
		"--etcd-certfile=" + c.pki.path("etcd-client.crt"),
		"--etcd-keyfile=" + c.pki.path("etcd-client.key"),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-signing-key-file=" + c.pki.path("service-account.key"),
		"--service-account-key-file=" + c.pki.path("service-account.key"),
		"--service-cluster-ip-range=10.0.0.0/24",
		"--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction",
		"--token-auth-file=" + c.pki.path("tokens.csv"),
		"--kubelet-preferred-address-types=InternalIP", // the node's host name is asked of no resolver
		"--allow-privileged",
	}, c.options.apiserverArgs...)...)
}

func (c *cluster) startControllerManager() error {
	return c.processes.start("kube-controller-manager", append(c.servingFlags("kube-controller-manager", c.ports.ControllerManager),
		"--service-account-private-key-file="+c.pki.path("service-account.key"),
		"--root-ca-file="+c.pki.path("ca.crt"),
		"--flex-volume-plugin-dir="+filepath.Join(c.dir, "flexvolume"), // made at start; else under /usr/libexec
		"--use-service-account-credentials",
		"--kube-api-qps=200", // at the default of 20 the "default" ServiceAccount comes seconds later
		"--kube-api-burst=400")...)
}

func (c *cluster) startScheduler() error {
	return c.processes.start("kube-scheduler", c.servingFlags("kube-scheduler", c.ports.Scheduler)...)
}

func (c *cluster) startNode() error {
	return c.processes.start("node", "--kubeconfig", c.pki.path("node.kubeconfig"))
}

// servingFlags are what kube-controller-manager and kube-scheduler share: one replica, so no leader
// election, and a health port.
func (c *cluster) servingFlags(component string, port int) []string {
	return []string{
		"--kubeconfig=" + c.pki.path(component+".kubeconfig"),
		"--leader-elect=false",
		"--bind-address=127.0.0.1",
		"--secure-port=" + strconv.Itoa(port),
		"--tls-cert-file=" + c.pki.path("server.crt"),
		"--tls-private-key-file=" + c.pki.path("server.key"),
	}
}
