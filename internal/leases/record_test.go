package leases

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"vrouterd/internal/packet"
	"vrouterd/pkg/dhcp/server"
)

var noon = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

// lease number n, with as much in it as n has bits.
func lease(n int) server.Lease {
	l := server.Lease{
		Addr: packet.Addr(0xc0a80100 + n), State: server.Bound, HType: 1, CHAddr: []byte{2, 0, 0, byte(n >> 16), byte(n >> 8), byte(n)},
		Subnet: "lan", Start: noon.Add(time.Duration(n) * time.Second), Expires: noon.Add(time.Duration(n)*time.Second + 12*time.Hour),
	}
	if n&1 != 0 {
		l.ClientID = append([]byte{1}, l.CHAddr...)
	}
	if n&2 != 0 {
		l.Hostname = "printer"
	}
	if n&4 != 0 {
		l.Vendor = "MSFT 5.0 \"x\" #0123abcd\n\xff"
	}
	if n&8 != 0 {
		l.Agent = []byte("\x01\x04port\x02\x01\x00")
	}
	return l
}

func TestLineIsOneThatAPersonCanRead(t *testing.T) {
	l := lease(3)
	const want = "2026-11-30T12:00:03Z bound 192.168.1.3 02:00:00:00:00:03 until=2026-12-01T00:00:03Z subnet=lan id=01020000000003 name=printer #"
	if got := string(appendRecord(nil, &l)); !strings.HasPrefix(got, want) || len(got) != len(want)+8 {
		t.Errorf("the line is\n%s, want\n%s and a checksum", got, want)
	}
}

func TestEveryFieldOfALeaseSurvivesItsLine(t *testing.T) {
	leases := []server.Lease{
		{Addr: 1, State: server.Free},
		{Addr: 2, State: server.Free, Start: noon},
		{Addr: 3, State: server.Declined, HType: 1, Expires: noon},
		{Addr: 4, State: server.Expired, HType: 6, CHAddr: []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, Expires: noon},
		{Addr: 5, State: server.Released, HType: 0, ClientID: []byte{0xff}, Subnet: "två ord", Hostname: "#1=\"2\"", Vendor: `\`, Expires: noon},
		{Addr: ^packet.Addr(0), State: server.Bound, HType: 32, CHAddr: []byte{9}, Vendor: strings.Repeat("\x00", 255)},
	}
	for n := range 16 {
		leases = append(leases, lease(n))
	}
	for _, want := range leases {
		line := string(appendRecord(nil, &want))
		if got, err := parseRecord(line); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s\nis read as %+v, %v\nwant %+v", line, got, err, want)
		}
	}
}

func TestTimesAreWholeSecondsAndALeaseEndsNoEarlier(t *testing.T) {
	for _, c := range []struct {
		start, expires time.Time
		want           string
	}{
		{noon.Add(999 * time.Millisecond), noon.Add(time.Nanosecond), "2026-11-30T12:00:00Z bound 0.0.0.1 02 until=2026-11-30T12:00:01Z"},
		{noon.In(time.FixedZone("", 7200)), noon.In(time.FixedZone("", -3600)), "2026-11-30T12:00:00Z bound 0.0.0.1 02 until=2026-11-30T12:00:00Z"},
		{time.Time{}, time.Time{}, "- bound 0.0.0.1 02 until=never"},
		{time.Date(12345, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9998, 12, 31, 23, 59, 59, 1, time.UTC), "- bound 0.0.0.1 02 until=never"},
		{time.Unix(-1, 0), time.Unix(-1, 0), "- bound 0.0.0.1 02 until=1970-01-01T00:00:00Z"},
	} {
		l := server.Lease{Addr: 1, State: server.Bound, HType: 1, CHAddr: []byte{2}, Start: c.start, Expires: c.expires}
		line := string(appendRecord(nil, &l))
		if body, _, _ := cutChecksum(line); body != c.want {
			t.Errorf("%v to %v is %q, want %q", c.start, c.expires, body, c.want)
		}
		if _, err := parseRecord(line); err != nil {
			t.Errorf("%s cannot be read: %v", line, err)
		}
	}
}

func TestLineByHandNeedsNoChecksum(t *testing.T) {
	got, err := parseRecord("-   bound\t10.0.0.9 02:00:00:00:00:09  until=never name=nas")
	want := server.Lease{Addr: 0x0a000009, State: server.Bound, HType: 1, CHAddr: []byte{2, 0, 0, 0, 0, 9}, Hostname: "nas"}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("read as %+v, %v", got, err)
	}
}

func TestDamagedLineIsRefusedWithWhatIsWrong(t *testing.T) {
	const good = "2026-11-30T12:00:03Z bound 192.168.1.3 02:00:00:00:00:03 until=never"
	for line, want := range map[string]string{
		"":                                     "a time, a state and an address",
		good + " #00000000":                    "checksum",
		good + " #0000000g":                    "KEY=VALUE",
		good + " until=never":                  "twice",
		good + " hw=1":                         "unknown",
		good + ` name="x`:                      "not closed",
		good + ` name="x"y`:                    "goes on",
		good + ` name=x"y"`:                    "quote within",
		good + " id=012":                       "hexadecimal",
		good + " agent=":                       "hexadecimal",
		good + " type=256":                     "type=",
		"yesterday bound 192.168.1.3 02 until": "no time",
		"1969-12-31T23:59:59Z bound 192.168.1.3 02 until=never": "no time",
		"- offered 192.168.1.3 02 until=never":                  "no state",
		"- bound ::1 02 until=never":                            "IPv4",
		"- bound 192.168.1.3":                                   "hardware address is missing",
		"- bound 192.168.1.3 2 until=never":                     "no hardware address",
		"- bound 192.168.1.3 02-00 until=never":                 "no hardware address",
		"- bound 192.168.1.3 - until=never":                     "neither",
		"- bound 192.168.1.3 02":                                "until= is missing",
		"- bound 192.168.1.3 02 until=9999-01-01T00:00:00Z":     "no time",
		"- free 192.168.1.3 02":                                 "nothing more",
	} {
		if l, err := parseRecord(line); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %+v, %v; want an error with %q", line, l, err, want)
		}
	}
}

func TestEveryChangedOctetOfALineIsNoticed(t *testing.T) {
	l := lease(15)
	line := appendRecord(nil, &l)
	for i := range line {
		for bit := range 8 {
			changed := append([]byte{}, line...)
			changed[i] ^= 1 << bit
			if got, err := parseRecord(string(changed)); err == nil && !reflect.DeepEqual(got, l) {
				t.Errorf("octet %d, bit %d: %s is read as %+v", i, bit, changed, got)
			}
		}
	}
}

func FuzzRecord(f *testing.F) {
	for n := range 16 {
		l := lease(n)
		f.Add(string(appendRecord(nil, &l)))
		body, _, _ := cutChecksum(string(appendRecord(nil, &l)))
		f.Add(body)
	}
	f.Add("- free 1.2.3.4")
	f.Add("- declined 1.2.3.4 - until=2026-01-01T00:00:00.5+01:00")
	f.Fuzz(func(t *testing.T, line string) {
		first, err := parseRecord(line)
		if err != nil {
			return
		}
		again := string(appendRecord(nil, &first))
		second, err := parseRecord(again)
		if err != nil || !reflect.DeepEqual(first, second) {
			t.Fatalf("%q is read as %+v, written as %q, and read as %+v, %v", line, first, again, second, err)
		}
		if strings.ContainsRune(again, '\n') {
			t.Fatalf("%q is more than a line", again)
		}
	})
}
