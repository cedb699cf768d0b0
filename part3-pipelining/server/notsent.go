package server

import "socketup/part3-pipelining/socket"

// WriteTime promises that a client is not cut off as long as it takes 64 KiB in that
// time. The server does not see what a client takes, only that the kernel takes more.
// Hence the law:
//
//	the kernel holds at most socket.MaxUnsent bytes that it has not sent
//	a write has WriteTime for each MaxUnsent bytes of it, or part of that
//
// Then a write that gets nowhere means a client that takes nothing, as far as its own
// kernel tells: one whose receive buffer was full offers room when a sixteenth of it is
// free. So a client is not cut off if it reads, in each WriteTime,
//
//	max(64 KiB, its receive buffer / 16)
//
// That is 3.3 kB/s by default, and up to 20 kB/s with the largest buffer that Linux
// gives by itself, 6 MB.

// writeTimes is how often a write of n bytes has WriteTime.
func writeTimes(n int) int64 { return int64((n + socket.MaxUnsent - 1) / socket.MaxUnsent) }
