package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// usageError marks an error as the caller's command line, so that it exits 2 and not 1.
type usageError struct{ error }

// newCommand is the shell of one of our own sub-commands: no positional arguments, one error line.
func newCommand(name, short string, run func(context.Context) error) *cobra.Command {
	command := &cobra.Command{
		Use:           "devkube " + name,
		Short:         short,
		Long:          short,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("unexpected argument %q", args[0])}
			}
			return nil
		},
		RunE: func(command *cobra.Command, _ []string) error { return run(command.Context()) },
	}
	command.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	return command
}

// execute runs one of our own sub-commands until it ends or SIGINT/SIGTERM cancels its context.
func execute(command *cobra.Command, args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	command.SetArgs(args)
	err := command.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintf(os.Stderr, "%s: %v\n", command.Use, err)
	if errors.As(err, &usageError{}) {
		return exitUsage
	}
	return exitFailed
}
