package main

import "testing"

// contract returns the address of the server to judge: the one in $SERVER, or
// this part's.
func contract(t testing.TB) string {
	t.Helper()
	if addr := startJudgedServer(t); addr != "" {
		return addr
	}
	return startServer(t).addr
}
