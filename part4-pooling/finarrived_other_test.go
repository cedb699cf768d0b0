//go:build !linux

package main

import "net"

// finArrived reports true: this system is not asked.
func finArrived(*net.TCPConn) bool { return true }
