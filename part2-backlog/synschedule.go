package main

import "time"

// synSchedule is when a client sends its SYN again if nothing comes back, from
// the first SYN on: after a second, and, since Linux 6.5, again after a second
// for tcp_syn_linear_timeouts more times; then each wait is twice the one before,
// up to two minutes. A wait after the last SYN ends in ETIMEDOUT. retries is
// tcp_syn_retries. tcp_retransmit_timer() in net/ipv4/tcp_timer.c.
func synSchedule(retries, linear int) (again []time.Duration) {
	const first, longest = time.Second, 2 * time.Minute
	at, wait := time.Duration(0), first
	for n := range retries + linear {
		at += wait
		again = append(again, at)
		if n >= linear {
			wait = min(2*wait, longest)
		}
	}
	return again
}
