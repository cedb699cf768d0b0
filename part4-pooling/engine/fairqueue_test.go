package engine

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func newFairQueue() *fairQueue { return &fairQueue{clients: map[netip.Addr]*streamShare{}} }

func clientNumber(n int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(n)}) }

// A client with many jobs must have its turn although others, with one each, come back all
// the time: they are behind it.
func TestFairQueueStarvesNoClient(t *testing.T) {
	t.Parallel()
	q := newFairQueue()
	owner := map[*Job]int{}
	push := func(client int) {
		j := &Job{}
		owner[j] = client
		require.True(t, q.push(clientNumber(client), j, 1000))
	}
	for range 100 {
		push(1)
	}
	push(2)
	push(3)
	had := map[int]int{}
	for range 60 {
		j := q.pop(1000)
		had[owner[j]]++
		q.release(j)
		if owner[j] != 1 {
			push(owner[j]) // its next request
		}
	}

	assert.Equal(t, map[int]int{1: 20, 2: 20, 3: 20}, had, "clients take turns. fairqueue.go, pop")
}

// A queueModel is a fairQueue that is too simple to be wrong: a list of jobs for each client.
type queueModel struct {
	waiting  map[int][]*Job // by client; 0 is none
	turns    []int          // clients with jobs that wait
	inFlight map[int][]*Job
	number   map[*Job]int // in the order of their pushes
}

func (m *queueModel) length() (n int) {
	for _, all := range m.waiting {
		n += len(all)
	}
	return n
}

func (m *queueModel) flying() (n int) {
	for _, all := range m.inFlight {
		n += len(all)
	}
	return n
}

// mayPop returns the clients that may have a stream, whose turn is first to last.
func (m *queueModel) mayPop(capacity int) (clients []int) {
	for _, c := range m.turns {
		if c == 0 || len(m.inFlight[c]) < capacity-m.flying() {
			clients = append(clients, c)
		}
	}
	return clients
}

// add adds a client to the end of turns, unless it is there.
func (m *queueModel) add(c int) {
	if !slices.Contains(m.turns, c) {
		m.turns = append(m.turns, c)
	}
}

func (m *queueModel) tidy() {
	m.turns = slices.DeleteFunc(m.turns, func(c int) bool { return len(m.waiting[c]) == 0 })
}

func TestFairQueueDoesWhatItsModelDoes(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		if !runFairQueue(t, seed) {
			t.Fatalf("seed %d", seed)
		}
	}
}

func runFairQueue(t *testing.T, seed uint64) bool {
	random := rand.New(rand.NewPCG(seed, 15))
	q, m := newFairQueue(), &queueModel{waiting: map[int][]*Job{}, inFlight: map[int][]*Job{}, number: map[*Job]int{}}
	clients, capacity, most := 1+random.IntN(5), 1+random.IntN(8), 1+random.IntN(20)
	address := func(c int) netip.Addr {
		if c == 0 {
			return netip.Addr{}
		}
		return clientNumber(c)
	}
	for step := range 300 {
		c := random.IntN(clients)
		what := ""
		switch random.IntN(7) {
		case 0, 1, 2:
			j := &Job{}
			has := len(m.waiting[c])
			if c == 0 {
				has = 0
			}
			want := has < most-m.length()
			what = fmt.Sprintf("push of %d", c)
			if q.push(address(c), j, most) != want {
				return assert.Failf(t, "a client leaves as many places as it has", "step %d: %s: want %v", step, what, want)
			}
			if want {
				m.add(c)
				m.number[j] = len(m.number)
				m.waiting[c] = append(m.waiting[c], j)
			}
		case 3, 4:
			what = "pop"
			j, may := q.pop(capacity), m.mayPop(capacity)
			if (j != nil) != (len(may) > 0) {
				return assert.Failf(t, "pop returns a job if a client may have a stream", "step %d: clients %v", step, may)
			}
			if j == nil {
				break
			}
			if want := m.waiting[may[0]][0]; j != want {
				return assert.Failf(t, "the client that has waited longest for its turn has it, and its jobs are in their order", "step %d: want one of client %d", step, may[0])
			}
			c = may[0]
			m.waiting[c] = m.waiting[c][1:]
			m.inFlight[c] = append(m.inFlight[c], j)
			m.turns = slices.DeleteFunc(m.turns, func(one int) bool { return one == c })
			m.add(c)
		case 5:
			if len(m.inFlight[c]) == 0 {
				break
			}
			what = fmt.Sprintf("release of %d", c)
			i := random.IntN(len(m.inFlight[c]))
			j := m.inFlight[c][i]
			m.inFlight[c] = slices.Delete(m.inFlight[c], i, i+1)
			q.release(j)
			if random.IntN(2) == 0 {
				what += ", and back to its place"
				m.add(c)
				m.waiting[c] = append([]*Job{j}, m.waiting[c]...)
				slices.SortStableFunc(m.waiting[c], func(a, b *Job) int { return cmp.Compare(m.number[a], m.number[b]) })
				q.putBack(j)
			}
		case 6:
			what = "removal"
			chosen := map[*Job]bool{}
			for one, all := range m.waiting {
				m.waiting[one] = slices.DeleteFunc(slices.Clone(all), func(j *Job) bool {
					gone := random.IntN(6) == 0
					chosen[j] = gone
					return gone
				})
			}
			for j := q.removeIf(func(j *Job) bool { return chosen[j] }); j != nil; j = j.waiting.next {
				if !chosen[j] {
					return assert.Failf(t, "removeIf removes what it is asked to", "step %d", step)
				}
				delete(chosen, j)
			}
			for _, gone := range chosen {
				if gone {
					return assert.Failf(t, "removeIf removes all that it is asked to", "step %d", step)
				}
			}
		}
		m.tidy()
		switch {
		case q.length != m.length() || q.inFlight != m.flying():
			return assert.Failf(t, "the queue counts its jobs", "step %d, after %s: %d wait, %d in flight; want %d, %d", step, what, q.length, q.inFlight, m.length(), m.flying())
		case q.mayPop(capacity) != (len(m.mayPop(capacity)) > 0):
			return assert.Failf(t, "mayPop says what pop does", "step %d, after %s", step, what)
		}
		for one := range clients {
			if busy := len(m.waiting[one])+len(m.inFlight[one]) > 0; busy != (q.clients[address(one)] != nil) {
				return assert.Failf(t, "the queue knows the clients with jobs, and no others", "step %d, after %s: client %d, %v", step, what, one, busy)
			}
		}
	}
	return true
}
