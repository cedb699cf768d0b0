package server

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// While a response is streamed its slot is taken, and the next one waits.
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
	receive(t, nextDone, "the next one is handled while the first is half out")
	eventually(t, "the next one is finished", func() (finished bool) {
		r.forEachConn(func(c *transport) { finished = c.running == 1 })
		return finished
	})

	close(half)

	s := transcript{sent: sent, rule: "house rule: a slot is free when its last byte is out, not its first", look: "slot.go"}.readAll(c)
	answers := s.parseAll(t, getMethods(2)...)
	assert.Equal(t, "first half, second half", answers[0].body)
	assert.Equal(t, "next", answers[1].body)
}
