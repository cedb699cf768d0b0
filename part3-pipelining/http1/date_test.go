package http1

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestDatesInAllThreeFormats(t *testing.T) {
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	const rule = "MUST, RFC 9110 §5.6.7: a recipient accepts all three formats (date.go, ParseDate): %q"
	for text, want := range map[string]string{
		"Sun, 06 Nov 1994 08:49:37 GMT":     "1994-11-06T08:49:37Z",
		"Sunday, 06-Nov-94 08:49:37 GMT":    "1994-11-06T08:49:37Z",
		"Sun Nov  6 08:49:37 1994":          "1994-11-06T08:49:37Z",
		"Wed Nov 16 08:49:37 1994":          "1994-11-16T08:49:37Z",
		"Saturday, 01-Jan-00 00:00:00 GMT":  "2000-01-01T00:00:00Z",
		"Wednesday, 01-Jan-70 00:00:00 GMT": "2070-01-01T00:00:00Z", // less than 50 years ahead
		"Wednesday, 25-Nov-76 12:00:00 GMT": "2076-11-25T12:00:00Z", // 50 years, not more
		"Thursday, 25-Nov-76 12:00:01 GMT":  "1976-11-25T12:00:01Z",
		"Tuesday, 29-Feb-72 00:00:00 GMT":   "2072-02-29T00:00:00Z",
	} {
		got, ok := ParseDate(text, now)
		if assert.True(t, ok, rule, text) {
			assert.Equal(t, want, got.Format(time.RFC3339), rule, text)
		}
	}
	for _, text := range []string{"", "now", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 08:49:37 CET", "06 Nov 1994 08:49:37 GMT", "Sun, 31 Feb 1994 08:49:37 GMT", "1994-11-06T08:49:37Z"} {
		_, ok := ParseDate(text, now)
		assert.False(t, ok, "%q is no date of HTTP", text)
	}
}
