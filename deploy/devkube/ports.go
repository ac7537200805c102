package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
)

// Free ports are looked for below the range the kernel hands to outgoing connections (32768 and up),
// so that nothing else takes one between the look and the component's own listen.
const (
	firstFreePort = 20000
	lastFreePort  = 32000
	portTries     = 200
)

// ports are where the components listen on 127.0.0.1. A folder remembers them: a cluster that is
// started again keeps its address if that is still free.
type ports struct {
	API               int `json:"api"`
	Etcd              int `json:"etcd"`
	ControllerManager int `json:"controllerManager"`
	Scheduler         int `json:"scheduler"`
}

// choosePorts takes the asked ports (0: the remembered or any free one) and remembers the answer.
func choosePorts(dir string, api, etcd int) (ports, error) {
	path := filepath.Join(dir, "ports.json")
	var p ports
	if text, err := os.ReadFile(path); err == nil {
		_ = json.Unmarshal(text, &p) // an unreadable memory is no memory
	}
	taken := map[int]bool{}
	for _, choice := range []struct {
		flag  string
		asked int
		port  *int
	}{
		{"--api-port", api, &p.API},
		{"--etcd-port", etcd, &p.Etcd},
		{"", 0, &p.ControllerManager},
		{"", 0, &p.Scheduler},
	} {
		port, err := choosePort(choice.flag, choice.asked, *choice.port, taken)
		if err != nil {
			return p, err
		}
		*choice.port = port
		taken[port] = true
	}
	text, err := json.Marshal(p)
	if err != nil {
		return p, err
	}
	return p, os.WriteFile(path, append(text, '\n'), 0o600)
}

func choosePort(flag string, asked, remembered int, taken map[int]bool) (int, error) {
	if asked != 0 {
		if taken[asked] || !isFree(asked) {
			return 0, fmt.Errorf("%s: port %d on 127.0.0.1 is taken; give another, or 0 for any free one", flag, asked)
		}
		return asked, nil
	}
	candidate := remembered
	for range portTries {
		if candidate != 0 && !taken[candidate] && isFree(candidate) {
			return candidate, nil
		}
		candidate = firstFreePort + rand.IntN(lastFreePort-firstFreePort)
	}
	return 0, fmt.Errorf("no free port on 127.0.0.1 in %d tries between %d and %d", portTries, firstFreePort, lastFreePort)
}

func isFree(port int) bool {
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return false
	}
	_ = listener.Close()
	return true
}
