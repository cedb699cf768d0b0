package server

import (
	"errors"

	"socketup/part4-pooling/http1"
)

// checkLaws returns what is wrong with c. It holds between two events, when the
// driver has done all that c asked for; the tests call it there.
func checkLaws(c *conn) error {
	slots, undone, credit := 0, 0, int64(0)
	for s := c.slots.head; s != nil; s = s.next {
		credit += s.exchange.credit
		if slots++; !s.done {
			undone++
		}
	}
	sending := c.output.sending != nil
	whole := c.inputState == parsing && http1.HeadLength(c.input.bytes(), 0) > 0
	for _, law := range []struct {
		broken bool
		says   string
	}{
		{slots != c.slots.length, "the line's length is the number of its slots"},
		{undone > c.running, "every slot that is not done has a handler"},
		{slots > c.srv.Limits.Pipeline, "the line is not longer than the limit"},
		{credit > c.waitingMemory, "what the slots have of the budget is counted"},
		{c.running == 0 && credit != c.waitingMemory, "without handlers only slots have some of the budget"},
		{c.srv.memory.used.Load() != c.waitingMemory, "what connections have of the budget is what is out"},
		{c.waitingMemory > c.srv.Limits.WaitingMemory, "the budget is not overdrawn"},
		{c.closeState == closed && c.running == 0 && c.waitingMemory != 0, "the ended give all back"},
		{c.inputState == stalled && !c.pipelineFull(), "a stalled connection is full: nobody would wake it"},
		{(c.inputState == exclusive || c.inputState == stuck) && c.running == 0 && c.closeState == open, "who is alone has a handler"},
		{(c.output.writeState == writing || c.output.writeState == writeRetry) && !sending, "a write writes something"},
		{c.output.writeState == writeBlocked && !sending && c.closeState == open, "a blocked connection has something to write"},
		{(c.output.deadline != 0) != sending, "what is being sent has a deadline, and nothing else has"},
		{c.closeState == lingering && c.inputState != inputClosed && c.inputState != stuck, "who lingers takes nothing"},
		{c.closeState == lingering && (c.slots.length > 0 || !c.output.empty() || c.output.closeDelimited), "who lingers has answered"},
		{c.closeState == lingering && c.input.readState == atEOF, "nobody lingers for a client that has closed"},
		{c.closeState == closed && c.output.writeState == writing, "an open socket is written to"},
		{c.closeState == closing && c.output.writeState != writing && c.output.writeState != writeRetry, "the dead are closed as soon as no write is under way"},
		{c.closeState == open && c.turn == turnIdle && whole, "a request that has arrived is looked at"},
		{c.closeState == open && c.turn == turnIdle && c.inputState == parsing && c.input.readState == atEOF, "the end is noticed"},
		{c.closeState == open && c.output.writeState == notWriting && c.inputState == inputClosed && c.slots.length == 0, "who has answered all ends"},
		{c.inputState == parsing && c.turn == turnIdle && c.input.buf != nil && c.input.empty(), "who is idle has no buffer"},
		{c.closeState == closed && c.actions != 0, "the ended ask for nothing"},
	} {
		if law.broken {
			return errors.New(law.says)
		}
	}
	return nil
}
