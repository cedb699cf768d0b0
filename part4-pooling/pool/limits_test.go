package pool

import (
	"flag"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestInvalidLimitsAreRefusedByName(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*Limits){
		"-backend-connections":     func(l *Limits) { l.PerBackend = 0 },
		"-all-backend-connections": func(l *Limits) { l.Total = 0 },
		"-backend-queue":           func(l *Limits) { l.Queue = -1 },
		"-backend-wait":            func(l *Limits) { l.MaxWait = -1 },
		"-backend-idle":            func(l *Limits) { l.IdleTime = 0 },
		"-backend-life":            func(l *Limits) { l.Lifetime = 0 },
		"-backend-quarantine":      func(l *Limits) { l.Quarantine = -1 },
	} {
		var l Limits
		l.AddFlags(flag.NewFlagSet("", flag.ContinueOnError))
		assert.NoError(t, l.Validate())

		spoil(&l)

		assert.ErrorContains(t, l.Validate(), name)
	}
}
