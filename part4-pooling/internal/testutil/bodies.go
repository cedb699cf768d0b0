package testutil

import "os"

// Zeros is an endless body of zero bytes.
type Zeros struct{}

// Read fills p with zeros. It never fails.
func (Zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// FailingReader is a body that fails: once Release is closed or sent a value, or
// right away if it is nil.
type FailingReader struct{ Release chan bool }

// Read waits for Release and returns os.ErrProcessDone.
func (f FailingReader) Read([]byte) (int, error) {
	if f.Release != nil {
		<-f.Release
	}
	return 0, os.ErrProcessDone
}
