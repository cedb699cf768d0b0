package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// sysctl reads a numeric kernel parameter; name is its path under /proc/sys.
func sysctl(name string) (int, error) {
	text, err := os.ReadFile("/proc/sys/" + name)
	if err != nil {
		return 0, fmt.Errorf("sysctl %s: %w", strings.ReplaceAll(name, "/", "."), err)
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}
