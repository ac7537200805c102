package main

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/storage/wal"
)

// etcdOptions says where the one member keeps its data and whom it serves.
type etcdOptions struct {
	dataDir, certFile, keyFile, clientCAFile string
	port                                     int
}

func newEtcdCommand() *cobra.Command {
	var o etcdOptions
	command := newCommand("etcd", "One etcd member on 127.0.0.1, clients by certificate only, fsync off.",
		func(ctx context.Context) error { return runEtcd(ctx, o) })
	flags := command.Flags()
	flags.StringVar(&o.dataDir, "data-dir", "", "folder of the data (made if missing)")
	flags.StringVar(&o.certFile, "cert-file", "", "certificate shown to clients")
	flags.StringVar(&o.keyFile, "key-file", "", "its private key")
	flags.StringVar(&o.clientCAFile, "client-ca-file", "", "authority that client certificates must come from")
	flags.IntVar(&o.port, "port", 2379, "port on 127.0.0.1")
	for _, name := range []string{"data-dir", "cert-file", "key-file", "client-ca-file"} {
		_ = command.MarkFlagRequired(name)
	}
	return command
}

// runEtcd serves until ctx ends. There is no peer listener at all: a second member cannot join.
func runEtcd(ctx context.Context, o etcdOptions) error {
	client := url.URL{Scheme: "https", Host: fmt.Sprintf("127.0.0.1:%d", o.port)}
	wal.SegmentSizeBytes = 8 << 20 // 64 MB are preallocated otherwise, twice

	cfg := embed.NewConfig()
	cfg.Name = "devkube"
	cfg.Dir = o.dataDir
	cfg.ListenPeerUrls = nil
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	cfg.ListenClientUrls = []url.URL{client}
	cfg.AdvertiseClientUrls = []url.URL{client}
	cfg.ClientTLSInfo = transport.TLSInfo{
		CertFile: o.certFile, KeyFile: o.keyFile, TrustedCAFile: o.clientCAFile, ClientCertAuth: true,
	}
	cfg.EnableGRPCGateway = false                            // it would dial this server with the certificate of a server
	cfg.TickMs, cfg.ElectionMs = 50, 250                     // it elects itself; at the defaults that takes up to a second
	cfg.UnsafeNoFsync = true                                 // tests restart processes, not power
	cfg.WarningUnaryRequestDuration = 300 * time.Millisecond // 0, the zero value, logs every request
	cfg.LogLevel = "warn"
	server, err := embed.StartEtcd(cfg)
	if err != nil {
		return err
	}
	defer server.Close()
	select {
	case <-ctx.Done():
		return nil
	case err := <-server.Err():
		return err
	}
}
