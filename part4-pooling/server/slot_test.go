package server

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// drainSlots pops every completed slot at the head, as conn.advance does.
func drainSlots(q *slotQueue) (out string) {
	for s := q.popReady(); s != nil; s = q.popReady() {
		out += string(s.encoded)
	}
	return out
}

func TestSlotQueuePopsOnlyItsHead(t *testing.T) {
	skipIfJudging(t)
	var l slotQueue
	var one, two, three slot
	l.reserve(&one)
	l.reserve(&two)
	l.reserve(&three)

	l.complete(&three, []byte("3"))
	assert.Empty(t, drainSlots(&l), "3 is done, but 1 and 2 are ahead of it")
	l.complete(&one, []byte("1"))
	assert.Equal(t, "1", drainSlots(&l))
	l.complete(&two, []byte("2"))
	assert.Equal(t, "23", drainSlots(&l))
	assert.Zero(t, l.length)
}

func TestCompletingASlotTwicePanics(t *testing.T) {
	skipIfJudging(t)
	var l slotQueue
	var s slot
	l.reserve(&s)
	l.complete(&s, nil)

	assert.Panics(t, func() { l.complete(&s, nil) })
}

// Whatever the order in which handlers finish and new requests arrive, the responses
// leave in the order of the reservations: none is lost, and none is sent twice.
func TestSlotQueueKeepsOrderInRandomRuns(t *testing.T) {
	skipIfJudging(t)
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 3))
		var l slotQueue
		var working []*slot
		var want, got string
		for next := 0; next < 50 || len(working) > 0; {
			if next < 50 && (len(working) == 0 || r.IntN(2) == 0) {
				s := &slot{}
				l.reserve(s)
				working = append(working, s)
				want += fmt.Sprintf("%d ", next)
				s.encoded = fmt.Appendf(nil, "%d ", next)
				next++
				continue
			}
			i := r.IntN(len(working))
			s := working[i]
			working = append(working[:i], working[i+1:]...)
			l.complete(s, s.encoded)
			if r.IntN(2) == 0 {
				got += drainSlots(&l)
			}
		}
		got += drainSlots(&l)
		require.Equal(t, want, got, "seed %d", seed)
		require.Zero(t, l.length)
	}
}

// A leader whose handler was slow cannot reclaim an offer that a later leader made.
func TestTokenIsNotReclaimedByAnEarlierHolder(t *testing.T) {
	skipIfJudging(t)
	var k token
	assert.True(t, k.offer(1), "there is no follower yet: start one")
	assert.True(t, k.acquire(), "the follower acquires the token")
	assert.True(t, k.offer(2), "and offers it in turn")

	assert.False(t, k.reclaim(1), "request 1's handler returns: the offer is not its own")
	assert.True(t, k.reclaim(2))
	assert.False(t, k.offer(3), "a follower has been started and has not looked yet")
	assert.True(t, k.reclaim(3))
	assert.False(t, k.acquire(), "the follower is too late")
}
