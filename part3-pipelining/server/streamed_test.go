package server

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// A response keeps its slot while it is streamed, and the next response waits.
func TestStreamedResponseKeepsItsSlotToTheLastByte(t *testing.T) {
	half, nextDone := make(chan struct{}), make(chan struct{})
	r := startServer(t, withHandler(func(w *Response, r *Request) {
		if string(r.Path) == "/next" {
			w.WriteString("next")
			close(nextDone)
			return
		}
		w.WriteString("first half, ")
		w.Flush()
		<-half
		w.WriteString("second half")
	}))
	sent := get("/stream") + get("/next", closeField)
	c := converse(t, r.addr, sent)
	receive(t, nextDone, "the next request is handled while the first response is half sent")
	eventually(t, "the next handler has returned", func() (finished bool) {
		r.forEachConn(func(c *transport) { finished = c.running == 1 })
		return finished
	})

	close(half)

	s := transcript{sent: sent, rule: "house rule: a slot is released with its last byte, not its first", look: "slot.go"}.readAll(c)
	answers := s.parseAll(t, getMethods(2)...)
	assert.Equal(t, "first half, second half", answers[0].body)
	assert.Equal(t, "next", answers[1].body)
}
