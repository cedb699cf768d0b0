//go:build !linux

package server

import "errors"

const DefaultDriver = "goroutines"

func newLoops(*Server) ([]driver, error) { return nil, errors.New("-wait loop needs epoll: Linux") }
