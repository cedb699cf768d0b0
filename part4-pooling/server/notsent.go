package server

import "socketup/part4-pooling/socket"

// WriteTime promises that the server does not disconnect a client that reads 64 KiB in
// that time. The server does not see what a client reads, only that its own kernel
// accepts more. Hence the law:
//
//	the kernel holds at most socket.MaxUnsent bytes that it has not sent
//	a write has WriteTime for each MaxUnsent bytes, or part of them
//
// Then a write that makes no progress means that the client reads nothing, as far as its
// kernel reports: after its receive buffer was full, the kernel offers room again when a
// sixteenth of the buffer is free. So the server serves a client that reads, in each
// WriteTime,
//
//	max(64 KiB, its receive buffer / 16)
//
// That is 3.3 kB/s by default, and up to 20 kB/s with the largest buffer that Linux
// chooses by itself, 6 MB.

// writeTimes returns how many times WriteTime a write of n bytes may take.
func writeTimes(n int) int64 { return int64((n + socket.MaxUnsent - 1) / socket.MaxUnsent) }
