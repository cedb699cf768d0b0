package main

import (
	"cmp"
	"flag"
	"fmt"
	"math"
	"strconv"
	"time"
)

// A boundedFlag is a flag that accepts values from low to high. For any other its error
// names the range.
type boundedFlag[T cmp.Ordered] struct {
	value, low, high T
	parse            func(string) (T, error)
}

func (b *boundedFlag[T]) String() string { return fmt.Sprint(b.value) }

func (b *boundedFlag[T]) Set(text string) error {
	v, err := b.parse(text)
	if err != nil || !(v >= b.low && v <= b.high) { // negated, so that NaN is an error too
		return fmt.Errorf("want a value from %v to %v", b.low, b.high)
	}
	b.value = v
	return nil
}

func countFlag(flags *flag.FlagSet, name string, value, low, high int, usage string) *int {
	b := &boundedFlag[int]{value, low, high, strconv.Atoi}
	flags.Var(b, name, usage)
	return &b.value
}

func durationFlag(flags *flag.FlagSet, name string, value, low time.Duration, usage string) *time.Duration {
	b := &boundedFlag[time.Duration]{value, low, 24 * time.Hour, time.ParseDuration}
	flags.Var(b, name, usage)
	return &b.value
}

func floatFlag(flags *flag.FlagSet, name string, value, low, high float64, usage string) *float64 {
	b := &boundedFlag[float64]{value, low, high, func(s string) (float64, error) { return strconv.ParseFloat(s, 64) }}
	flags.Var(b, name, usage)
	return &b.value
}

const (
	maxBacklog = math.MaxInt32 // listen(2) takes an int
	maxPort    = math.MaxUint16
)
