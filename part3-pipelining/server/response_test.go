package server

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestFieldWithALineEndPanics(t *testing.T) {
	skipIfJudging(t)
	assert.Panics(t, func() { new(Response).AddField("Location", "/\r\nSet-Cookie: a=b") }, "response splitting")
}
