package capture

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

var (
	moment = time.Date(2030, 1, 2, 3, 4, 5, 678901234, time.UTC)
	lanIf  = Interface{Name: "lan", Ethernet: true, MTU: 1500}
	tunIf  = Interface{Name: "tun0", MTU: 1400}
)

// sample is a file with two interfaces, the second of them added late.
func sample(t *testing.T) []byte {
	t.Helper()
	var file bytes.Buffer
	w, err := NewWriter(&file, Section{Hardware: "x86", OS: "Linux", App: "vrouterd 1.0"}, []Interface{lanIf})
	if err != nil {
		t.Fatal(err)
	}
	write := func(p Packet) {
		t.Helper()
		if err := w.Packet(p); err != nil {
			t.Fatal(err)
		}
	}
	icmp := build(t, layers.IPProtocolICMPv4, "10.0.0.9", "10.1.0.9", 0, 0, 0)
	write(Packet{Interface: 0, Time: moment, Data: icmp, Length: len(icmp), Comment: "ip4-input; dropped: ttl_expired", Direction: Inbound})
	late, err := w.AddInterface(tunIf)
	if err != nil || late != 1 {
		t.Fatalf("the late interface has index %d, %v", late, err)
	}
	write(Packet{Interface: late, Time: moment.Add(time.Nanosecond), Data: icmp[14:], Comment: "output é", Direction: Outbound})
	write(Packet{Interface: 0, Time: moment.Add(time.Second), Data: icmp[:31], Length: len(icmp)})
	if err := w.Packet(Packet{Interface: 2}); err == nil || !strings.Contains(err.Error(), "interface 2") {
		t.Fatalf("a packet of a missing interface gave %v", err)
	}
	return file.Bytes()
}

func TestAnotherReaderReadsTheFile(t *testing.T) {
	r, err := pcapgo.NewNgReader(bytes.NewReader(sample(t)), pcapgo.NgReaderOptions{WantMixedLinkType: true})
	if err != nil {
		t.Fatal(err)
	}
	if s := r.SectionInfo(); s.Hardware != "x86" || s.OS != "Linux" || s.Application != "vrouterd 1.0" {
		t.Errorf("the section reads as %+v", s)
	}
	for i, want := range []struct {
		at          time.Time
		kept, whole int
		name        string
		link        layers.LinkType
	}{
		{moment, 60, 60, "lan", layers.LinkTypeEthernet},
		{moment.Add(time.Nanosecond), 46, 46, "tun0", layers.LinkTypeRaw},
		{moment.Add(time.Second), 31, 60, "lan", layers.LinkTypeEthernet},
	} {
		data, info, err := r.ReadPacketData()
		if err != nil {
			t.Fatalf("packet %d: %v", i, err)
		}
		ifc, err := r.Interface(info.InterfaceIndex)
		if err != nil || ifc.Name != want.name || ifc.LinkType != want.link {
			t.Errorf("packet %d: interface %+v, %v", i, ifc, err)
		}
		if !info.Timestamp.Equal(want.at) || len(data) != want.kept || info.Length != want.whole {
			t.Errorf("packet %d: %v, %d of %d octets; expected %+v", i, info.Timestamp, len(data), info.Length, want)
		}
	}
}

func TestTsharkShowsPortDirectionAndComment(t *testing.T) {
	out := tshark(t, sample(t), "-T", "fields", "-E", "separator=|",
		"-e", "frame.time_epoch", "-e", "frame.interface_name", "-e", "frame.packet_flags_direction",
		"-e", "frame.comment", "-e", "frame.cap_len", "-e", "frame.len", "-e", "ip.dst")
	for i, l := range strings.Split(strings.TrimSpace(out), "\n") {
		f := strings.Split(l, "|")
		want := [][]string{
			{"lan", "ip4-input; dropped: ttl_expired", "60", "60", "10.1.0.9"},
			{"tun0", "output é", "46", "46", "10.1.0.9"},
			{"lan", "", "31", "60", ""},
		}[i]
		if got := []string{f[1], f[3], f[4], f[5]}; strings.Join(got, "|") != strings.Join(want[:4], "|") {
			t.Errorf("packet %d is shown as %q, expected %q", i, got, want)
		}
		if want[4] != "" && f[6] != want[4] {
			t.Errorf("packet %d goes to %q, expected %q", i, f[6], want[4])
		}
		if dir := []string{"1", "2", ""}[i]; !strings.HasSuffix(f[2], dir) || dir == "" && f[2] != "" && !strings.HasSuffix(f[2], "0") {
			t.Errorf("packet %d has direction %q, expected %q", i, f[2], dir)
		}
		if !strings.Contains(f[0], []string{".678901234", ".678901235", ".678901234"}[i]) {
			t.Errorf("packet %d is dated %q", i, f[0])
		}
	}
}

// tshark reads a file and returns what it prints.
func tshark(t *testing.T, file []byte, args ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "capture.pcapng")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("tshark", append([]string{"-n", "-r", path}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	switch {
	case errors.Is(err, exec.ErrNotFound):
		t.Fatal("tshark is missing: install the package tshark")
	case err != nil:
		t.Fatalf("tshark: %v: %s", err, &stderr)
	}
	return string(out)
}

// failing is a stream that breaks after some writes.
type failing int

func (f *failing) Write(b []byte) (int, error) {
	if *f--; *f < 0 {
		return 0, errors.New("stream closed")
	}
	return len(b), nil
}

func TestEveryBlockLeavesInOneWriteAndErrorsNameIt(t *testing.T) {
	for n, want := range []string{"section header", `interface "lan"`, "a packet"} {
		f := failing(n)
		w, err := NewWriter(&f, Section{}, []Interface{lanIf})
		if err == nil {
			err = w.Packet(Packet{Data: []byte{1, 2, 3}, Comment: "c"})
		}
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "stream closed") {
			t.Errorf("after %d writes: %v, expected it to name %s", n, err, want)
		}
	}
}

func TestOversizedPacketAndCommentAreCut(t *testing.T) {
	var file bytes.Buffer
	w, err := NewWriter(&file, Section{}, []Interface{lanIf})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Packet(Packet{Data: make([]byte, MaxPacket+5), Comment: strings.Repeat("x", 70000)}); err != nil {
		t.Fatal(err)
	}
	r, err := pcapgo.NewNgReader(&file, pcapgo.DefaultNgReaderOptions)
	if err != nil {
		t.Fatal(err)
	}
	data, info, err := r.ReadPacketData()
	if err != nil || len(data) != MaxPacket || info.Length != MaxPacket+5 {
		t.Fatalf("%d of %d octets, %v", len(data), info.Length, err)
	}
}
