//go:build !linux

package main

import "testing"

const needsLinux = "shown on Linux only; a Linux container will do"

func residentMemory(t testing.TB, _ int) int         { t.Skip(needsLinux); return 0 }
func limitDescriptors(t testing.TB, _ int, _ uint64) { t.Skip(needsLinux) }
func requireDescriptors(t testing.TB, _ uint64)      { t.Skip(needsLinux) }
