package http1

import "time"

// DateFormat is the format in which HTTP sends a time, IMF-fixdate (RFC 9110
// §5.6.7). Convert the time to UTC before formatting it: GMT is literal text here.
const DateFormat = "Mon, 02 Jan 2006 15:04:05 GMT"

// obsoleteDateFormats are the formats that a sender must not use and a recipient
// must accept (RFC 9110 §5.6.7): RFC 850's, with a two-digit year, and asctime(3)'s.
var obsoleteDateFormats = []string{"Monday, 02-Jan-06 15:04:05 GMT", "Mon Jan _2 15:04:05 2006"}

// ParseDate parses an HTTP-date in any of its three formats (RFC 9110 §5.6.7); ok
// is false for anything else. A two-digit year is read as the latest year with
// those digits that puts the date no more than 50 years after now.
func ParseDate(s string, now time.Time) (t time.Time, ok bool) {
	if t, err := time.Parse(DateFormat, s); err == nil {
		return t, true
	}
	if t, err := time.Parse(obsoleteDateFormats[0], s); err == nil {
		t = t.AddDate(centuryOf(now)-centuryOf(t), 0, 0)
		if t.After(now.AddDate(50, 0, 0)) {
			t = t.AddDate(-100, 0, 0)
		}
		return t, true
	}
	t, err := time.Parse(obsoleteDateFormats[1], s)
	return t, err == nil
}

func centuryOf(t time.Time) int { return t.Year() / 100 * 100 }
