// Package testutil has what the tests of several packages need: servers that do
// what a test says, byte by byte, and waits with a deadline.
package testutil
