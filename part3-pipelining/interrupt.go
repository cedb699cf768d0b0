package main

import (
	"os"
	"os/signal"
	"syscall"
)

// untilInterrupted runs action until it has ended or a signal tells the program to stop.
// Then the program exits, which also ends what action has started: nothing waits for it.
func untilInterrupted(action func() error) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	done := make(chan error, 1)
	go func() { done <- action() }()
	select {
	case err := <-done:
		return err
	case <-signals:
		return errInterrupted
	}
}
