package testutil

import "os"

// Zeros is a body without an end.
type Zeros struct{}

func (Zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// FailingReader is a body that fails, when it may.
type FailingReader struct{ Release chan bool }

func (f FailingReader) Read([]byte) (int, error) {
	if f.Release != nil {
		<-f.Release
	}
	return 0, os.ErrProcessDone
}
