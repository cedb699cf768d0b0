package engine

import (
	"errors"
	"flag"
	"time"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/http2"
)

// StreamLimits bound what HTTP/2 connections to backends hold. Their memory is at most
//
//	RequestMemory     for each request: 3 × Window: what waits in its pump, what the pump is passing on, and the spare room of slices
//	ConnectionMemory  for each connection: the reader's buffer, two header blocks, and twice what may
//	                  wait to be written: 64 KiB of bodies, the heads of 64 requests, Control answers
type StreamLimits struct {
	Streams int           // at a time on one connection; fewer if the backend's SETTINGS_MAX_CONCURRENT_STREAMS says so
	Window  int           // bytes of a response that may wait in a pump: SETTINGS_INITIAL_WINDOW_SIZE
	Queue   int           // requests that may wait for a stream of one backend; one client has at most half of the places
	Control int           // frames in a row that bring no response forward; then the connection ends
	Ping    time.Duration // silence after which a backend with requests is sent a PING, and how long it has for the answer
}

// DefaultStreamLimits are those of the program's own gateway.
var DefaultStreamLimits = StreamLimits{
	Streams: 4096,                // more than most servers allow: nginx 128, Apache httpd and nghttpd 100, Go 250; Node has no limit
	Window:  http2.DefaultWindow, // as if nothing was said
	Queue:   4096,
	Control: 1000, // an honest backend sends a few between two responses: SETTINGS, PING, WINDOW_UPDATE
	Ping:    5 * time.Second,
}

// RequestMemory returns the most bytes that a response holds outside its slot. They are part
// of the credit that a request needs (server/waitingmemory.go).
func (l *StreamLimits) RequestMemory() int { return 3 * l.Window }

// ConnectionMemory returns the most bytes that a connection holds, where head is the size of
// the largest request head that the server accepts.
func (l *StreamLimits) ConnectionMemory(head int) int64 {
	const answer = http2.FrameHeaderLen + 8 // the longest that a frame of a backend causes: PING
	return int64(client.BufferSize + 2*maxBlock + 2*(maxOut+maxBatch*head+l.Control*answer))
}

// AddFlags sets l to the defaults, and defines a flag on f for each limit.
func (l *StreamLimits) AddFlags(f *flag.FlagSet) {
	*l = DefaultStreamLimits
	f.IntVar(&l.Streams, "h2-streams", l.Streams, "maximum number of concurrent streams on one HTTP/2 connection to a backend; fewer if the backend allows fewer")
	f.IntVar(&l.Window, "h2-window", l.Window, "bytes of a response over HTTP/2 that may wait for a slow client; over a long distance more than that in a round trip is not possible")
	f.IntVar(&l.Queue, "h2-queue", l.Queue, "maximum number of requests that wait for a stream to one backend, at most half of them of one client; others get 503 immediately")
	f.IntVar(&l.Control, "h2-control", l.Control, "how many frames in a row may bring no response forward; then the connection to the backend ends")
	f.DurationVar(&l.Ping, "h2-ping", l.Ping, "how long an HTTP/2 backend with requests may be silent before it is sent a PING, and how long it may take to answer")
}

// Validate returns an error that names the flags with values that do not work.
func (l *StreamLimits) Validate() error {
	if l.Streams < 1 || l.Queue < 1 || l.Control < 100 || l.Ping <= 0 || l.Window < 1024 || l.Window > http2.MaxWindow {
		return errors.New("-h2-streams, -h2-queue: want at least 1; -h2-control: at least 100; -h2-window: 1024 to 2147483647; -h2-ping: more than 0")
	}
	return nil
}
