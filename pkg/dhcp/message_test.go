package dhcp

import (
	"bytes"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// wire is a message of n fixed octets and the options.
func wire(options ...byte) []byte {
	b := make([]byte, headerLen, headerLen+len(options))
	b[0], b[1], b[2] = BootRequest, Ethernet, 6
	copy(b[28:], []byte{2, 0, 0, 0, 0, 9})
	copy(b[236:], []byte{0x63, 0x82, 0x53, 0x63})
	return append(b, options...)
}

func TestDecodeRefusesByName(t *testing.T) {
	long := wire(OptionEnd)
	long[2] = 17
	noCookie := wire(OptionEnd)
	noCookie[239] = 0
	for name, c := range map[string]struct {
		b   []byte
		why BadReason
	}{
		"nothing":                     {nil, BadShort},
		"one octet too few":           {wire()[:239], BadShort},
		"BOOTP without a cookie":      {noCookie, BadCookie},
		"17 octets of hardware":       {long, BadHardwareLength},
		"an option past the end":      {wire(53, 1, 1, 12, 9, 'x'), BadOptions},
		"overload of an unknown kind": {wire(53, 1, 1, 52, 1, 4, 255), BadOverload},
		"overload of two octets":      {wire(53, 1, 1, 52, 2, 1, 1, 255), BadOverload},
		"message type of two octets":  {wire(53, 2, 1, 1, 255), BadType},
		"message type 0":              {wire(53, 1, 0, 255), BadType}, // it would pass for BOOTP, whose leases do not end
		"message type twice":          {wire(53, 1, 1, 53, 1, 3, 255), BadType},
		"no options":                  {wire(), Good},
		"no end option":               {wire(53, 1, 1), Good},
		"nothing after the end":       {wire(53, 1, 1, 255, 12, 200), Good},
	} {
		m, why := Decode(c.b)
		if why != c.why || (m == nil) == (why == Good) {
			t.Errorf("%s: %v, expected %v", name, why, c.why)
		}
	}
}

func TestDecodeRefusesOverloadedFieldsThatAreNotWhole(t *testing.T) {
	b := wire(53, 1, 1, 52, 1, 1, 255)
	b[108], b[109] = 12, 200
	if _, why := Decode(b); why != BadOverload {
		t.Errorf("an option of 200 octets in `file`: %v, expected %v", why, BadOverload)
	}
}

func TestOptionsInFileAndSNameAreJoinedWithTheOthers(t *testing.T) {
	b := wire(12, 2, 'a', 'b', 53, 1, 1, 52, 1, 3, 255)
	copy(b[108:], []byte{12, 2, 'c', 'd', 52, 1, 1, 255})
	copy(b[44:], []byte{12, 1, 'e', 255})
	m, why := Decode(b)
	if why != Good || string(m.Options[OptionHostname]) != "abcde" || m.File != "" || m.SName != "" {
		t.Errorf("%v, %v: expected the hostname abcde (RFC 3396 section 5)", m, why)
	}
	if _, has := m.Options[OptionOverload]; has {
		t.Error("option 52 is kept, which says nothing of the joined options")
	}
}

func TestDecodeKeepsNothingOfTheDatagram(t *testing.T) {
	b := wire(12, 2, 'a', 'b', 53, 1, 1, 255)
	copy(b[108:], "boot")
	m, _ := Decode(b)
	for i := range b {
		b[i] = 0xee
	}
	if string(m.Options[OptionHostname]) != "ab" || m.File != "boot" || m.Type() != Discover {
		t.Errorf("the message changed with the datagram: %+v", m)
	}
}

func TestLongOptionsAreSplitAndJoined(t *testing.T) {
	long := bytes.Repeat([]byte("0123456789"), 70)
	m := &Message{Op: BootReply, Options: Options{OptionMessageType: {5}, OptionVendorSpecific: long}}
	b := m.Append(nil)
	if n := bytes.Count(b, []byte{OptionVendorSpecific, 255}); n != 2 {
		t.Errorf("%d parts of 255 octets, expected 2 of 700 (RFC 3396)", n)
	}
	got, why := Decode(b)
	if why != Good || !bytes.Equal(got.Options[OptionVendorSpecific], long) {
		t.Errorf("%v: the option came back with %d octets, expected 700", why, len(got.Options[OptionVendorSpecific]))
	}
}

func TestOptionsStandInTheOrderThatTheClientAskedFor(t *testing.T) {
	m := &Message{Options: Options{1: {1}, 3: {3}, 6: {6}, 15: {15}, OptionRelayAgent: {82}, 119: {119}, OptionMessageType: {5}}, Order: []uint8{119, 6, 6, 82, 255, 0, 200}}
	b := m.Append(nil)[headerLen:]
	var got []byte
	for ; b[0] != OptionEnd; b = b[2+b[1]:] {
		got = append(got, b[0])
	}
	if want := []byte{53, 119, 6, 1, 3, 15, 82}; !bytes.Equal(got, want) {
		t.Errorf("options %v, expected %v: the type first, the relay agent's last", got, want)
	}
}

func TestShortMessagesArePadded(t *testing.T) {
	if n := len((&Message{Options: Options{}}).Append(nil)); n != MinLen {
		t.Errorf("%d octets, expected %d (RFC 951)", n, MinLen)
	}
}

// full needs about n octets of options.
func full(n int) *Message {
	m := &Message{Op: BootReply, Options: Options{OptionMessageType: {2}, OptionServerID: {10, 0, 0, 1}, OptionRelayAgent: []byte("circuit")}}
	for code := uint8(200); n > 0; code, n = code+1, n-50 {
		m.Options[code] = bytes.Repeat([]byte{code}, 48)
	}
	return m
}

func TestWhatDoesNotFitGoesIntoFileAndSName(t *testing.T) {
	m := full(400)
	b, left := m.AppendWithin([]byte("before"), 548)
	if len(left) != 0 || len(b)-6 > 548 {
		t.Fatalf("%d octets, left out %v; expected all within 548", len(b)-6, left)
	}
	got, why := Decode(b[6:])
	if why != Good || !maps.EqualFunc(got.Options, m.Options, bytes.Equal) {
		t.Errorf("%v: %v, expected what was written", why, got)
	}
	if tail := bytes.TrimRight(b, "\x00"); !bytes.HasSuffix(tail, []byte("\x52\x07circuit\xff")) {
		t.Error("the relay agent's information is not the last of the field `options`")
	}
	if b[6+headerLen] != OptionMessageType {
		t.Error("the message type is not the first option")
	}
}

func TestWhatFitsNowhereIsLeftOutLeastAskedForFirst(t *testing.T) {
	m := full(800)
	m.Order = []uint8{215, 214}
	b, left := m.AppendWithin(nil, 548)
	if len(b) > 548 || len(left) == 0 || slices.Contains(left, 215) || slices.Contains(left, 214) || slices.Contains(left, OptionServerID) {
		t.Errorf("%d octets, left out %v; expected some, but not what was asked for first", len(b), left)
	}
	got, why := Decode(b)
	if why != Good || len(got.Options)+len(left) != len(m.Options) {
		t.Errorf("%v: %d options and %d left out of %d", why, len(got.Options), len(left), len(m.Options))
	}
}

func TestFileAndSNameInUseAreNotOverloaded(t *testing.T) {
	m := full(500)
	m.File, m.SName = strings.Repeat("f", 127), "server"
	b, left := m.AppendWithin(nil, 548)
	got, why := Decode(b)
	if why != Good || got.File != m.File || got.SName != "server" || len(left) == 0 {
		t.Errorf("%v: file %q, sname %q, left out %v", why, got.File, got.SName, left)
	}
}

func TestClientsAreToldApartByOption61ElseByHardware(t *testing.T) {
	one := &Message{HType: 1, HLen: 6, CHAddr: [16]byte{2, 0, 0, 0, 0, 1}, Options: Options{}}
	two := &Message{HType: 1, HLen: 6, CHAddr: [16]byte{2, 0, 0, 0, 0, 2}, Options: Options{}}
	if one.ClientKey() == two.ClientKey() {
		t.Error("two hardware addresses are one client")
	}
	one.Options[OptionClientID], two.Options[OptionClientID] = []byte("\x00id"), []byte("\x00id")
	if one.ClientKey() != two.ClientKey() {
		t.Error("one option 61 is two clients")
	}
	if one.Options[OptionClientID] = []byte("\x01\x02\x00\x00\x00\x00\x02"); one.ClientKey() == (&Message{HType: 1, HLen: 6, CHAddr: [16]byte{2, 0, 0, 0, 0, 2}}).ClientKey() {
		t.Error("an option 61 is taken for a hardware address: one could ask for another's lease")
	}
}

func TestReasonsAndTypesHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for r := Good; r < NumBadReasons; r++ {
		if r.String() == "" || r.Description() == "" || seen[r.String()] {
			t.Errorf("reason %d is called %q, %q", r, r, r.Description())
		}
		seen[r.String()] = true
	}
	if NumBadReasons.String() != "unknown" || NumBadReasons.Description() != "unknown" || Type(9).String() != "unknown" || Inform.String() != "inform" {
		t.Error("what is unknown has a name")
	}
}

// FuzzDecode: no octets make it panic, and what it has read can be written and read again.
func FuzzDecode(f *testing.F) {
	f.Add(wire(53, 1, 1, 255))
	f.Add(wire(53, 1, 3, 50, 4, 10, 0, 0, 9, 54, 4, 10, 0, 0, 1, 61, 7, 1, 2, 0, 0, 0, 0, 9, 255))
	f.Add(wire(52, 1, 3, 53, 1, 1, 82, 6, 1, 4, 'e', 't', 'h', '0', 255))
	f.Add(wire(12, 200))
	f.Add((full(800)).Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, why := Decode(b)
		if why != Good {
			if m != nil || why >= NumBadReasons {
				t.Fatalf("refused by %v with message %v", why, m)
			}
			return
		}
		delete(m.Options, 0)
		again, why := Decode(m.Append(nil))
		if why != Good {
			t.Fatalf("what was written is refused: %v", why)
		}
		if m.SName != again.SName && len(m.SName) < 64 || m.File != again.File && len(m.File) < 128 || !same(m.Options, again.Options) {
			t.Fatalf("written %+v, read %+v", m, again)
		}
		small, left := m.AppendWithin(nil, MinLen)
		if _, why := Decode(small); why != Good || len(small) > MinLen+3 {
			t.Fatalf("%d octets within %d, left out %v: %v", len(small), MinLen, left, why)
		}
	})
}

func same(a, b Options) bool {
	return maps.EqualFunc(a, b, bytes.Equal)
}

func TestTheWholeHeaderIsWrittenAndRead(t *testing.T) {
	m := &Message{Op: BootReply, HType: 1, HLen: 6, Hops: 3, XID: 0xdeadbeef, Secs: 7, Flags: BroadcastFlag, CIAddr: 1, YIAddr: 2, SIAddr: 3, GIAddr: 4,
		CHAddr: [16]byte{1, 2, 3, 4, 5, 6}, SName: "server", File: "boot", Options: Options{OptionMessageType: {2}, OptionLeaseTime: {0, 0, 1, 0}}}
	got, why := Decode(m.Append(nil))
	if why != Good || !reflect.DeepEqual(got, m) {
		t.Errorf("%v: %+v, expected %+v", why, got, m)
	}
	if n, ok := got.Uint32(OptionLeaseTime); !ok || n != 256 {
		t.Errorf("lease time %d, %v", n, ok)
	}
	if got.Type() != Offer || got.Addr(OptionLeaseTime) != 256 || got.Addr(OptionServerID) != 0 {
		t.Error("options are not read as they are")
	}
}
