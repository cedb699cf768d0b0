package engine

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"socketup/part4-pooling/http2"
	"socketup/part4-pooling/internal/testutil"
)

// A SETTINGS frame may change one setting as often as it has room for. The streams get the last.
func TestSettingThatChangesOftenIsAppliedOnce(t *testing.T) {
	t.Parallel()
	const streams, frames = 256, 900
	var often []http2.Setting
	for i := range http2.DefaultMaxFrame / 6 {
		often = append(often, http2.Setting{ID: http2.SettingInitialWindowSize, Value: uint32(i)})
	}
	began := make(chan time.Time, 1)
	s := testutil.ServeHTTP2(t, func(c *testutil.HTTP2Conn) {
		c.Settings()
		for range streams {
			c.AwaitRequest()
		}
		began <- time.Now()
		c.Send(bytes.Repeat(http2.AppendSettings(nil, often...), frames))
		for i := range uint32(streams) {
			c.Respond(2*i+1, "ok")
		}
		c.WaitForEnd()
	})
	y := newStreamYard(t, s.Addr)
	var sinks []*streamSink
	for i := range streams {
		sinks = append(sinks, y.get(t, fmt.Sprint("/", i)))
	}

	for _, sink := range sinks {
		assert.Equal(t, "200 ok", sink.outcome(t))
	}
	assert.Less(t, time.Since(testutil.Receive(t, began, "the time")), 4*time.Second, "frames × streams, not settings × streams. http2frames.go, onSettings")
}
