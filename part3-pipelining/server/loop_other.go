//go:build !linux

package server

import "errors"

const DefaultWait = "goroutines"

func newLoops(*Server) ([]driver, error) { return nil, errors.New("-wait loop needs epoll: Linux") }
