package http1

import "time"

// DateFormat is how HTTP writes a time: RFC 9110 §5.6.7. The time is in UTC.
const DateFormat = "Mon, 02 Jan 2006 15:04:05 GMT"

// obsoleteDateFormats are the formats that a sender must not use and a recipient must
// understand (RFC 9110 §5.6.7): that of RFC 850, with two digits for the year,
// and that of asctime(3). The one to send is DateFormat.
var obsoleteDateFormats = []string{"Monday, 02-Jan-06 15:04:05 GMT", "Mon Jan _2 15:04:05 2006"}

// ParseDate reads a date of a field in any of the three formats. A year of two
// digits is the one nearest to now that is not more than 50 years ahead.
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
