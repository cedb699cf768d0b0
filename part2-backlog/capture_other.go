//go:build !linux

package main

// A capture takes packet sockets, which only Linux has.
type capture struct{}

func startCapture() (*capture, error) { return nil, errNotLinux }

func (c *capture) finish() ([]packet, error) { return nil, errNotLinux }
