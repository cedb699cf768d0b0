//go:build !linux

package main

// Elsewhere a process that leaves its group cannot be found again.
func adoptOrphans() {}
func killOrphans()  {}
