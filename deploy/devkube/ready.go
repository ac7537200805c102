package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

const (
	probeEvery   = 50 * time.Millisecond
	probeTimeout = 2 * time.Second
)

// probe says why something is not ready yet, or nil.
type probe func(context.Context) error

// step is one thing to wait for.
type step struct {
	name  string
	ready probe
}

func (c *cluster) waitAll(ctx context.Context, steps []step) error {
	for _, s := range steps {
		if err := c.wait(ctx, s.name, s.ready); err != nil {
			return err
		}
	}
	return nil
}

// wait polls until probe is content and says so on stderr, with the time since the start of "up".
func (c *cluster) wait(ctx context.Context, name string, ready probe) error {
	deadline := time.After(c.options.timeout)
	ticker := time.NewTicker(probeEvery)
	defer ticker.Stop()
	for {
		err := ready(ctx)
		if err == nil {
			fmt.Fprintf(os.Stderr, "devkube: %5d ms  %s ready\n", time.Since(c.started).Milliseconds(), name)
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case p := <-c.processes.died:
			return p.failure()
		case <-deadline:
			return fmt.Errorf("%s was not ready after %s (%w); logs are in %s", name, c.options.timeout, err, c.processes.logDir)
		case <-ticker.C:
		}
	}
}

// probes asks the components, over TLS to the cluster's own authority, whether they are ready.
type probes struct {
	*cluster
	web    *http.Client
	client kubernetes.Interface
}

func (c *cluster) newProbes() (*probes, error) {
	authority, err := os.ReadFile(c.pki.path("ca.crt"))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(authority) {
		return nil, fmt.Errorf("%s holds no certificate", c.pki.path("ca.crt"))
	}
	pair, err := tls.LoadX509KeyPair(c.pki.path("etcd-client.crt"), c.pki.path("etcd-client.key"))
	if err != nil {
		return nil, err
	}
	token, err := c.pki.token(adminUser)
	if err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(&rest.Config{
		Host: c.server, BearerToken: token, QPS: -1, Timeout: probeTimeout,
		TLSClientConfig: rest.TLSClientConfig{CAData: authority},
	})
	return &probes{
		cluster: c,
		web: &http.Client{
			Timeout:   probeTimeout,
			Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}}},
		},
		client: client,
	}, err
}

func (p *probes) healthy(ctx context.Context, port int, path string) error {
	url := fmt.Sprintf("https://127.0.0.1:%d%s", port, path)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := p.web.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, response.Status)
	}
	return nil
}

func (p *probes) etcd(ctx context.Context) error { return p.healthy(ctx, p.ports.Etcd, "/health") }
func (p *probes) controllerManager(ctx context.Context) error {
	return p.healthy(ctx, p.ports.ControllerManager, "/healthz")
}
func (p *probes) scheduler(ctx context.Context) error {
	return p.healthy(ctx, p.ports.Scheduler, "/readyz")
}

func (p *probes) apiServer(ctx context.Context) error {
	return p.client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
}

// node is content when this run's node (not the one remembered from before) is Ready and untainted.
func (p *probes) node(ctx context.Context) error {
	node, err := p.client.CoreV1().Nodes().Get(ctx, nodeName, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if len(node.Spec.Taints) > 0 {
		return fmt.Errorf("tainted %s", node.Spec.Taints[0].Key)
	}
	for _, condition := range node.Status.Conditions {
		fresh := !condition.LastHeartbeatTime.Time.Before(p.started.Truncate(time.Second))
		if condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue && fresh {
			return nil
		}
	}
	return errors.New("not Ready")
}

func (p *probes) serviceAccount(ctx context.Context) error {
	_, err := p.client.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
	return err
}
