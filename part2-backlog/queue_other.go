//go:build !linux

package main

import "errors"

var errNotLinux = errors.New("only Linux reports the length of an accept queue: use a Linux container, or WSL2 on Windows")

func readAcceptQueue(fd int) (acceptQueue, error) { return acceptQueue{}, errNotLinux }

// A synState is always unknown here.
type synState struct {
	known, unanswered bool
	retransmits       int
}

func readSYNState(fd int) synState { return synState{} }

func readCounters() (counters, error) { return counters{}, errNotLinux }
