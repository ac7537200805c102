package main

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/cometbft/cometbft/light"
)

const (
	trustingPeriod = 14 * 24 * time.Hour
	clockDrift     = 10 * time.Second
)

// headers verifies each block of a recorded chain on the ground of the one before it, adjacent or not, as the
// loops of light.Client do, without its database. Reading is not timed.
func headers(file string, times int) error {
	var chain []block
	err := eachLine(file, func(line []byte) error {
		var read recorded
		if err := json.Unmarshal(line, &read); err != nil {
			return err
		}
		found, err := read.block()
		chain = append(chain, found)
		return err
	})
	if err != nil || len(chain) < 2 {
		return fmt.Errorf("a chain of %d blocks: %v", len(chain), err)
	}
	now := chain[len(chain)-1].header.Time.Add(time.Second)
	return measure(times, func() error {
		for at := 1; at < len(chain); at++ {
			trusted, next := chain[at-1], chain[at]
			err := light.Verify(trusted.header, trusted.next, next.header, next.validators,
				trustingPeriod, now, clockDrift, light.DefaultTrustLevel)
			if err != nil {
				return fmt.Errorf("height %d: %w", next.header.Height, err)
			}
		}
		return nil
	})
}
