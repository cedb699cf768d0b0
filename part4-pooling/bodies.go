package main

import "os"

// zeros is a body without an end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// failing is a body that fails, when it may.
type failing struct{ may chan bool }

func (f failing) Read([]byte) (int, error) {
	if f.may != nil {
		<-f.may
	}
	return 0, os.ErrProcessDone
}
