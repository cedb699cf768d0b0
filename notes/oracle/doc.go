// Package oracle compares what part 4 reads and writes as HTTP/2 with what
// golang.org/x/net, a program that the web has tested for ten years, reads and writes.
// It has nothing but tests; where the two differ, the test says why.
package oracle
