// Command loaddriver pushes prepared transactions into one CometBFT node and reports how fast they commit.
//
// It reads transactions from a file (each a 4-byte big-endian length and the bytes), splits them into one
// contiguous part per connection, sends every part in order as JSON-RPC batches of broadcast_tx_async, and
// waits until the application has committed them all. The clock runs from the first send until then. It then counts the results by code, so that refused transactions are not counted as
// work. It knows nothing about what the transactions mean; both sides of a comparison use this same program.
package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	txBytesMax     = 8 << 20
	answerBytesMax = 64 << 20
	retryDelay     = 20 * time.Millisecond
	pollDelay      = 10 * time.Millisecond
)

type options struct {
	rpc         string
	file        string
	connections int
	batch       int
	timeout     time.Duration
}

// report is what goes to standard output, as one JSON object.
type report struct {
	Sent      int     `json:"sent"`
	Committed int     `json:"committed"`
	Refused   int     `json:"refused"`
	Blocks    int     `json:"blocks"`
	Seconds   float64 `json:"seconds"`
	PerSecond float64 `json:"perSecond"`
}

func main() {
	var o options
	flag.StringVar(&o.rpc, "rpc", "http://127.0.0.1:26657", "the node's RPC")
	flag.StringVar(&o.file, "txs", "", "file of length-prefixed transactions")
	flag.IntVar(&o.connections, "connections", 4, "connections; each sends one part of the file, in order")
	flag.IntVar(&o.batch, "batch", 100, "transactions a request")
	flag.DurationVar(&o.timeout, "timeout", 3*time.Minute, "give up after this long")
	flag.Parse()
	result, err := run(o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "loaddriver:", err)
		os.Exit(1)
	}
	_ = json.NewEncoder(os.Stdout).Encode(result)
}

func run(o options) (report, error) {
	if o.connections < 1 || o.batch < 1 {
		return report{}, errors.New("connections and batch must be at least 1")
	}
	txs, err := readTxs(o.file)
	if err != nil {
		return report{}, err
	}
	client := newClient(o.rpc, o.connections)
	before, err := client.height()
	if err != nil {
		return report{}, err
	}
	began := time.Now()
	deadline := began.Add(o.timeout)
	failed := make(chan error, o.connections)
	for i := range o.connections {
		part := txs[i*len(txs)/o.connections : (i+1)*len(txs)/o.connections]
		go func() { failed <- client.send(part, o.batch, deadline) }()
	}
	blocks, err := client.await(before, len(txs), deadline, failed, o.connections)
	if err != nil {
		return report{}, err
	}
	seconds := time.Since(began).Seconds()
	refused, err := client.refused(before+1, before+int64(blocks))
	if err != nil {
		return report{}, err
	}
	committed := len(txs) - refused
	return report{len(txs), committed, refused, blocks, seconds, float64(committed) / seconds}, nil
}

func readTxs(name string) ([]string, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	reader := bufio.NewReaderSize(file, 1<<20)
	var txs []string
	for {
		var length uint32
		if err := binary.Read(reader, binary.BigEndian, &length); err == io.EOF {
			break
		} else if err != nil {
			return nil, err
		}
		if length > txBytesMax {
			return nil, fmt.Errorf("a transaction of %d bytes, expected at most %d", length, txBytesMax)
		}
		tx := make([]byte, length)
		if _, err := io.ReadFull(reader, tx); err != nil {
			return nil, err
		}
		txs = append(txs, base64.StdEncoding.EncodeToString(tx))
	}
	if len(txs) == 0 {
		return nil, fmt.Errorf("%s holds no transaction", name)
	}
	return txs, nil
}

type client struct {
	url  string
	http *http.Client
}

func newClient(url string, connections int) *client {
	transport := &http.Transport{MaxIdleConnsPerHost: connections + 1, DisableCompression: true}
	return &client{url: strings.TrimSuffix(url, "/"), http: &http.Client{Transport: transport, Timeout: time.Minute}}
}

type answer struct {
	ID    int `json:"id"`
	Error *struct {
		Message string `json:"message"`
		Data    string `json:"data"`
	} `json:"error"`
}

// send pushes txs in order. A full mempool is waited for; any other refusal ends the run.
func (c *client) send(txs []string, batch int, deadline time.Time) error {
	for start := 0; start < len(txs); {
		end := min(start+batch, len(txs))
		done, err := c.push(txs[start:end])
		if err != nil {
			return err
		}
		start += done
		if start < end {
			if time.Now().After(deadline) {
				return errors.New("the mempool stayed full")
			}
			time.Sleep(retryDelay)
		}
	}
	return nil
}

// push sends one batch and tells how many were taken before the mempool was full.
func (c *client) push(txs []string) (int, error) {
	var body bytes.Buffer
	body.WriteByte('[')
	for i, tx := range txs {
		if i > 0 {
			body.WriteByte(',')
		}
		fmt.Fprintf(&body, `{"jsonrpc":"2.0","id":%d,"method":"broadcast_tx_async","params":{"tx":"%s"}}`, i, tx)
	}
	body.WriteByte(']')
	response, err := c.http.Post(c.url, "application/json", &body)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(io.LimitReader(response.Body, answerBytesMax))
	if err != nil {
		return 0, err
	}
	var answers []answer
	if err := json.Unmarshal(content, &answers); err != nil {
		return 0, fmt.Errorf("answer %.200q: %w", content, err)
	}
	for i, one := range answers {
		if one.Error == nil {
			continue
		}
		if strings.Contains(one.Error.Data, "mempool is full") {
			return i, nil
		}
		return 0, fmt.Errorf("refused: %s %s", one.Error.Message, one.Error.Data)
	}
	return len(txs), nil
}

// await returns how many blocks after height `before` it took to commit `want` transactions.
func (c *client) await(before int64, want int, deadline time.Time, failed chan error, senders int) (int, error) {
	seen, counted := 0, before
	for time.Now().Before(deadline) {
		select {
		case err := <-failed:
			if err != nil {
				return 0, err
			}
			senders--
		default:
		}
		newest, err := c.height()
		if err != nil {
			return 0, err
		}
		for counted < newest {
			numbers, err := c.numTxs(counted+1, min(newest, counted+20))
			if err != nil {
				return 0, err
			}
			for _, number := range numbers {
				seen += number
			}
			counted += int64(len(numbers))
		}
		if seen >= want {
			// A stored block is not yet an executed one: the application itself must say so.
			executed, err := c.executed()
			if err != nil {
				return 0, err
			}
			if executed >= counted {
				return int(counted - before), nil
			}
		}
		time.Sleep(pollDelay)
	}
	return 0, fmt.Errorf("%d of %d transactions committed when the time was up (%d senders left)", seen, want, senders)
}

func (c *client) height() (int64, error) {
	var status struct {
		SyncInfo struct {
			Height string `json:"latest_block_height"`
		} `json:"sync_info"`
	}
	if err := c.get("status", &status); err != nil {
		return 0, err
	}
	return strconv.ParseInt(status.SyncInfo.Height, 10, 64)
}

// executed gives the height the application has committed.
func (c *client) executed() (int64, error) {
	var info struct {
		Response struct {
			Height string `json:"last_block_height"`
		} `json:"response"`
	}
	if err := c.get("abci_info", &info); err != nil {
		return 0, err
	}
	if info.Response.Height == "" {
		return 0, nil
	}
	return strconv.ParseInt(info.Response.Height, 10, 64)
}

// numTxs gives the number of transactions of each block from low to high (at most 20 of them).
func (c *client) numTxs(low, high int64) ([]int, error) {
	var chain struct {
		Metas []struct {
			NumTxs string `json:"num_txs"`
		} `json:"block_metas"`
	}
	if err := c.get(fmt.Sprintf("blockchain?minHeight=%d&maxHeight=%d", low, high), &chain); err != nil {
		return nil, err
	}
	if len(chain.Metas) == 0 {
		return nil, fmt.Errorf("no block metas for %d to %d", low, high)
	}
	numbers := make([]int, len(chain.Metas))
	for i, meta := range chain.Metas {
		number, err := strconv.Atoi(meta.NumTxs)
		if err != nil {
			return nil, err
		}
		numbers[i] = number
	}
	return numbers, nil
}

// refused counts the transactions of blocks low to high whose result code is not 0.
func (c *client) refused(low, high int64) (int, error) {
	count := 0
	for height := low; height <= high; height++ {
		var results struct {
			Txs []struct {
				Code uint32 `json:"code"`
			} `json:"txs_results"`
		}
		if err := c.get(fmt.Sprintf("block_results?height=%d", height), &results); err != nil {
			return 0, err
		}
		for _, tx := range results.Txs {
			if tx.Code != 0 {
				count++
			}
		}
	}
	return count, nil
}

func (c *client) get(path string, result any) error {
	response, err := c.http.Get(c.url + "/" + path)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	var envelope struct {
		Result json.RawMessage `json:"result"`
		Error  json.RawMessage `json:"error"`
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, answerBytesMax)).Decode(&envelope); err != nil {
		return err
	}
	if envelope.Error != nil {
		return fmt.Errorf("%s: %s", path, envelope.Error)
	}
	return json.Unmarshal(envelope.Result, result)
}
