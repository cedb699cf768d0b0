package testutil

import "os"

// Zeros is a body without an end.
type Zeros struct{}

func (Zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// Failing is a body that fails, when it may.
type Failing struct{ May chan bool }

func (f Failing) Read([]byte) (int, error) {
	if f.May != nil {
		<-f.May
	}
	return 0, os.ErrProcessDone
}
