package bench

import "time"

// FormatCount groups the digits of n by thousands, as reports do: 1,234,567.
func FormatCount(n uint64) string { return count(n) }

// FormatRate is FormatCount for rates, with a digit or two for small ones.
func FormatRate(perSecond float64) string { return number(perSecond) }

// FormatDuration prints d with three digits.
func FormatDuration(d time.Duration) string { return shortDuration(d) }
