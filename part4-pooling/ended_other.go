//go:build !linux

package main

import "golang.org/x/sys/unix"

// pollEnded is what there is, of the events of poll(2), for the end of what the
// other side sends. The news of a kqueue are never those of an earlier owner.
const pollEnded = unix.POLLIN
