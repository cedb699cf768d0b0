//go:build !linux

package main

import "errors"

const defaultWait = "goroutines"

func newLoops(*server) ([]driver, error) { return nil, errors.New("-wait loop needs epoll: Linux") }
