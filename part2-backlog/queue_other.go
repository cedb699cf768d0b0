//go:build !linux

package main

import "errors"

var errNotLinux = errors.New("only Linux tells a program how long its accept queue is: use a Linux container, or WSL2 on Windows")

func queueOf(fd int) (queue, error) { return queue{}, errNotLinux }

// A handshake is unknown here.
type handshake struct {
	known, waiting bool
	again          int
}

func handshakeOf(fd int) handshake { return handshake{} }

func readCounters() (counters, error) { return counters{}, errNotLinux }
