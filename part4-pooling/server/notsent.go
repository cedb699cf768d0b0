package server

import "socketup/part4-pooling/socket"

// WriteTime promises that a client is not cut off as long as it takes 64 KiB in that
// time. The server does not see what a client takes, only that the kernel takes more.
// Hence the law:
//
//	the kernel holds at most socket.MaxUnsent bytes that it has not sent
//	a write has WriteTime for each MaxUnsent bytes of it, or part of that
//
// Then a write that gets nowhere means a client that takes nothing. The other side's
// kernel can be late too: one that has let a full receive buffer fill up offers room when
// a sixteenth of it is free.

// writeTimes is how often a write of n bytes has WriteTime.
func writeTimes(n int) int64 { return int64((n + socket.MaxUnsent - 1) / socket.MaxUnsent) }
