package main

import (
	"encoding/json"
	"fmt"

	ics23 "github.com/cosmos/ics23/go"
)

// A key, its value (none: its absence is claimed) and the encoded ICS-23 proof of it under a root.
type proven struct {
	Root  []byte `json:"root"`
	Key   []byte `json:"key"`
	Value []byte `json:"value"`
	Proof []byte `json:"proof"`
}

// proofs decodes and verifies recorded proofs of a sparse Merkle tree.
func proofs(file string, times int) error {
	var all []proven
	err := eachLine(file, func(line []byte) error {
		var read proven
		err := json.Unmarshal(line, &read)
		all = append(all, read)
		return err
	})
	if err != nil {
		return err
	}
	return measure(times, func() error {
		for number, one := range all {
			if !one.holds() {
				return fmt.Errorf("proof %d does not verify", number)
			}
		}
		return nil
	})
}

func (p proven) holds() bool {
	var proof ics23.CommitmentProof
	if proof.Unmarshal(p.Proof) != nil {
		return false
	}
	if len(p.Value) == 0 {
		return ics23.VerifyNonMembership(ics23.SmtSpec, p.Root, &proof, p.Key)
	}
	return ics23.VerifyMembership(ics23.SmtSpec, p.Root, &proof, p.Key, p.Value)
}
