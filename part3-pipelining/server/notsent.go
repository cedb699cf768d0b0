package server

import "socketup/part3-pipelining/socket"

// WriteTime is a client's time to take 64 KiB. The server does not see what a client takes,
// only that the kernel accepts more bytes. Two rules connect them:
//
//	the kernel holds at most socket.MaxUnsent bytes that it has not sent
//	a write may take WriteTime for each MaxUnsent bytes, or part of them
//
// Then a write that times out means that the client has taken nothing, as far as its own
// kernel reports: a kernel whose receive buffer was full reports room only when a sixteenth
// of it is free. So the server keeps a connection whose client reads, in each WriteTime, at
// least
//
//	max(64 KiB, its receive buffer / 16)
//
// That is 3.3 kB/s by default, and up to 20 kB/s with the largest receive buffer that Linux
// chooses by itself, 6 MB.

// writeTimes returns how many times WriteTime a write of n bytes may take.
func writeTimes(n int) int64 { return int64((n + socket.MaxUnsent - 1) / socket.MaxUnsent) }
