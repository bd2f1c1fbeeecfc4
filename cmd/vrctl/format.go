package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// count of things: exact as long as that is short, then to three digits.
func count(n uint64) string {
	if n < 100_000 {
		return strconv.FormatUint(n, 10)
	}
	return scaled(float64(n), 1000, "k", "M", "G", "T", "P", "E")
}

// octets in powers of ten, as data rates are told.
func octets(n uint64) string {
	if n < 1000 {
		return strconv.FormatUint(n, 10) + " B"
	}
	return scaled(float64(n), 1000, " kB", " MB", " GB", " TB", " PB", " EB")
}

// memory in powers of two.
func memory(n uint64) string {
	if n < 1024 {
		return strconv.FormatUint(n, 10) + " B"
	}
	return scaled(float64(n), 1024, " KiB", " MiB", " GiB", " TiB", " PiB", " EiB")
}

func scaled(v, base float64, units ...string) string {
	i := -1
	for v >= base && i+1 < len(units) {
		v /= base
		i++
	}
	if v >= 999.5 && i+1 < len(units) && base == 1000 {
		v /= base // would be rounded to a fourth digit
		i++
	}
	digits := 0
	switch {
	case v < 9.995:
		digits = 2
	case v < 99.95:
		digits = 1
	}
	return strconv.FormatFloat(v, 'f', digits, 64) + units[i]
}

// age in its two largest units.
func age(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d < 0:
		return "0s"
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd%02dh", int(d.Hours())/24, int(d.Hours())%24)
}

// milliseconds as ping prints them: about four digits.
func milliseconds(seconds float64) string {
	ms := seconds * 1000
	switch {
	case ms < 10:
		return strconv.FormatFloat(ms, 'f', 3, 64)
	case ms < 100:
		return strconv.FormatFloat(ms, 'f', 2, 64)
	case ms < 1000:
		return strconv.FormatFloat(ms, 'f', 1, 64)
	}
	return strconv.FormatFloat(ms, 'f', 0, 64)
}

func clock(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") }

// several things in a phrase: "1 route", "2 routes".
func several(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + one + "s"
}

// duration of a flag: Go's form, or a number of seconds as ping takes them.
func duration(flag, s string, least time.Duration) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if f, e := strconv.ParseFloat(s, 64); e == nil && f >= 0 && f < 1e9 {
		d, err = time.Duration(f*float64(time.Second)), nil
	}
	if err != nil || d < least {
		return 0, usagef("%s %s: a time like 500ms or 10s is wanted, at least %s", flag, s, least)
	}
	return d, nil
}

// number of a command line.
func number(what, s string, low, high int) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < low || n > high {
		return 0, usagef("%s %s: a number from %d to %d is wanted", what, s, low, high)
	}
	return n, nil
}

// paragraph joins what there is with commas.
func commas(parts []string) string { return strings.Join(parts, ", ") }
