package leases

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"vrouterd/pkg/dhcp/server"
)

func TestDnsmasqFileIsRead(t *testing.T) {
	const text = `1796040000 02:00:00:00:00:31 192.168.1.131 nas 01:02:00:00:00:00:31
0 02:00:00:00:00:32 192.168.1.132 * *

1796040001 06-00:01:02:03:04:05:06:07 192.168.1.133 Laptop.home.arpa ff:00:01
1796040002 00- 192.168.1.134 under_score ff:00:02
duid 00:01:00:01:2a:bb:cc:dd:02:00:00:00:00:01
1796040000 16777217 fd00::131 nas 00:01:00:01:2a:bb:cc:dd:02:00:00:00:00:31
1796040000 T16777218 fd00::132 * *
`
	got, skipped, err := ParseDnsmasq(strings.ReplaceAll(text, "fd00::132 * *", "fd00::132 * *\r"))
	want := []server.Lease{
		{Addr: 0xc0a80183, State: server.Bound, HType: 1, CHAddr: []byte{2, 0, 0, 0, 0, 0x31}, ClientID: []byte{1, 2, 0, 0, 0, 0, 0x31}, Hostname: "nas", Expires: time.Unix(1796040000, 0).UTC()},
		{Addr: 0xc0a80184, State: server.Bound, HType: 1, CHAddr: []byte{2, 0, 0, 0, 0, 0x32}},
		{Addr: 0xc0a80185, State: server.Bound, HType: 6, CHAddr: []byte{0, 1, 2, 3, 4, 5, 6, 7}, ClientID: []byte{0xff, 0, 1}, Hostname: "laptop", Expires: time.Unix(1796040001, 0).UTC()},
		{Addr: 0xc0a80186, State: server.Bound, ClientID: []byte{0xff, 0, 2}, Hostname: "under-score", Expires: time.Unix(1796040002, 0).UTC()},
	}
	if err != nil || skipped != 3 || !reflect.DeepEqual(got, want) {
		t.Errorf("skipped %d, %v\n%+v\nwant\n%+v", skipped, err, got, want)
	}
	for _, l := range got { // what was imported is kept
		if again, err := parseRecord(string(appendRecord(nil, &l))); err != nil || !reflect.DeepEqual(again, l) {
			t.Errorf("%+v is kept as %+v, %v", l, again, err)
		}
	}
}

func TestLineOfADnsmasqFileThatIsNoneIsNamed(t *testing.T) {
	const good = "1796040000 02:00:00:00:00:31 192.168.1.131 nas *\n"
	for line, want := range map[string]string{
		"1796040000 02:00:00:00:00:31 192.168.1.132 nas":                            "has 4 words",
		"lease 192.168.1.132 { starts epoch":                                        "no address",
		"soon 02:00:00:00:00:31 192.168.1.132 nas *":                                "no time",
		"-1 02:00:00:00:00:31 192.168.1.132 nas *":                                  "no time",
		"99999999999999999 02:00:00:00:00:31 192.168.1.132 nas *":                   "no time",
		"1796040000 02:00:00:00:00:3 192.168.1.132 nas *":                           "no hardware address",
		"1796040000 xx-02:00:00:00:00:31 192.168.1.132 nas *":                       "hardware type",
		"1796040000 00- 192.168.1.132 nas *":                                        "neither",
		"1796040000 02:00:00:00:00:31 192.168.1.132 nas 01":                         "no client id",
		"1796040000 02:00:00:00:00:31 192.168.1.132 nas printer":                    "no client id",
		"1796040000 02:00:00:00:00:99 192.168.1.131 other *":                        "in line 1 already",
		"1796040000 02:00:00:00:00:31:00:00:00:00:00:00:00:00:00:00:00 1.2.3.4 a *": "no hardware address",
	} {
		got, _, err := ParseDnsmasq(good + line + "\n")
		if err == nil || !strings.HasPrefix(err.Error(), "line 2: ") || !strings.Contains(err.Error(), want) || got != nil {
			t.Errorf("%q: %v, %v; want an error about line 2 with %q, and nothing", line, got, err, want)
		}
	}
}

func FuzzDnsmasq(f *testing.F) {
	f.Add("1796040000 02:00:00:00:00:31 192.168.1.131 nas 01:02:00:00:00:00:31\n0 06-02 1.2.3.4 * ff:00")
	f.Add("duid 00:01\n1796040000 1 fd00::1 * 00:01")
	f.Fuzz(func(t *testing.T, text string) {
		leases, _, err := ParseDnsmasq(text)
		if err != nil && len(leases) > 0 {
			t.Fatal("leases come with an error")
		}
		for _, l := range leases {
			if again, err := parseRecord(string(appendRecord(nil, &l))); err != nil || !reflect.DeepEqual(again, l) {
				t.Fatalf("%+v is kept as %+v, %v", l, again, err)
			}
		}
	})
}
