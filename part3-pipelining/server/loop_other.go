//go:build !linux

package server

import "errors"

// DefaultDriver is the driver that Limits name by default: "loop" on Linux, "goroutines"
// elsewhere.
const DefaultDriver = "goroutines"

func newLoops(*Server) ([]driver, error) { return nil, errors.New("-wait loop needs epoll: Linux") }
