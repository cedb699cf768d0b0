package main

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"syscall"
)

// A backend is the address of a gateway's backend. The tests listen there, one after
// the other, each with a script of its own.
type backend struct {
	addr    string
	fd      int  // a socket that is bound to addr, so that no other program gets it; -1 for none
	streams bool // it speaks HTTP/2
}

// reserveBackend chooses an address of this machine for a backend. The caller calls
// release. Only Linux lets the tests listen while the address is held; elsewhere
// another program may take it.
func reserveBackend() (*backend, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	addr := l.Addr().(*net.TCPAddr)
	l.Close()
	b := &backend{addr: addr.String(), fd: -1}
	if runtime.GOOS != "linux" {
		return b, nil
	}
	if b.fd, err = syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0); err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	syscall.CloseOnExec(b.fd)
	err = syscall.SetsockoptInt(b.fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	if err == nil {
		err = syscall.Bind(b.fd, &syscall.SockaddrInet4{Port: addr.Port, Addr: [4]byte{127, 0, 0, 1}})
	}
	if err != nil {
		b.release()
		return nil, fmt.Errorf("hold %s: %w", b.addr, err)
	}
	return b, nil
}

// release lets others have the address. A nil backend has none.
func (b *backend) release() {
	if b != nil && b.fd >= 0 {
		syscall.Close(b.fd)
		b.fd = -1
	}
}

// environment is what the gateway and the tests find the backend in.
func (b *backend) environment() []string {
	if b == nil {
		return nil
	}
	scheme := "http://"
	if b.streams {
		scheme = "h2c://"
	}
	return []string{"BACKEND=" + scheme + b.addr}
}
