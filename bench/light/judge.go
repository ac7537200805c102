package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	cmtjson "github.com/cometbft/cometbft/libs/json"
	cmtmath "github.com/cometbft/cometbft/libs/math"
	"github.com/cometbft/cometbft/light"
	"github.com/cometbft/cometbft/types"
)

// A recorded light block, in the spelling of CometBFT's RPC.
type recorded struct {
	SignedHeader   json.RawMessage `json:"signed_header"`
	Validators     json.RawMessage `json:"validators"`
	NextValidators json.RawMessage `json:"next_validators"`
}

type block struct {
	header           *types.SignedHeader
	validators, next *types.ValidatorSet
}

// A case: is the untrusted block to be believed on the ground of the trusted one?
type question struct {
	Trusted        recorded  `json:"trusted"`
	Untrusted      recorded  `json:"untrusted"`
	TrustingPeriod int64     `json:"trusting_period_ns"`
	ClockDrift     int64     `json:"clock_drift_ns"`
	TrustLevel     [2]uint64 `json:"trust_level"`
	Now            int64     `json:"now_ns"`
}

// Verdict is ok, not_enough_trust, expired, invalid or, where CometBFT would have died, panic; Stage is where:
// the provider's checks, or Verify.
type answer struct {
	Verdict string `json:"verdict"`
	Stage   string `json:"stage"`
	Error   string `json:"error,omitempty"`
}

func judgeAll(in io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, lineBytesMax)
	write := json.NewEncoder(out)
	for lines.Scan() {
		given, err := judge(lines.Bytes())
		if err != nil {
			return err
		}
		if err := write.Encode(given); err != nil {
			return err
		}
	}
	return lines.Err()
}

// judge fails only where the case itself is broken: a trusted block that cannot be read.
func judge(line []byte) (given answer, failed error) {
	var asked question
	if err := json.Unmarshal(line, &asked); err != nil {
		return answer{}, err
	}
	defer func() {
		if died := recover(); died != nil {
			given = answer{"panic", "", fmt.Sprint(died)}
		}
	}()
	trusted, err := asked.Trusted.block()
	if err != nil {
		return answer{}, fmt.Errorf("trusted block: %w", err)
	}
	untrusted, err := asked.Untrusted.block()
	if err != nil {
		return answer{"invalid", "provider", err.Error()}, nil
	}
	err = light.Verify(trusted.header, trusted.next, untrusted.header, untrusted.validators,
		time.Duration(asked.TrustingPeriod), time.Unix(0, asked.Now), time.Duration(asked.ClockDrift),
		cmtmath.Fraction{Numerator: asked.TrustLevel[0], Denominator: asked.TrustLevel[1]})
	return verdict(err), nil
}

func verdict(err error) answer {
	var distrust light.ErrNewValSetCantBeTrusted
	var expired light.ErrOldHeaderExpired
	switch {
	case err == nil:
		return answer{"ok", "verify", ""}
	case errors.As(err, &distrust):
		return answer{"not_enough_trust", "verify", err.Error()}
	case errors.As(err, &expired):
		return answer{"expired", "verify", err.Error()}
	}
	return answer{"invalid", "verify", err.Error()}
}

// block decodes as CometBFT's HTTP provider does.
func (r recorded) block() (block, error) {
	var found block
	found.header = new(types.SignedHeader)
	if err := cmtjson.Unmarshal(r.SignedHeader, found.header); err != nil {
		return found, err
	}
	var err error
	if found.validators, err = validatorSet(r.Validators); err != nil {
		return found, err
	}
	if len(r.NextValidators) > 0 {
		found.next, err = validatorSet(r.NextValidators)
	}
	return found, err
}

func validatorSet(raw json.RawMessage) (*types.ValidatorSet, error) {
	var validators []*types.Validator
	if err := cmtjson.Unmarshal(raw, &validators); err != nil {
		return nil, err
	}
	return types.ValidatorSetFromExistingValidators(validators)
}
