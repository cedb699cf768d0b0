package server

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// drainLine takes out what is ready, as conn.advance does.
func drainLine(l *line) (out string) {
	for s := l.ready(); s != nil; s = l.ready() {
		out += string(s.answer)
	}
	return out
}

func TestLineLetsOutTheHeadOnly(t *testing.T) {
	ours(t)
	var l line
	var one, two, three slot
	l.reserve(&one)
	l.reserve(&two)
	l.reserve(&three)

	l.finish(&three, []byte("3"))
	assert.Empty(t, drainLine(&l), "3 is done, but 1 and 2 are before it")
	l.finish(&one, []byte("1"))
	assert.Equal(t, "1", drainLine(&l))
	l.finish(&two, []byte("2"))
	assert.Equal(t, "23", drainLine(&l))
	assert.Zero(t, l.length)
}

func TestSlotFinishedTwiceIsLoud(t *testing.T) {
	ours(t)
	var l line
	var s slot
	l.reserve(&s)
	l.finish(&s, nil)

	assert.Panics(t, func() { l.finish(&s, nil) })
}

// Any order of finishing, with new requests coming in between, lets the answers
// out in the order of the reservations: none lost, none twice.
func TestLineKeepsOrderInRandomRuns(t *testing.T) {
	ours(t)
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 3))
		var l line
		var working []*slot
		var want, got string
		for next := 0; next < 50 || len(working) > 0; {
			if next < 50 && (len(working) == 0 || r.IntN(2) == 0) {
				s := &slot{}
				l.reserve(s)
				working = append(working, s)
				want += fmt.Sprintf("%d ", next)
				s.answer = fmt.Appendf(nil, "%d ", next)
				next++
				continue
			}
			i := r.IntN(len(working))
			s := working[i]
			working = append(working[:i], working[i+1:]...)
			l.finish(s, s.answer)
			if r.IntN(2) == 0 {
				got += drainLine(&l)
			}
		}
		got += drainLine(&l)
		require.Equal(t, want, got, "seed %d", seed)
		require.Zero(t, l.length)
	}
}

// An offer that a slow handler made long ago is not his to take back.
func TestTokenIsNotTakenBackByAnEarlierHolder(t *testing.T) {
	ours(t)
	var k token
	assert.True(t, k.offer(1), "nobody stands by yet: start a follower")
	assert.True(t, k.take(), "the follower takes it")
	assert.True(t, k.offer(2), "and offers it himself")

	assert.False(t, k.takeBack(1), "request 1's handler comes back: the offer is not his")
	assert.True(t, k.takeBack(2))
	assert.False(t, k.offer(3), "a follower is still on his way")
	assert.True(t, k.takeBack(3))
	assert.False(t, k.take(), "it comes too late")
}
