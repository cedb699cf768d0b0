package engine

import "sync/atomic"

// Counts are the counters of all engines of a gateway, since it started. Any goroutine
// may update and read them. The zero value is ready to use.
type Counts struct {
	Engines    atomic.Uint64 // engines created
	Retired    atomic.Uint64 // engines that have ended
	Pushed     atomic.Uint64 // jobs that Registry.Push accepted
	Direct     atomic.Uint64 // requests that a handler sent instead: counted by the gateway
	Writes     atomic.Uint64 // batches written; less than Pushed when jobs share a write
	Retried    atomic.Uint64 // jobs that were moved to another connection
	Cancelled  atomic.Uint64 // HTTP/2 streams that we have reset
	Iterations atomic.Uint64 // of the writers' loops: for tests that look for busy loops

	byState [jobWithdrawn + 1]atomic.Uint64 // jobs that have reached a final state
}

// Stats are the Counts at one moment, as /-/stats shows them.
type Stats struct {
	Engines   uint64 `json:"engines"`   // running now
	Pushed    uint64 `json:"pushed"`    // jobs that engines accepted
	Direct    uint64 `json:"direct"`    // requests for an engine's backend that a handler had to send
	Done      uint64 `json:"done"`      // jobs with a complete response
	Failed    uint64 `json:"failed"`    // jobs that ended in an error
	Withdrawn uint64 `json:"withdrawn"` // jobs whose responses were no longer wanted
	Retried   uint64 `json:"retried"`   // jobs moved to another connection
	Writes    uint64 `json:"writes"`    // batches written for all jobs
}

// Snapshot reads the counters one after another, without a lock: their sums may be off
// by the jobs that end meanwhile, but Engines is never negative.
func (c *Counts) Snapshot() Stats {
	retired := c.Retired.Load() // first: Engines, read later, cannot be smaller
	return Stats{c.Engines.Load() - retired, c.Pushed.Load(), c.Direct.Load(), c.byState[jobDone].Load(), c.byState[jobFailed].Load(),
		c.byState[jobWithdrawn].Load(), c.Retried.Load(), c.Writes.Load()}
}
