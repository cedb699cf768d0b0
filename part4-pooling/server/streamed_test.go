package server

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// While an answer is streamed its slot is taken, and the next one waits.
func TestStreamedAnswerKeepsItsSlotToTheLastByte(t *testing.T) {
	half, nextDone := make(chan struct{}), make(chan struct{})
	r := start(t, with(func(w *Response, r *Request) {
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
	sent := get("/stream") + get("/next", closing)
	c := converse(t, r.addr, sent)
	soon(t, nextDone, "the next one is handled while the first is half out")
	eventually(t, "the next one is finished", func() (finished bool) {
		r.each(func(c *transport) { finished = c.running == 1 })
		return finished
	})

	close(half)

	s := story{sent: sent, rule: "house rule: a slot is free when its last byte is out, not its first", look: "slot.go"}.hear(c)
	answers := s.replies(t, gets(2)...)
	assert.Equal(t, "first half, second half", answers[0].body)
	assert.Equal(t, "next", answers[1].body)
}
