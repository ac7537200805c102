// CometBFT's own light client beside ours: it judges the cases it is given, or verifies a recorded chain or
// recorded proofs and says how fast.
//
//	light judge                          < cases, JSON lines; one verdict a line
//	light headers -file FILE -times N   what each run took
//	light proofs -file FILE -times N   what each run took
//
// It owns no rule: verdicts are those of light.Verify and, for what a peer said, of the checks its HTTP
// provider makes; proofs are judged by cosmos/ics23.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"syscall"
	"time"
)

const lineBytesMax = 64 << 20

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("usage: light judge|headers|proofs")
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	file := flags.String("file", "", "the recorded chain or proofs")
	times := flags.Int("times", 1, "runs")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	switch args[0] {
	case "judge":
		return judgeAll(os.Stdin, os.Stdout)
	case "headers":
		return headers(*file, *times)
	case "proofs":
		return proofs(*file, *times)
	}
	return fmt.Errorf("unknown command %q", args[0])
}

// A spent is what one run took: by the clock, and of the processor in all threads.
type spent struct {
	Seconds   float64 `json:"seconds"`
	Processor float64 `json:"processor"`
}

// measure runs work a number of times and writes what each run took as JSON, for Python.
func measure(times int, work func() error) error {
	var all []spent
	for range times {
		began, used := time.Now(), processor()
		if err := work(); err != nil {
			return err
		}
		all = append(all, spent{time.Since(began).Seconds(), processor() - used})
	}
	return json.NewEncoder(os.Stdout).Encode(all)
}

func processor() float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
}

// eachLine calls take for every line of a file.
func eachLine(name string, take func([]byte) error) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, lineBytesMax)
	for lines.Scan() {
		if err := take(lines.Bytes()); err != nil {
			return err
		}
	}
	return lines.Err()
}
