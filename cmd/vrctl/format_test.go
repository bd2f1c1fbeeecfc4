package main

import "testing"

func TestFormats(t *testing.T) {
	for _, k := range []struct{ got, want string }{
		{count(0), "0"}, {count(99999), "99999"}, {count(100000), "100k"}, {count(999499), "999k"}, {count(999999), "1.00M"},
		{count(1234567), "1.23M"}, {count(98765432), "98.8M"}, {count(1<<64 - 1), "18.4E"},
		{octets(999), "999 B"}, {octets(1000), "1.00 kB"}, {octets(1850000000), "1.85 GB"},
		{memory(1023), "1023 B"}, {memory(1 << 20), "1.00 MiB"}, {memory(300 << 10), "300 KiB"},
		{age(-1), "0s"}, {age(0.9), "0s"}, {age(59), "59s"}, {age(60), "1m00s"}, {age(3661), "1h01m"}, {age(93784), "1d02h"},
		{milliseconds(0.0005), "0.500"}, {milliseconds(0.0123), "12.30"}, {milliseconds(0.123), "123.0"}, {milliseconds(2), "2000"},
		{several(1, "route"), "1 route"}, {several(2, "route"), "2 routes"},
		{cut("abcdef", 4), "abc…"}, {cut("abcd", 4), "abcd"}, {cut("abcd", 0), "abcd"},
	} {
		if k.got != k.want {
			t.Errorf("got %q, want %q", k.got, k.want)
		}
	}
}

func FuzzParseRoute(f *testing.F) {
	f.Add("10.0.0.0/8", "via", "10.1.0.2", "metric", "5")
	f.Add("blackhole", "10.0.0.0/8", "", "", "")
	f.Add("default", "unreachable", "via", "via", "via")
	f.Fuzz(func(t *testing.T, a, b, c, d, e string) {
		words := []string{a, b, c, d, e}
		for n := 1; n <= len(words); n++ {
			if r, err := parseRoute(words[:n]); err == nil && r.To == "" {
				t.Fatalf("%q is taken for a route without a network", words[:n])
			}
			if k, err := parseCondition(words[:n]); err == nil && k.test == nil {
				t.Fatalf("%q is taken for a condition without a test", words[:n])
			}
		}
	})
}
