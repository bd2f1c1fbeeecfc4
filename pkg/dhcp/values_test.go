package dhcp

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestClasslessRoutesAsTheExamplesOfRFC3442(t *testing.T) {
	for prefix, want := range map[string]string{
		"0.0.0.0/0":          "\x00\x0a\x00\x00\x01",
		"10.0.0.0/8":         "\x08\x0a\x0a\x00\x00\x01",
		"10.17.0.0/16":       "\x10\x0a\x11\x0a\x00\x00\x01",
		"10.27.129.0/24":     "\x18\x0a\x1b\x81\x0a\x00\x00\x01",
		"10.229.0.128/25":    "\x19\x0a\xe5\x00\x80\x0a\x00\x00\x01",
		"10.198.122.47/32":   "\x20\x0a\xc6\x7a\x2f\x0a\x00\x00\x01",
		"169.254.169.254/32": "\x20\xa9\xfe\xa9\xfe\x0a\x00\x00\x01",
	} {
		r := Route{netip.MustParsePrefix(prefix), 0x0a000001}
		b := AppendRoutes(nil, r)
		if string(b) != want {
			t.Errorf("%v is written % x, expected % x", prefix, b, want)
		}
		if got, ok := DecodeRoutes(b); !ok || !slices.Equal(got, []Route{r}) {
			t.Errorf("%v is read %v, %v", prefix, got, ok)
		}
	}
}

func TestClasslessRoutesThatLieAreRefused(t *testing.T) {
	for _, v := range []string{"\x21\x0a\x00\x00\x00\x00\x0a\x00\x00\x01", "\x18\x0a\x00", "\x00\x0a\x00\x00", "\xff"} {
		if got, ok := DecodeRoutes([]byte(v)); ok {
			t.Errorf("% x is read %v", v, got)
		}
	}
	if got, ok := DecodeRoutes([]byte("\x08\x0a\x0a\x00\x00\x01\x04\xff\x0a\x00\x00\x01")); !ok || got[1].To != netip.MustParsePrefix("240.0.0.0/4") {
		t.Errorf("bits behind the prefix count: %v, %v", got, ok)
	}
}

func TestSearchListAsTheExampleOfRFC3397(t *testing.T) {
	got, ok := DecodeSearch([]byte("\x03eng\x05apple\x03com\x00\x09marketing\xc0\x04"))
	if !ok || !slices.Equal(got, []string{"eng.apple.com", "marketing.apple.com"}) {
		t.Errorf("%v, %v", got, ok)
	}
	if got, ok := DecodeSearch([]byte("\x03ORG\x00\x01a\xc0\x00\x01b\xc0\x05")); !ok || !slices.Equal(got, []string{"org", "a.org", "b.a.org"}) {
		t.Errorf("a pointer behind a pointer: %v, %v", got, ok)
	}
}

func TestSearchListsWithLoopsAndLiesAreRefused(t *testing.T) {
	for name, v := range map[string]string{
		"a pointer to itself":           "\xc0\x00",
		"a pointer forward":             "\xc0\x02\x01a\x00",
		"a pointer into its own name":   "\x01a\xc0\x00",
		"two that point at one another": "\x01a\xc0\x04\x01b\xc0\x00",
		"half a pointer":                "\x01a\xc0",
		"a label past the end":          "\x05abc",
		"no end":                        "\x01a",
		"the root":                      "\x00",
		"a label of an unknown kind":    "\x41a\x00",
		"a dot within a label":          "\x03a.b\x00",
		"a zero within a label":         "\x03a\x00b\x00",
		"a name of 260 octets":          strings.Repeat("\x33"+strings.Repeat("x", 51), 5) + "\x00",
	} {
		if got, ok := DecodeSearch([]byte(v)); ok {
			t.Errorf("%s is read %v", name, got)
		}
	}
}

func TestNamesThatAreNoneAreNotWritten(t *testing.T) {
	for _, n := range []string{"a..b", ".a", strings.Repeat("x", 64) + ".a", strings.Repeat("abcdefg.", 32) + "a"} {
		if b, ok := AppendName([]byte{7}, n); ok || len(b) != 1 {
			t.Errorf("%q is written % x", n, b)
		}
	}
	if _, ok := AppendSearch(nil, "lan", "."); ok {
		t.Error("the root stands in a search list")
	}
	if b, ok := AppendSearch(nil, "lan.", "a.b"); !ok || string(b) != "\x03lan\x00\x01a\x01b\x00" {
		t.Errorf("% x, %v", b, ok)
	}
}

func TestHostnamesBecomeOneLabel(t *testing.T) {
	for name, want := range map[string]string{
		"printer": "printer", "Printer.Home.arpa": "printer", "Ann's iPhone": "ann-s-iphone", "--x--": "x", "": "", "...": "", "ünïcode": "n--code", "a_b": "a-b",
		"localhost": "", "LOCALHOST.localdomain": "", "x\x00y": "x", "\x00": "", "*": "", strings.Repeat("a", 70): strings.Repeat("a", 63),
		strings.Repeat("a", 62) + "- b": strings.Repeat("a", 62), "192.168.1.1": "192", "host\n127.0.0.1 evil": "host-127",
	} {
		if got := Label(name); got != want {
			t.Errorf("%q becomes %q, expected %q", name, got, want)
		}
	}
}

func TestFQDNInBothEncodings(t *testing.T) {
	for v, want := range map[string]FQDN{
		"\x00\x00\x00host.lan":            {0, "host.lan"},
		"\x05\x00\x00\x04Host\x03lan\x00": {FQDNServerUpdates | FQDNEncoded, "host.lan"},
		"\x04\x00\x00\x04host":            {FQDNEncoded, "host"},
		"\x04\x00\x00":                    {FQDNEncoded, ""},
		"\xf8\x00\x00":                    {FQDNNoUpdates, ""},
	} {
		got, ok := DecodeFQDN([]byte(v))
		if !ok || got != want {
			t.Errorf("% x is read %+v, %v, expected %+v", v, got, ok, want)
		}
		if again, ok := DecodeFQDN(got.Append(nil)); !ok || again != got {
			t.Errorf("%+v comes back as %+v, %v", got, again, ok)
		}
	}
	for _, v := range []string{"", "\x00\x00", "\x04\x00\x00\xc0\x00", "\x04\x00\x00\x09a", "\x04\x00\x00\x01a\x00x"} {
		if got, ok := DecodeFQDN([]byte(v)); ok {
			t.Errorf("% x is read %+v", v, got)
		}
	}
}

func TestSubOptionsThatLieAreRefused(t *testing.T) {
	for _, v := range []string{"\x01", "\x01\x05abc", "\x01\x01a\x01\x01b", "\x01\x01a\x05"} {
		if got, ok := DecodeSubOptions([]byte(v)); ok {
			t.Errorf("% x is read %v", v, got)
		}
	}
	v := []byte("\x01\x04eth0\x05\x04\x0a\x01\x00\x00")
	got, ok := DecodeSubOptions(v)
	if !ok || got.Addr(RelayLinkSelection) != 0x0a010000 || string(got[RelayCircuitID]) != "eth0" || got.Addr(RelayCircuitID) == 0 || got.Addr(9) != 0 {
		t.Errorf("%v, %v", got, ok)
	}
	if again := got.Append(nil); !bytes.Equal(again, v) {
		t.Errorf("written % x, expected % x", again, v)
	}
}

func TestAddressListsAreWholeAddresses(t *testing.T) {
	for _, n := range []int{0, 3, 5} {
		if got, ok := DecodeAddrs(make([]byte, n)); ok {
			t.Errorf("%d octets are read %v", n, got)
		}
	}
	if got, ok := DecodeAddrs([]byte{10, 0, 0, 1, 10, 0, 0, 2}); !ok || len(got) != 2 || got[1] != 0x0a000002 {
		t.Errorf("%v, %v", got, ok)
	}
}

// FuzzOptionValues: no value makes a decoder panic, and what it has read can be written and read again.
func FuzzOptionValues(f *testing.F) {
	f.Add([]byte("\x18\x0a\x1b\x81\x0a\x00\x00\x01"))
	f.Add([]byte("\x03eng\x05apple\x03com\x00\x09marketing\xc0\x04"))
	f.Add([]byte("\x01a\xc0\x00"))
	f.Add([]byte("\x05\x00\x00\x04Host\x03lan\x00"))
	f.Add([]byte("\x01\x04eth0\x05\x04\x0a\x01\x00\x00"))
	f.Fuzz(func(t *testing.T, v []byte) {
		if routes, ok := DecodeRoutes(v); ok {
			if again, ok := DecodeRoutes(AppendRoutes(nil, routes...)); !ok || !slices.Equal(routes, again) {
				t.Fatalf("routes %v come back as %v", routes, again)
			}
		}
		if names, ok := DecodeSearch(v); ok {
			b, ok := AppendSearch(nil, names...)
			if again, ok2 := DecodeSearch(b); !ok || !ok2 || !slices.Equal(names, again) {
				t.Fatalf("names %q come back as %q", names, again)
			}
		}
		if q, ok := DecodeFQDN(v); ok {
			if again, ok := DecodeFQDN(q.Append(nil)); !ok || again != q {
				t.Fatalf("name %+v comes back as %+v", q, again)
			}
		}
		if subs, ok := DecodeSubOptions(v); ok {
			if again, ok := DecodeSubOptions(subs.Append(nil)); !ok || !same(Options(subs), Options(again)) {
				t.Fatalf("sub-options %v come back as %v", subs, again)
			}
		}
		label := Label(string(v))
		if label != Label(label) || len(label) > maxLabel || strings.ContainsAny(label, ". \x00") {
			t.Fatalf("%q becomes %q", v, label)
		}
	})
}
