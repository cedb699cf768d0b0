//go:build !linux

package main

import "errors"

var errLinux = errors.New("measured on Linux only")

func limit(string) error  { return errLinux }
func load([]string) error { return errLinux }
func growth(string) error { return errLinux }
