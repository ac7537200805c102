// Command iavl does the work of P5 on cosmos/iavl over goleveldb, and reports it as one JSON object a phase.
//
// Phase "work" fills a tree with -keys keys, then times versions of 1,000 puts (half of them new keys) and
// proofs of one key and an export of the newest version to disk (with the compression the Cosmos SDK uses). Phase
// "restart", in a process of its own, times opening what the first one left and reading one value; phase "restore" the
// import of the export into an empty tree. Every version is saved synced, as ours are.
package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/cosmos/iavl"
	"github.com/cosmos/iavl/db"
)

const (
	// cacheNodes is the default of the Cosmos SDK (iavl-cache-size).
	cacheNodes = 781250
	fillPuts   = 10_000
	timedPuts  = 1_000
	valueBytes = 100
)

type report struct {
	Commit   []float64 `json:"commit,omitempty"`
	Proof    []float64 `json:"proof,omitempty"`
	Restart  []float64 `json:"restart,omitempty"`
	Restore  []float64 `json:"restore,omitempty"`
	Fill     float64   `json:"fill,omitempty"`
	Snapshot float64   `json:"snapshot,omitempty"`
	Root     string    `json:"root,omitempty"`
	RSS      int64     `json:"rss"`
}

func main() {
	folder := flag.String("folder", "", "where the database lies")
	keys := flag.Int("keys", 1000, "keys before anything is timed")
	commits := flag.Int("commits", 5, "versions of 1,000 puts")
	proofs := flag.Int("proofs", 200, "proofs of one key")
	phase := flag.String("phase", "work", "work, restart or restore")
	root := flag.String("root", "", "the hash that a restore must give")
	flag.Parse()
	var result report
	var err error
	switch *phase {
	case "restart":
		result, err = restart(*folder)
	case "restore":
		result, err = restore(*folder, *root)
	default:
		result, err = work(*folder, *keys, *commits, *proofs)
	}
	if err == nil && result.RSS == 0 {
		result.RSS, err = rss()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "iavl:", err)
		os.Exit(1)
	}
	_ = json.NewEncoder(os.Stdout).Encode(result)
}

// key gives key number n, the same on both sides: hashed, so that puts fall all over the tree.
func key(n int) []byte {
	sum := digest(n)
	return []byte("k/" + hex.EncodeToString(sum[:16]))
}

// value gives the value of key n at a round: 100 bytes.
func value(n, round int) []byte {
	sum := digest(n<<8 | round)
	return append(make([]byte, valueBytes-len(sum)), sum[:]...)
}

func digest(n int) [32]byte {
	var raw [8]byte
	binary.BigEndian.PutUint64(raw[:], uint64(n))
	return sha256.Sum256(raw[:])
}

func open(folder string) (*iavl.MutableTree, int64, error) {
	database, err := db.NewGoLevelDB("iavl", folder)
	if err != nil {
		return nil, 0, err
	}
	tree := iavl.NewMutableTree(database, cacheNodes, false, iavl.NewNopLogger(), iavl.SyncOption(true))
	version, err := tree.Load()
	return tree, version, err
}

func work(folder string, keys, commits, proofs int) (report, error) {
	var result report
	tree, _, err := open(folder)
	if err != nil {
		return result, err
	}
	began := time.Now()
	for start := 0; start < keys; start += fillPuts {
		for n := start; n < min(start+fillPuts, keys); n++ {
			if _, err := tree.Set(key(n), value(n, 0)); err != nil {
				return result, err
			}
		}
		if _, _, err := tree.SaveVersion(); err != nil {
			return result, err
		}
	}
	result.Fill = time.Since(began).Seconds()
	for round := range commits {
		began := time.Now()
		for i := range timedPuts {
			n := number(i, round, keys)
			if _, err := tree.Set(key(n), value(n, round+1)); err != nil {
				return result, err
			}
		}
		if _, _, err := tree.SaveVersion(); err != nil {
			return result, err
		}
		result.Commit = append(result.Commit, time.Since(began).Seconds())
	}
	for i := range proofs {
		began := time.Now()
		proof, err := tree.GetProof(key(i * (keys / proofs)))
		if err != nil {
			return result, err
		}
		if _, err := proof.Marshal(); err != nil {
			return result, err
		}
		result.Proof = append(result.Proof, time.Since(began).Seconds())
	}
	if result.RSS, err = rss(); err != nil {
		return result, err
	}
	began = time.Now()
	err = export(tree, filepath.Join(folder, "export"))
	result.Snapshot = time.Since(began).Seconds()
	result.Root = hex.EncodeToString(tree.Hash())
	return result, err
}

// export writes the newest version to a file, synced: its number, then of each node key, value, version and height.
func export(tree *iavl.MutableTree, path string) error {
	exporter, err := tree.Export()
	if err != nil {
		return err
	}
	defer exporter.Close()
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	out := bufio.NewWriterSize(file, 1<<20)
	encoder, compressed := gob.NewEncoder(out), iavl.NewCompressExporter(exporter)
	if err := encoder.Encode(tree.Version()); err != nil {
		return err
	}
	for {
		node, err := compressed.Next()
		if errors.Is(err, iavl.ErrorExportDone) {
			break
		}
		if err != nil {
			return err
		}
		if err := encoder.Encode(node); err != nil {
			return err
		}
	}
	if err := out.Flush(); err != nil {
		return err
	}
	return file.Sync()
}

func restore(folder, root string) (report, error) {
	began := time.Now()
	file, err := os.Open(filepath.Join(folder, "export"))
	if err != nil {
		return report{}, err
	}
	defer file.Close()
	tree, _, err := open(filepath.Join(folder, "restored"))
	if err != nil {
		return report{}, err
	}
	decoder := gob.NewDecoder(bufio.NewReaderSize(file, 1<<20))
	var version int64
	if err := decoder.Decode(&version); err != nil {
		return report{}, err
	}
	importer, err := tree.Import(version)
	if err != nil {
		return report{}, err
	}
	defer importer.Close()
	compressed := iavl.NewCompressImporter(importer)
	for {
		var node iavl.ExportNode
		if err := decoder.Decode(&node); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return report{}, err
		}
		if err := compressed.Add(&node); err != nil {
			return report{}, err
		}
	}
	if err := importer.Commit(); err != nil {
		return report{}, err
	}
	if got := hex.EncodeToString(tree.Hash()); got != root {
		return report{}, fmt.Errorf("restored %s, not %s", got, root)
	}
	return report{Restore: []float64{time.Since(began).Seconds()}}, nil
}

// number spreads the even puts of a round over the keys there are; the odd ones are new keys.
func number(i, round, keys int) int {
	if i%2 == 1 {
		return keys + round*timedPuts + i
	}
	return (i*7919 + round*104729) % keys
}

func restart(folder string) (report, error) {
	began := time.Now()
	tree, _, err := open(folder)
	if err != nil {
		return report{}, err
	}
	found, err := tree.Get(key(0))
	if err == nil && len(found) != valueBytes {
		err = fmt.Errorf("key 0 has %d bytes", len(found))
	}
	return report{Restart: []float64{time.Since(began).Seconds()}}, err
}

func rss() (int64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for _, line := range strings.Split(string(status), "\n") {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "VmRSS:" {
			kib, err := strconv.ParseInt(fields[1], 10, 64)
			return kib * 1024, err
		}
	}
	return 0, fmt.Errorf("no VmRSS")
}
