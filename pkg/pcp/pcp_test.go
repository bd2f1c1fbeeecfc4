package pcp

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"time"
)

var (
	start  = time.Unix(1_000_000, 0)
	client = netip.MustParseAddrPort("192.168.1.5:40000")
	public = netip.MustParseAddr("83.215.152.95")
)

// fakeNAT maps whatever is asked for, and remembers it.
type fakeNAT struct {
	refuse  Refusal
	down    bool
	asked   []Request
	mapped  []Request
	unmap   []netip.AddrPort
	outside uint16
	static  uint16 // the inside port that the configuration forwards; 0: none
}

func (f *fakeNAT) Address(netip.Addr) (netip.Addr, bool) { return public, !f.down }

func (f *fakeNAT) Map(_ time.Time, r Request) (Granted, Refusal) {
	f.asked = append(f.asked, r)
	if f.refuse != Made {
		return Granted{}, f.refuse
	}
	f.mapped = append(slices.DeleteFunc(f.mapped, func(m Request) bool { return m.Client == r.Client && m.Protocol == r.Protocol }), r)
	port := r.Suggested.Port()
	if f.outside != 0 {
		port = f.outside
	}
	return Granted{netip.AddrPortFrom(public, port), r.Lifetime}, Made
}

func (f *fakeNAT) Unmap(_ time.Time, protocol uint8, c netip.AddrPort) Refusal {
	i := slices.IndexFunc(f.mapped, func(r Request) bool { return r.Client == c && r.Protocol == protocol })
	switch {
	case i >= 0:
		f.mapped = slices.Delete(f.mapped, i, i+1)
		f.unmap = append(f.unmap, c)
	case f.static != 0 && (c.Port() == f.static || c.Port() == 0):
		return NotAuthorized
	}
	return Made
}

func both(f *fakeNAT) *Server { return New(Config{NATPMP: true, PCP: true}, f, start) }

func natPMPRequest(op byte, inside, outside uint16, lifetime uint32) []byte {
	b := []byte{0, op, 0, 0}
	b = binary.BigEndian.AppendUint16(b, inside)
	b = binary.BigEndian.AppendUint16(b, outside)
	return binary.BigEndian.AppendUint32(b, lifetime)
}

func pcpMapRequest(nonce byte, protocol byte, inside, outside uint16, lifetime uint32, options ...byte) []byte {
	b := []byte{2, opMap, 0, 0}
	b = binary.BigEndian.AppendUint32(b, lifetime)
	from := client.Addr().As16()
	b = append(b, from[:]...)
	b = append(b, bytes.Repeat([]byte{nonce}, 12)...)
	b = append(b, protocol, 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, inside)
	b = binary.BigEndian.AppendUint16(b, outside)
	any4 := netip.IPv4Unspecified().As16()
	any4[10], any4[11] = 0xff, 0xff
	b = append(b, any4[:]...)
	return append(b, options...)
}

// filterOption names the only host that may use a mapping.
func filterOption(bits byte, port uint16, remote string) []byte {
	b := []byte{optionFilter, 0, 0, 20, 0, bits}
	b = binary.BigEndian.AppendUint16(b, port)
	a := netip.MustParseAddr(remote).As16()
	return append(b, a[:]...)
}

func TestNATPMPTellsTheOutsideAddressAndTheEpoch(t *testing.T) {
	s := both(&fakeNAT{})
	got := s.Receive(start.Add(90*time.Second), client, []byte{0, 0})
	want := []byte{0, 128, 0, 0, 0, 0, 0, 90, 83, 215, 152, 95}
	if !bytes.Equal(got, want) {
		t.Errorf("got % x, want % x", got, want)
	}
}

func TestNATPMPWithoutAnOutsideAddressSaysNetworkFailure(t *testing.T) {
	s := both(&fakeNAT{down: true, refuse: NoAddress})
	if got := s.Receive(start, client, []byte{0, 0}); len(got) != 12 || got[3] != natPMPNetworkFailure {
		t.Errorf("address: % x", got)
	}
	if got := s.Receive(start, client, natPMPRequest(2, 80, 80, 60)); len(got) != 16 || got[3] != natPMPNetworkFailure {
		t.Errorf("mapping: % x", got)
	}
}

func TestNATPMPMapsWithALifetimeWithinBounds(t *testing.T) {
	f := &fakeNAT{outside: 8081}
	s := both(f)
	for _, c := range []struct{ wish, got uint32 }{{1, 1}, {3600, 3600}, {1 << 31, 86400}} {
		b := s.Receive(start, client, natPMPRequest(2, 80, 8080, c.wish))
		if len(b) != 16 || b[1] != 130 || b[3] != 0 {
			t.Fatalf("answer % x", b)
		}
		if in, out, life := binary.BigEndian.Uint16(b[8:]), binary.BigEndian.Uint16(b[10:]), binary.BigEndian.Uint32(b[12:]); in != 80 || out != 8081 || life != c.got {
			t.Errorf("asked for %d s: %d -> %d for %d s, want 80 -> 8081 for %d s", c.wish, out, in, life, c.got)
		}
	}
	r := f.asked[0]
	if r.Protocol != 6 || r.Client != netip.MustParseAddrPort("192.168.1.5:80") || r.Suggested.Port() != 8080 || r.PCP {
		t.Errorf("asked the NAT for %+v", r)
	}
	if b := s.Receive(start, client, natPMPRequest(1, 53, 0, 600)); b[1] != 129 || f.asked[len(f.asked)-1].Protocol != 17 {
		t.Errorf("UDP: answer % x", b)
	}
}

func TestNATPMPLifetimeZeroEndsAMappingAndPortZeroAllOfThem(t *testing.T) {
	f := &fakeNAT{}
	s := both(f)
	for _, port := range []uint16{80, 81, 82} {
		s.Receive(start, client, natPMPRequest(2, port, port, 3600))
	}
	s.Receive(start, client, natPMPRequest(1, 80, 80, 3600))
	if b := s.Receive(start, client, natPMPRequest(2, 80, 0, 0)); b[3] != 0 || len(f.unmap) != 1 {
		t.Fatalf("answer % x, ended %v", b, f.unmap)
	}
	if b := s.Receive(start, client, natPMPRequest(2, 80, 0, 0)); b[3] != 0 || len(f.unmap) != 1 {
		t.Errorf("ended twice: answer % x, ended %v: success, and nothing more, is wanted (RFC 6886 section 3.4)", b, f.unmap)
	}
	if b := s.Receive(start, client, natPMPRequest(2, 0, 0, 0)); b[3] != 0 || len(f.unmap) != 3 {
		t.Errorf("all: answer % x, ended %v", b, f.unmap)
	}
}

func TestUnknownVersionsAndOperationsAreAnsweredAsTheRFCsSay(t *testing.T) {
	s := both(&fakeNAT{})
	if b := s.Receive(start, client, []byte{0, 77}); len(b) != 8 || b[1] != 77|0x80 || b[3] != natPMPUnsupportedOpcode {
		t.Errorf("operation 77 of NAT-PMP: % x", b)
	}
	if b := s.Receive(start, client, append([]byte{1, 1}, make([]byte, 22)...)); b[0] != 2 || b[3] != pcpUnsupportedVersion {
		t.Errorf("version 1: % x", b)
	}
	only := New(Config{NATPMP: true}, &fakeNAT{}, start)
	if b := only.Receive(start, client, pcpMapRequest(1, 6, 80, 80, 600)); len(b) != 8 || b[0] != 0 || b[3] != natPMPUnsupportedVersion {
		t.Errorf("PCP while only NAT-PMP is offered: % x", b)
	}
	peer := pcpMapRequest(1, 6, 80, 80, 600)
	peer[1] = 2
	if b := s.Receive(start, client, peer); b[3] != pcpUnsupportedOpcode {
		t.Errorf("PEER: % x", b)
	}
	for _, silent := range [][]byte{nil, {0}, {0, 128}, {2, 0x81}, {2, 1, 0, 0}, {0, 1, 0, 0}} {
		if b := s.Receive(start, client, silent); b != nil {
			t.Errorf("% x is answered with % x; an answer may provoke a loop, or is to nothing", silent, b)
		}
	}
}

func TestPCPMapsAndTellsWhatItGranted(t *testing.T) {
	f := &fakeNAT{outside: 9999}
	s := both(f)
	b := s.Receive(start.Add(7*time.Second), client, pcpMapRequest(0xaa, 17, 5060, 5060, 7200))
	if len(b) != 60 || b[0] != 2 || b[1] != 0x81 || b[3] != 0 {
		t.Fatalf("answer % x", b)
	}
	if life, epoch := binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:]); life != 7200 || epoch != 7 {
		t.Errorf("lifetime %d, epoch %d; want 7200 and 7", life, epoch)
	}
	if port := binary.BigEndian.Uint16(b[24+18:]); port != 9999 {
		t.Errorf("outside port %d, want 9999", port)
	}
	if a := netip.AddrFrom16([16]byte(b[44:60])).Unmap(); a != public {
		t.Errorf("outside address %v, want %v", a, public)
	}
	if !bytes.Equal(b[24:36], bytes.Repeat([]byte{0xaa}, 12)) {
		t.Error("the nonce does not come back")
	}
}

func TestPCPAddressThatIsNotTheSendersIsAMismatch(t *testing.T) {
	f := &fakeNAT{}
	b := both(f).Receive(start, netip.MustParseAddrPort("192.168.1.6:40000"), pcpMapRequest(1, 6, 80, 80, 600))
	if b[3] != pcpAddressMismatch || len(f.asked) != 0 {
		t.Errorf("answer % x, asked %v", b, f.asked)
	}
}

func TestPCPMappingOfAnotherNonceIsNobodyElses(t *testing.T) {
	f := &fakeNAT{}
	s := both(f)
	s.Receive(start, client, pcpMapRequest(1, 6, 80, 80, 600))
	for name, b := range map[string][]byte{
		"renew": pcpMapRequest(2, 6, 80, 80, 600), "end": pcpMapRequest(2, 6, 80, 80, 0),
	} {
		if got := s.Receive(start, client, b); got[3] != pcpNotAuthorized {
			t.Errorf("%s with another nonce: result %d, want %d", name, got[3], pcpNotAuthorized)
		}
	}
	if got := s.Receive(start, client, natPMPRequest(2, 80, 0, 0)); got[3] != natPMPNotAuthorized {
		t.Errorf("ended by NAT-PMP: result %d", got[3])
	}
	if got := s.Receive(start, client, pcpMapRequest(1, 6, 80, 80, 0)); got[3] != 0 || len(f.unmap) != 1 {
		t.Errorf("ended by its owner: result %d, ended %v", got[3], f.unmap)
	}
	s.Receive(start, client, pcpMapRequest(1, 6, 80, 80, 600))
	if got := s.Receive(start.Add(601*time.Second), client, pcpMapRequest(2, 6, 80, 80, 600)); got[3] != 0 {
		t.Errorf("when its time is over the port is free for another nonce: result %d", got[3])
	}
}

func TestPCPLifetimeZeroForPortZeroEndsAllThatAreItsOwn(t *testing.T) {
	for name, c := range map[string]struct {
		protocol, nonce byte
		result          byte
		ended           int
	}{
		"of a protocol":        {6, 1, pcpSuccess, 2},
		"of another protocol":  {17, 1, pcpSuccess, 1},
		"of all protocols":     {0, 1, pcpSuccess, 3},
		"of nobody's nonce":    {6, 3, pcpNotAuthorized, 0},
		"of no such protocol":  {132, 1, pcpSuccess, 0},
		"of another's mapping": {6, 2, pcpSuccess, 1},
	} {
		f := &fakeNAT{}
		s := both(f)
		for _, b := range [][]byte{
			pcpMapRequest(1, 6, 80, 80, 600), pcpMapRequest(1, 6, 81, 81, 600), pcpMapRequest(1, 17, 80, 80, 600), pcpMapRequest(2, 6, 82, 82, 600),
		} {
			s.Receive(start, client, b)
		}
		got := s.Receive(start, client, pcpMapRequest(c.nonce, c.protocol, 0, 0, 0))
		if got[3] != c.result || len(f.unmap) != c.ended {
			t.Errorf("%s: result %d, ended %v; want %d, and %d", name, got[3], f.unmap, c.result, c.ended)
		}
		if life := binary.BigEndian.Uint32(got[4:]); c.result == pcpSuccess && life != 0 {
			t.Errorf("%s: lifetime %d in an answer to an end", name, life)
		}
	}
}

func TestAnUnknownVersionGetsItsRequestBack(t *testing.T) {
	request := pcpMapRequest(9, 6, 80, 80, 600)
	request[0] = 3
	got := both(&fakeNAT{}).Receive(start, client, request)
	if len(got) != len(request) || got[0] != 2 || got[1] != 0x81 || got[3] != pcpUnsupportedVersion || !bytes.Equal(got[24:], request[24:]) {
		t.Errorf("answer % x", got)
	}
	long := append(request, make([]byte, 1200)...)
	if got := both(&fakeNAT{}).Receive(start, client, long); len(got) != maxMessage {
		t.Errorf("the answer to %d octets has %d, want %d", len(long), len(got), maxMessage)
	}
}

func TestPCPSuggestionsAreWishesForIPv4(t *testing.T) {
	prefer := []byte{optionPreferFailure, 0, 0, 0}
	for name, c := range map[string]struct {
		address string
		port    uint16
		options []byte
		result  byte
		asked   netip.AddrPort
		exact   bool
	}{
		"none":                    {"::ffff:0.0.0.0", 0, nil, pcpSuccess, netip.AddrPort{}, false},
		"a port":                  {"::ffff:0.0.0.0", 80, prefer, pcpSuccess, netip.AddrPortFrom(netip.Addr{}, 80), true},
		"any IPv6":                {"::", 80, prefer, pcpSuccess, netip.AddrPortFrom(netip.Addr{}, 80), true},
		"an address":              {"::ffff:83.215.152.95", 80, prefer, pcpSuccess, netip.AddrPortFrom(public, 80), true},
		"IPv6, or else":           {"2001:db8::1", 80, nil, pcpSuccess, netip.AddrPortFrom(netip.Addr{}, 80), false},
		"IPv6 or nothing":         {"2001:db8::1", 80, prefer, pcpCannotProvide, netip.AddrPort{}, false},
		"an address and any port": {"::ffff:83.215.152.95", 0, prefer, pcpSuccess, netip.AddrPortFrom(public, 0), false},
	} {
		f := &fakeNAT{}
		b := pcpMapRequest(1, 6, 80, c.port, 600, c.options...)
		a := netip.MustParseAddr(c.address).As16()
		copy(b[44:60], a[:])
		if got := both(f).Receive(start, client, b); got[3] != c.result {
			t.Errorf("%s: result %d, want %d", name, got[3], c.result)
		} else if c.result == pcpSuccess && (f.asked[0].Suggested != c.asked || f.asked[0].Exact != c.exact) {
			t.Errorf("%s: asked for %+v", name, f.asked[0])
		}
	}
}

func TestPCPOptions(t *testing.T) {
	third := append([]byte{optionThirdParty, 0, 0, 16}, make([]byte, 16)...)
	for _, c := range []struct {
		name    string
		options []byte
		result  byte
	}{
		{"none", nil, pcpSuccess},
		{"prefer failure", []byte{optionPreferFailure, 0, 0, 0}, pcpSuccess},
		{"prefer failure twice", []byte{2, 0, 0, 0, 2, 0, 0, 0}, pcpMalformedOption},
		{"prefer failure with a body", []byte{2, 0, 0, 4, 1, 2, 3, 4}, pcpMalformedOption},
		{"third party", third, pcpUnsupportedOption},
		{"unknown, mandatory", []byte{100, 0, 0, 0}, pcpUnsupportedOption},
		{"unknown, optional", []byte{200, 0, 0, 3, 1, 2, 3, 0}, pcpSuccess},
		{"filter", filterOption(128, 0, "::ffff:198.51.100.7"), pcpSuccess},
		{"filter, two hosts", append(filterOption(128, 0, "::ffff:198.51.100.7"), filterOption(128, 0, "::ffff:198.51.100.8")...), pcpExcessiveRemotePeers},
		{"filter, a network", filterOption(120, 0, "::ffff:198.51.100.0"), pcpExcessiveRemotePeers},
		{"filter, IPv6", filterOption(128, 0, "2001:db8::1"), pcpMalformedOption},
		{"filter taken back", append(filterOption(128, 0, "::ffff:198.51.100.7"), filterOption(0, 0, "::")...), pcpSuccess},
		{"known and unknown", []byte{2, 0, 0, 0, 200, 0, 0, 0}, pcpSuccess},
		{"length beyond the message", []byte{200, 0, 0, 9, 1, 2, 3, 4}, pcpMalformedOption},
	} {
		f := &fakeNAT{}
		if b := both(f).Receive(start, client, pcpMapRequest(1, 6, 80, 80, 600, c.options...)); b[3] != c.result {
			t.Errorf("%s: result %d, want %d", c.name, b[3], c.result)
		} else if want := c.options; c.result == pcpSuccess {
			// The absence of an option tells that it was not processed.
			switch c.name {
			case "unknown, optional":
				want = nil
			case "known and unknown":
				want = want[:4]
			}
			if !bytes.Equal(b[60:], want) {
				t.Errorf("%s: the answer has the options % x, want % x", c.name, b[60:], want)
			}
		}
		if c.name == "filter" && f.asked[0].Remote != netip.MustParseAddr("198.51.100.7") {
			t.Errorf("filter: asked for %+v", f.asked[0])
		}
		if c.name == "prefer failure" && !f.asked[0].Exact {
			t.Errorf("prefer failure: asked for %+v", f.asked[0])
		}
	}
}

func TestPCPRefusalsOfTheNATHaveTheirCodes(t *testing.T) {
	for why, result := range map[Refusal]byte{
		NoAddress: pcpNetworkFailure, NoRoom: pcpNoResources, Quota: pcpUserExceedsQuota, NotAuthorized: pcpNotAuthorized, Taken: pcpCannotProvide,
	} {
		b := both(&fakeNAT{refuse: why}).Receive(start, client, pcpMapRequest(1, 6, 80, 80, 600))
		if b[3] != result || binary.BigEndian.Uint32(b[4:]) == 0 {
			t.Errorf("refusal %d: result %d for %d s, want %d and a time", why, b[3], binary.BigEndian.Uint32(b[4:]), result)
		}
	}
	s := both(&fakeNAT{})
	for name, c := range map[string]struct {
		b      []byte
		result byte
	}{
		"all protocols, a port": {pcpMapRequest(1, 0, 80, 80, 600), pcpMalformedRequest},
		"all protocols":         {pcpMapRequest(1, 0, 0, 0, 600), pcpUnsupportedProtocol},
		"all ports":             {pcpMapRequest(1, 6, 0, 0, 600), pcpUnsupportedProtocol},
		"SCTP":                  {pcpMapRequest(1, 132, 80, 80, 600), pcpUnsupportedProtocol},
		"short":                 {pcpMapRequest(1, 6, 80, 80, 600)[:40], pcpMalformedRequest},
		"odd length":            {append(pcpMapRequest(1, 6, 80, 80, 600), 0), pcpMalformedRequest},
		"long":                  {append(pcpMapRequest(1, 6, 80, 80, 600), make([]byte, 1100)...), pcpMalformedRequest},
	} {
		if got := s.Receive(start, client, c.b); got[3] != c.result || len(got) > maxMessage {
			t.Errorf("%s: result %d in %d octets, want %d", name, got[3], len(got), c.result)
		}
	}
}

func TestAnnouncementsTellAddressAndEpoch(t *testing.T) {
	s := both(&fakeNAT{})
	got := s.Announce(start.Add(time.Second), netip.MustParseAddr("192.168.1.1"))
	if len(got) != 2 || got[0][0] != 0 || got[1][0] != 2 || got[1][1] != 0x80 || len(got[1]) != 24 {
		t.Fatalf("announced % x", got)
	}
	var sum time.Duration
	for n := range Announcements {
		sum += AnnounceAfter(n)
	}
	if want := 127750 * time.Millisecond; sum != want {
		t.Errorf("ten announcements take %v, want %v (250 ms, doubled each time)", sum, want)
	}
}

func TestTheEpochBeginsAnewWithTheOutsideAddress(t *testing.T) {
	s := both(&fakeNAT{})
	s.Receive(start, client, pcpMapRequest(1, 6, 80, 80, 600))
	s.ResetEpoch(start.Add(300 * time.Second))
	now := start.Add(305 * time.Second)
	if got := s.Receive(now, client, []byte{0, 0}); binary.BigEndian.Uint32(got[4:]) != 5 {
		t.Errorf("NAT-PMP: % x, want the epoch 5", got)
	}
	got := s.Receive(now, client, pcpMapRequest(2, 6, 80, 80, 600))
	if binary.BigEndian.Uint32(got[8:]) != 5 {
		t.Errorf("PCP: % x, want the epoch 5", got)
	}
	if got[3] != pcpNotAuthorized {
		t.Errorf("another nonce has the mapping that is still there: result %d", got[3])
	}
}

func TestOwnersAreForgottenWhenTheirTimeIsOver(t *testing.T) {
	s := both(&fakeNAT{})
	for port := range uint16(1000) {
		s.Receive(start, client, pcpMapRequest(1, 6, port+1, 0, 600))
	}
	if len(s.owners) != 1000 {
		t.Fatalf("%d owners, want 1000", len(s.owners))
	}
	s.Receive(start.Add(time.Hour), client, []byte{0, 0})
	if len(s.owners) != 0 {
		t.Errorf("%d owners are remembered of mappings that are over", len(s.owners))
	}
}

func FuzzReceive(f *testing.F) {
	f.Add([]byte{0, 0})
	f.Add(natPMPRequest(1, 53, 53, 60))
	f.Add(pcpMapRequest(1, 6, 80, 80, 600, filterOption(128, 0, "::ffff:198.51.100.7")...))
	f.Add(append([]byte{2, 0}, make([]byte, 22)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := both(&fakeNAT{})
		before := bytes.Clone(b)
		answer := s.Receive(start, client, b)
		if !bytes.Equal(before, b) {
			t.Fatal("the request was changed")
		}
		if answer != nil && (len(answer) > maxMessage || answer[1]&0x80 == 0) {
			t.Fatalf("answer % x: not a response of at most %d octets", answer, maxMessage)
		}
		if c := s.Counts(); c.Requests+c.Refused+c.Malformed != 1 || (answer == nil) != (c.Malformed == 1) {
			t.Fatalf("counted %+v for one datagram", c)
		}
	})
}
