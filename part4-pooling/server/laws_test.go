package server

import (
	"errors"

	"socketup/part4-pooling/http1"
)

// laws returns what is wrong with c. It holds between two events, when the
// driver has done all that c asked for; the tests call it there.
func laws(c *conn) error {
	slots, undone := 0, 0
	for s := c.line.head; s != nil; s = s.behind {
		if slots++; !s.done {
			undone++
		}
	}
	sending := c.out.sending != nil
	whole := c.intake == taking && http1.FindHead(c.in.bytes(), 0) > 0
	for _, law := range []struct {
		broken bool
		says   string
	}{
		{slots != c.line.length, "the line's length is the number of its slots"},
		{undone > c.running, "every slot that is not done has a handler"},
		{slots > c.srv.Limits.Pipeline, "the line is not longer than the limit"},
		{c.intake == stalled && !c.full(), "a stalled connection is full: nobody would wake it"},
		{(c.intake == alone || c.intake == lost) && c.running == 0 && c.end == open, "who is alone has a handler"},
		{(c.out.state == writing || c.out.state == retrying) && !sending, "a write writes something"},
		{c.out.state == blocked && !sending && c.end == open, "a blocked connection has something to write"},
		{(c.out.until != 0) != sending, "what is being sent has a deadline, and nothing else has"},
		{c.end == lingering && c.intake != over && c.intake != lost, "who lingers takes nothing"},
		{c.end == lingering && (c.line.length > 0 || !c.out.empty() || c.out.bare), "who lingers has answered"},
		{c.end == lingering && c.in.state == atEnd, "nobody lingers for a client that has closed"},
		{c.end == closed && c.out.state == writing, "an open socket is written to"},
		{c.end == dead && c.out.state != writing && c.out.state != retrying, "the dead are closed as soon as no write is under way"},
		{c.end == open && c.turn == resting && whole, "a request that has arrived is looked at"},
		{c.end == open && c.turn == resting && c.intake == taking && c.in.state == atEnd, "the end is noticed"},
		{c.end == open && c.out.state == unwritten && c.intake == over && c.line.length == 0, "who has answered all ends"},
		{c.intake == taking && c.turn == resting && c.in.buf != nil && c.in.empty(), "who is idle has no buffer"},
		{c.end == closed && c.asks != 0, "the ended ask for nothing"},
	} {
		if law.broken {
			return errors.New(law.says)
		}
	}
	return nil
}
