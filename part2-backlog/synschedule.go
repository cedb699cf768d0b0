package main

import "time"

// synSchedule returns when Linux retransmits a SYN that gets no reply, measured from
// the first SYN. The first wait is a second. Since Linux 6.5 the next linear waits
// (tcp_syn_linear_timeouts) are also a second each. Then each wait is twice the one
// before, up to two minutes. retries is tcp_syn_retries. After the last SYN and one
// more wait, connect(2) fails with ETIMEDOUT. See tcp_retransmit_timer in
// net/ipv4/tcp_timer.c.
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
