package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/csv"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// Users of the cluster, in the order of their tokens. Group names are upstream's own.
const (
	adminUser             = "devkube-admin"
	controllerManagerUser = "system:kube-controller-manager"
	schedulerUser         = "system:kube-scheduler"
	nodeUser              = "system:node:" + nodeName
)

var users = []struct{ name, group string }{
	{adminUser, "system:masters"},
	{controllerManagerUser, "system:authenticated"},
	{schedulerUser, "system:authenticated"},
	{nodeUser, "system:nodes"},
}

const certificateLife = 10 * 365 * 24 * time.Hour

// pki is the folder of everything secret. It is made once, whole or not at all, and then reused, so
// that clients of a cluster that is started again keep their trust. The authority's private key is
// never written: nothing can be added to this pki afterwards.
type pki struct{ dir string }

func (p pki) path(name string) string { return filepath.Join(p.dir, name) }

// openPKI returns DIR/pki, making it first if there is none.
func openPKI(dir string) (pki, error) {
	p := pki{filepath.Join(dir, "pki")}
	_, err := os.Stat(p.dir)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return p, err
	}
	unfinished := pki{p.dir + ".new"}
	if err := os.RemoveAll(unfinished.dir); err != nil {
		return p, err
	}
	if err := os.Mkdir(unfinished.dir, 0o700); err != nil {
		return p, err
	}
	if err := unfinished.create(); err != nil {
		return p, fmt.Errorf("making credentials: %w", err)
	}
	return p, os.Rename(unfinished.dir, p.dir)
}

func (p pki) create() error {
	authority, authorityKey, err := p.createAuthority()
	if err != nil {
		return err
	}
	server := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "devkube-server"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv4(10, 0, 0, 1)},
		DNSNames:    []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"},
	}
	client := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "devkube-etcd-client"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if err := p.issue("server", server, authority, authorityKey); err != nil {
		return err
	}
	if err := p.issue("etcd-client", client, authority, authorityKey); err != nil {
		return err
	}
	if _, err := p.createKey("service-account"); err != nil {
		return err
	}
	return p.createTokens()
}

func (p pki) createAuthority() (*x509.Certificate, crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "devkube"},
		SerialNumber:          big.NewInt(1),
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(certificateLife),
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	authority, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, err
	}
	return authority, key, p.writePEM("ca.crt", "CERTIFICATE", der)
}

func (p pki) issue(name string, template, authority *x509.Certificate, authorityKey crypto.Signer) error {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return err
	}
	template.SerialNumber = serial
	template.NotBefore, template.NotAfter = authority.NotBefore, authority.NotAfter
	template.KeyUsage = x509.KeyUsageDigitalSignature
	key, err := p.createKey(name)
	if err != nil {
		return err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, authority, key.Public(), authorityKey)
	if err != nil {
		return err
	}
	return p.writePEM(name+".crt", "CERTIFICATE", der)
}

func (p pki) createKey(name string) (crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, p.writePEM(name+".key", "EC PRIVATE KEY", der)
}

func (p pki) writePEM(name, kind string, der []byte) error {
	return os.WriteFile(p.path(name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}

// createTokens writes the apiserver's static token file: token, user, uid, groups.
func (p pki) createTokens() error {
	file, err := os.OpenFile(p.path("tokens.csv"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	rows := csv.NewWriter(file)
	for _, user := range users {
		token := make([]byte, 32)
		if _, err := rand.Read(token); err != nil {
			return err
		}
		if err := rows.Write([]string{hex.EncodeToString(token), user.name, user.name, user.group}); err != nil {
			return err
		}
	}
	rows.Flush()
	return errors.Join(rows.Error(), file.Close())
}

func (p pki) token(user string) (string, error) {
	file, err := os.Open(p.path("tokens.csv"))
	if err != nil {
		return "", err
	}
	defer file.Close()
	rows, err := csv.NewReader(file).ReadAll()
	if err != nil {
		return "", err
	}
	for _, row := range rows {
		if row[1] == user {
			return row[0], nil
		}
	}
	return "", fmt.Errorf("%s names no user %s", file.Name(), user)
}

// writeKubeconfig puts a self-contained kubeconfig (authority and token inside) at path, in one step.
func (p pki) writeKubeconfig(path, server, user string) error {
	authority, err := os.ReadFile(p.path("ca.crt"))
	if err != nil {
		return err
	}
	token, err := p.token(user)
	if err != nil {
		return err
	}
	config := api.NewConfig()
	config.Clusters["devkube"] = &api.Cluster{Server: server, CertificateAuthorityData: authority}
	config.AuthInfos[user] = &api.AuthInfo{Token: token}
	config.Contexts["devkube"] = &api.Context{Cluster: "devkube", AuthInfo: user}
	config.CurrentContext = "devkube"
	text, err := clientcmd.Write(*config)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
