package server

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"vrouterd/internal/packet"
	"vrouterd/pkg/dhcp"
)

// Which address a client gets.

func TestClientGetsTheSameAddressAfterTheServerHasForgottenIt(t *testing.T) {
	big := home()
	big.Ranges = []Range{span1("10.0.0.2", "10.0.0.254")}
	a := newStation(t, big).leases(numbered(77))
	if b := newStation(t, big).leases(numbered(77)); a != b {
		t.Errorf("%s, then %s", a, b)
	}
}

func TestReservationGoesBeforeAllElse(t *testing.T) {
	n := home()
	n.Reservations = []Reservation{
		{MAC: numbered(5).mac, Addr: addr("10.0.0.5"), Name: "Printer"},
		{ClientID: []byte("\x00camera"), Addr: addr("10.0.0.105"), Lease: 10 * time.Minute},
	}
	s := newStation(t, n)
	if a := s.leases(numbered(5).with(dhcp.OptionRequestedAddress, "\x0a\x00\x00\x66")); a != "10.0.0.5" {
		t.Errorf("the printer got %s", a)
	}
	if l, _ := s.m.Lookup(addr("10.0.0.5")); l.Hostname != "printer" {
		t.Errorf("it is called %q", l.Hostname)
	}
	camera := numbered(6)
	camera.id = "\x00camera"
	if a := s.leases(camera); a != "10.0.0.105" {
		t.Errorf("the camera got %s", a)
	}
	if n, _ := s.reply().Uint32(dhcp.OptionLeaseTime); n != 600 {
		t.Errorf("for %d s, expected those of its reservation", n)
	}
	for i := range 9 { // the rest of the range
		if a := s.leases(numbered(10 + i)); a == "10.0.0.105" {
			t.Error("a reserved address was given to another")
		}
	}
	s.expect(s.says(numbered(30), dhcp.Discover), "lan is exhausted", "refused exhausted")
}

func TestMachineWithAReservationByHardwareIsOneClientWhateverItsID(t *testing.T) {
	n := home()
	n.Reservations = []Reservation{{MAC: numbered(5).mac, Addr: addr("10.0.0.5")}}
	s := newStation(t, n)
	firmware := numbered(5)
	s.leases(firmware)
	system := firmware
	system.id = "\xff\x00\x01system"
	if a := s.leases(system); a != "10.0.0.5" {
		t.Errorf("it boots with another id and gets %s", a)
	}
}

func TestChangedReservationTakesEffectAtTheNextRenewal(t *testing.T) {
	s := newStation(t, home())
	old := s.leases(numbered(5))
	n := home()
	n.Reservations = []Reservation{{MAC: numbered(5).mac, Addr: addr("10.0.0.5")}}
	s.step(Configure{Config{Subnets: []Subnet{n}}})
	s.expectState(old, Bound)
	s.expect(s.says(numbered(5), dhcp.Request, "ciaddr", old, "to", "10.0.0.1"), "send nak 0.0.0.0 to 255.255.255.255:68 by port1")
	if a := s.leases(numbered(5)); a != "10.0.0.5" {
		t.Errorf("it got %s", a)
	}
	s.expectState(old, Released)
	if c := s.m.Counters(); c.NAKs[ReasonReservedElsewhere] != 1 {
		t.Errorf("%+v", c.NAKs)
	}
}

func TestReservedAddressThatSomebodyElseHasIsWaitedFor(t *testing.T) {
	s := newStation(t, home())
	held := s.leases(numbered(1))
	n := home()
	n.Reservations = []Reservation{{MAC: numbered(5).mac, Addr: addr(held)}}
	s.step(Configure{Config{Subnets: []Subnet{n}}})
	meanwhile := s.leases(numbered(5))
	if meanwhile == held {
		t.Fatal("two clients have one address")
	}
	s.expect(s.says(numbered(5), dhcp.Request, "ciaddr", meanwhile, "to", "10.0.0.1"), // it keeps what it has as long as it must
		"store bound "+meanwhile+" 020000000005 until +1h0m0s", "send ack "+meanwhile+" to "+meanwhile+":68 by port1", "renewed "+meanwhile)
	s.says(numbered(1), dhcp.Request, "ciaddr", held, "to", "10.0.0.1") // the holder is told at its renewal
	if s.reply().Type() != dhcp.NAK {
		t.Errorf("%v", describe(s.last))
	}
	if a := s.leases(numbered(1)); a == held {
		t.Error("the holder gets it again")
	}
	s.says(numbered(5), dhcp.Request, "ciaddr", meanwhile, "to", "10.0.0.1")
	if a := s.leases(numbered(5)); a != held {
		t.Errorf("its own client got %s", a)
	}
}

func TestExcludedAndOwnAddressesAreNotGivenAway(t *testing.T) {
	n := home()
	n.Ranges = []Range{span1("10.0.0.0", "10.0.0.3"), span1("10.0.0.252", "10.0.0.255"), span1("10.0.0.20", "10.0.0.29")}
	n.Exclude = []Range{span1("10.0.0.25", "10.0.0.200"), span1("10.0.0.22", "10.0.0.23"), span1("10.0.0.23", "10.0.0.23")}
	n.Gateway = []packet.Addr{addr("10.0.0.254")}
	s := newStation(t, n)
	var got []string
	for i := range 7 {
		got = append(got, s.leases(numbered(i)))
	}
	slices.Sort(got)
	if want := "10.0.0.2 10.0.0.20 10.0.0.21 10.0.0.24 10.0.0.252 10.0.0.253 10.0.0.3"; strings.Join(got, " ") != want {
		t.Errorf("given away: %s\nexpected: %s", strings.Join(got, " "), want)
	}
	s.expect(s.says(numbered(30), dhcp.Discover), "lan is exhausted", "refused exhausted")
}

func TestPoolRunsDryIsReportedOnceAndRecovers(t *testing.T) {
	s := newStation(t, home())
	var got []string
	for i := range 10 {
		got = append(got, s.leases(numbered(i)))
	}
	s.expect(s.says(numbered(20), dhcp.Discover), "lan is exhausted", "refused exhausted")
	s.expect(s.says(numbered(21), dhcp.Discover), "refused exhausted")
	if row := s.m.Subnets(s.now)[0]; row.Size != 10 || row.Bound != 10 || row.Free != 0 || !row.Exhausted {
		t.Errorf("%+v", row)
	}
	s.expect(s.says(numbered(3), dhcp.Release, "ciaddr", got[3], "to", "10.0.0.1"),
		"lan has addresses again", "store released "+got[3]+" 020000000003 until +0s", "released "+got[3])
	if a := s.leases(numbered(20)); a != got[3] {
		t.Errorf("got %s", a)
	}
}

func TestAddressThatEndedLongestAgoGoesFirst(t *testing.T) {
	s := newStation(t, home())
	var got []string
	for i := range 10 {
		got = append(got, s.leases(numbered(i)))
	}
	for _, i := range []int{4, 2, 7} {
		s.after(time.Second)
		s.says(numbered(i), dhcp.Release, "ciaddr", got[i], "to", "10.0.0.1")
	}
	for n, i := range []int{4, 2, 7} {
		if a := s.leases(numbered(20 + n)); a != got[i] {
			t.Errorf("newcomer %d got %s, expected %s", n, a, got[i])
		}
	}
}

func TestOfferThatIsLetLieGivesWayWhenThereIsNothingElse(t *testing.T) {
	s := newStation(t, home())
	for i := range 10 {
		s.says(numbered(i), dhcp.Discover)
	}
	s.says(numbered(20), dhcp.Discover)
	if s.reply() != nil {
		t.Fatal("an offer of this moment was taken back")
	}
	s.after(offerGrace)
	if s.says(numbered(20), dhcp.Discover); s.reply() == nil {
		t.Errorf("%v", describe(s.last))
	}
	if c := s.m.Counters(); c.OffersRevoked != 1 {
		t.Errorf("%d offers were taken back", c.OffersRevoked)
	}
}

func TestOffersRunOut(t *testing.T) {
	s := newStation(t, home())
	s.says(numbered(1), dhcp.Discover)
	s.after(offerTime)
	if n := len(s.m.Leases(s.now)); n != 0 || s.m.Counters().OffersExpired != 1 || !s.m.Next().IsZero() {
		t.Errorf("%d bindings, next %v", n, s.m.Next())
	}
}

func TestVendorClassHasItsOwnPool(t *testing.T) {
	n := home()
	n.Pools = []Pool{{Name: "phones", Vendor: "phone", Ranges: []Range{span1("10.0.0.200", "10.0.0.201")}, Options: map[uint8][]byte{150: {10, 0, 0, 9}}}}
	s := newStation(t, n)
	phone := func(i int) host { return numbered(i).with(dhcp.OptionVendorClass, "phone model 7") }
	got := []string{s.leases(phone(1)), s.leases(phone(2))}
	if s.reply().Addr(150) != addr("10.0.0.9") {
		t.Error("the option of the class is missing")
	}
	if slices.Sort(got); got[0] != "10.0.0.200" || got[1] != "10.0.0.201" {
		t.Errorf("phones got %v", got)
	}
	if a := s.leases(phone(3)); a[:8] != "10.0.0.1" {
		t.Errorf("the third got %s, expected one of the network's range", a)
	}
	s.says(numbered(4), dhcp.Discover, "wants", "10.0.0.200")
	s.says(numbered(4), dhcp.Request, "wants", "10.0.0.200")
	if s.reply().Type() != dhcp.NAK {
		t.Error("another client got a phone's address")
	}
}

func TestTwoNetworksOnOnePort(t *testing.T) {
	second := home()
	second.Name, second.Network, second.Server = "lan2", pfx("10.0.1.0/24"), addr("10.0.1.1")
	second.Ranges, second.Gateway = []Range{span1("10.0.1.10", "10.0.1.19")}, []packet.Addr{second.Server}
	s := newStation(t, home(), second)
	for i := range 10 {
		s.leases(numbered(i))
	}
	if a := s.leases(numbered(10)); a[:7] != "10.0.1." || s.reply().Addr(dhcp.OptionServerID) != second.Server {
		t.Errorf("the eleventh got %s", a)
	}
	if a := s.leases(numbered(10)); a[:7] != "10.0.1." {
		t.Errorf("it comes again and gets %s", a)
	}
	s.says(numbered(30).with(dhcp.OptionSubnetSelection, "\x0a\x00\x01\x00"), dhcp.Discover)
	if r := s.reply(); r == nil || r.YIAddr.String()[:7] != "10.0.1." {
		t.Errorf("option 118: %v", describe(s.last))
	}
}

func TestTenThousandRandomHardwareAddressesAreBoundedCountedAndNamed(t *testing.T) {
	big := home()
	big.Network, big.Ranges = pfx("10.0.0.0/16"), []Range{span1("10.0.1.0", "10.0.255.254")}
	s := stationOf(t, Config{Subnets: []Subnet{big}, MaxLeases: 1000})
	keeper := s.leases(numbered(1))
	for i := range 10000 {
		s.now = s.now.Add(time.Millisecond / 10)
		s.says(numbered(100+i), dhcp.Discover)
	}
	if n := len(s.m.Leases(s.now)); n > 252 {
		t.Errorf("%d bindings", n)
	}
	if c := s.m.Counters(); c.Refused[ReasonTooManyOffers] != 10000-251 {
		t.Errorf("%d refused as there were too many offers", c.Refused[ReasonTooManyOffers])
	}
	s.expectState(keeper, Bound)
	s.after(offerGrace)
	s.leases(numbered(99999)) // somebody honest is served
	for i := range 5000 {     // and those that take what they are offered are bounded too
		s.now = s.now.Add(time.Second)
		h := numbered(20000 + i)
		if s.says(h, dhcp.Discover); s.reply() != nil {
			s.says(h, dhcp.Request, "wants", s.reply().YIAddr.String(), "server", "10.0.0.1")
		}
	}
	c := s.m.Counters()
	if n := len(s.m.Leases(s.now)); n > 1000 || c.Refused[ReasonTooManyLeases] == 0 {
		t.Errorf("%d bindings, %d refused", n, c.Refused[ReasonTooManyLeases])
	}
	s.after(2 * time.Hour)
	s.leases(numbered(1234567))
	if s.m.Counters().Evicted == 0 {
		t.Error("no ended lease made room")
	}
	if err := audit(s.m, false); err != nil {
		t.Error(err)
	}
}

func TestEveryAddressOfAFullSixteenIsFound(t *testing.T) {
	big := home()
	big.Network, big.Ranges = pfx("10.0.0.0/16"), []Range{span1("10.0.1.0", "10.0.255.254")}
	s := stationOf(t, Config{Subnets: []Subnet{big}, MaxLeases: 1 << 20})
	given := map[packet.Addr]bool{}
	discover, request := messages()
	for i := range 255*256 - 1 {
		dialogue(t, s.m, i, discover, request)
		given[packet.Addr(binary.BigEndian.Uint32(request[len(request)-5:]))] = true
	}
	if len(given) != 255*256-1 {
		t.Errorf("%d addresses were given away, expected %d", len(given), 255*256-1)
	}
	s.now = start
	s.expect(s.says(numbered(1), dhcp.Discover), "lan is exhausted", "refused exhausted")
	if s.m.Subnets(s.now)[0].Free != 0 {
		t.Error("some are left")
	}
}

// TestRoomAgreesWithAPlainSet: the slow twin is a map.
func TestRoomAgreesWithAPlainSet(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, size := range []uint64{1, 63, 64, 65, 4095, 4096, 4097, 9000, 70000} {
		r, taken := newRoom(size), map[uint64]bool{}
		for n := range 6000 {
			at := rng.Uint64N(size)
			if n%3 == 0 {
				r.clear(at)
				delete(taken, at)
			} else if free, ok := r.next(at); ok {
				r.set(free)
				taken[free] = true
			}
			from := rng.Uint64N(size)
			want, found := from, false
			for ; want < size && !found; want++ {
				found = !taken[want]
			}
			if got, ok := r.next(from); ok != found || ok && got != want-1 || r.taken != uint64(len(taken)) {
				t.Fatalf("size %d, step %d: next(%d) is %d, %v, expected %d, %v; %d taken of %d", size, n, from, got, ok, want-1, found, r.taken, len(taken))
			}
		}
	}
}

func ExampleReason_Description() {
	fmt.Println(ReasonExhausted, ReasonExhausted.Description())
	// Output: exhausted there is no free address for a client
}
