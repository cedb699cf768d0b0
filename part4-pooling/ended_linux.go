package main

import "golang.org/x/sys/unix"

// pollEnded is, of the events of poll(2), that the other side will send no more.
const pollEnded = unix.POLLRDHUP
