package rip

import (
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// signed is a response with authentication, as a neighbour with the key makes it.
func signed(c *KeyChain, k Key, sequence uint32, lines ...string) []byte {
	plain := update(lines...)
	b := c.openAuth(append([]byte{}, plain[:HeaderLen]...), k, sequence)
	b = append(b, plain[HeaderLen:]...)
	return c.closeAuth(b, 0, k)
}

func chainOf(kind AuthType) *KeyChain {
	return &KeyChain{Type: kind, Keys: []Key{{ID: 7, Secret: "correct horse"}}}
}

func withAuth(c *KeyChain) Config {
	cfg := both()
	cfg.Ports[core] = PortConfig{Auth: c}
	return cfg
}

// TestDigestsAreThoseOfTheDocuments holds packets against ones made by another program from the
// text of RFC 2082 and RFC 4822: key 7, sequence 1000, one route to 10.2.0.0/16.
func TestDigestsAreThoseOfTheDocuments(t *testing.T) {
	for kind, want := range map[AuthType]string{
		AuthMD5:        "02020000ffff0003002c0710000003e80000000000000000000200000a020000ffff00000000000000000001ffff000169cdd44d3372f2cb520f178428cdc4e2",
		AuthHMACSHA1:   "02020000ffff0003002c0714000003e80000000000000000000200000a020000ffff00000000000000000001ffff0001292f3c667d9187b44b04947ec21729c6d7960a0a",
		AuthHMACSHA256: "02020000ffff0003002c0720000003e80000000000000000000200000a020000ffff00000000000000000001ffff0001116cd1c3d99c1becf314b7908db7905d6b1d09d85793adcf199b1902a8956d74",
		AuthHMACSHA384: "02020000ffff0003002c0730000003e80000000000000000000200000a020000ffff00000000000000000001ffff00018c1f9a0fdd88e82c76c9155e0e024ee305f1f0b22bd4a0912b5e6061256717665a9e9a5edfe0b9a1849b2a4e9a06cdf2",
		AuthHMACSHA512: "02020000ffff0003002c0740000003e80000000000000000000200000a020000ffff00000000000000000001ffff0001d37c3a1c7eaccae5bed5fbc9c10a993882ed79d6f00db26dbd95b1fe55d6fba99981d68015e7a19323dba7c2adbad61b1a8f2d107a24a845c8cb448ce609c476",
		AuthSimple:     "02020000ffff0002636f727265637420686f727365000000000200000a020000ffff00000000000000000001",
	} {
		c := chainOf(kind)
		if got := hex.EncodeToString(signed(c, c.Keys[0], 1000, "10.2.0.0/16 1")); got != want {
			t.Errorf("%v:\n%s, expected\n%s", kind, got, want)
		}
	}
}

// TestEachKindOfAuthentication has a neighbour with the right key, and then everything that may be wrong.
func TestEachKindOfAuthentication(t *testing.T) {
	for kind := AuthSimple; kind < numAuthTypes; kind++ {
		t.Run(kind.String(), func(t *testing.T) {
			c := chainOf(kind)
			k := c.Keys[0]
			s := newStation(t, withAuth(c))
			refuses := func(why BadReason, b []byte) {
				t.Helper()
				s.expect(s.hears(core, "10.0.0.2", b), "bad "+why.String()+" from 10.0.0.2")
			}
			if s.hears(core, "10.0.0.2", signed(c, k, 1000, "10.2.0.0/16 1")); s.row("10.2.0.0/16") == "none" {
				t.Fatal("a neighbour with the right key was refused")
			}
			refuses(BadAuthMissing, update("10.3.0.0/16 1"))
			refuses(BadVersionRefused, version(1, update("10.3.0.0/16 1")))
			s.expect(s.step(from520(query())), "bad rip_auth_missing from 10.0.0.2") // the table is not for everybody
			for other := AuthSimple; other < numAuthTypes; other++ {
				foreign := chainOf(other)
				b := signed(foreign, foreign.Keys[0], 1001, "10.3.0.0/16 1")
				switch {
				case other == kind:
				case (other == AuthSimple) != (kind == AuthSimple):
					refuses(BadAuthType, b)
				default:
					refuses(BadAuthLength, b) // the wire does not name the algorithm
				}
			}
			wrong := Key{ID: 7, Secret: "wrong horse"}
			if kind == AuthSimple {
				refuses(BadAuthPassword, signed(c, wrong, 1001, "10.3.0.0/16 1"))
				return
			}
			refuses(BadAuthDigest, signed(c, wrong, 1001, "10.3.0.0/16 1"))
			refuses(BadAuthKey, signed(c, Key{ID: 8, Secret: k.Secret}, 1001, "10.3.0.0/16 1"))
			refuses(BadAuthSequence, signed(c, k, 999, "10.3.0.0/16 1"))
			refuses(BadAuthSequence, signed(c, k, 0, "10.3.0.0/16 1"))
			tampered := signed(c, k, 1001, "10.3.0.0/16 9")
			tampered[HeaderLen+2*EntryLen-1] = 1
			refuses(BadAuthDigest, tampered)
			b := signed(c, k, 1001, "10.3.0.0/16 1")
			refuses(BadAuthLength, b[:len(b)-1])
			b[HeaderLen+7]++ // the stated length
			refuses(BadAuthLength, b)
			b = signed(c, k, 1001, "10.3.0.0/16 1")
			b[HeaderLen+5]-- // the stated packet length
			refuses(BadAuthTrailer, b)
			b = signed(c, k, 1001, "10.3.0.0/16 1")
			b[HeaderLen+4] = 0xff
			refuses(BadAuthLength, b)
			s.expect(s.hears(core, "10.0.0.2", signed(c, k, 1001)), "bad rip_no_entry from 10.0.0.2")
			if s.row("10.3.0.0/16") != "none" {
				t.Fatal("a refused packet changed the table")
			}
			whole := signed(c, k, 1001, "10.3.0.0/16 1")
			whole[HeaderLen+7] += trailerHeader // the other reading of RFC 4822
			if kind == AuthMD5 {
				whole = append(whole[:len(whole)-16], AuthMD5.appendDigest(nil, whole[:len(whole)-16], k.Secret)...)
			} else {
				n := len(whole) - kind.digestLen()
				whole = append(whole[:n], kind.appendDigest(nil, whole[:n], k.Secret)...)
			}
			if s.hears(core, "10.0.0.2", whole); s.row("10.3.0.0/16") == "none" {
				t.Fatal("a stated length of the whole trailer was refused")
			}
		})
	}
}

func TestAuthenticationIsRefusedWhereNoneIsConfigured(t *testing.T) {
	s := newStation(t, both())
	for kind := AuthSimple; kind < numAuthTypes; kind++ {
		c := chainOf(kind)
		s.expect(s.hears(core, "10.0.0.2", signed(c, c.Keys[0], 1, "10.2.0.0/16 1")), "bad rip_auth_unexpected from 10.0.0.2")
	}
}

// TestALongSecretIsAcceptedInBothReadings covers secrets between the digest's and the block's length.
func TestALongSecretIsAcceptedInBothReadings(t *testing.T) {
	c := &KeyChain{Type: AuthHMACSHA1, Keys: []Key{{ID: 1, Secret: "a secret that is longer than twenty octets"}}}
	s := newStation(t, withAuth(c))
	b := signed(c, c.Keys[0], 5, "10.2.0.0/16 1")
	s.hears(core, "10.0.0.2", b)
	n := len(b) - c.Type.digestLen()
	other := c.Type.appendHMAC(append([]byte{}, b[:n]...), b[:n], []byte(c.Keys[0].Secret))
	s.hears(core, "10.0.0.3", other)
	if got := s.m.Learned(); got != 2 {
		t.Fatalf("%d of the two readings were accepted", got)
	}
}

// TestKeysTakeTurns lets one key end and the next begin, with an overlap in which both are accepted.
func TestKeysTakeTurns(t *testing.T) {
	at := func(minutes int) time.Time { return start.Add(time.Duration(minutes) * time.Minute) }
	for _, kind := range []AuthType{AuthSimple, AuthMD5} {
		old := Key{ID: 1, Secret: "old", Send: Lifetime{Until: at(10)}, Accept: Lifetime{Until: at(12)}}
		next := Key{ID: 2, Secret: "new", Send: Lifetime{From: at(10), Until: at(20)}, Accept: Lifetime{From: at(8), Until: at(22)}}
		c := &KeyChain{Type: kind, Keys: []Key{old, next}}
		s := newStation(t, withAuth(c))
		for _, step := range []struct {
			minute         int
			old, next      bool
			sends          uint8
			lineWithoutKey bool
		}{{1, true, false, 1, false}, {9, true, true, 1, false}, {11, true, true, 2, false}, {13, false, true, 2, false}, {23, false, false, 0, true}} {
			s.after(at(step.minute).Sub(s.now))
			for k, want := range map[*Key]bool{&old: step.old, &next: step.next} {
				got := strings.Join(s.hears(core, "10.0.0.2", signed(c, *k, uint32(step.minute), "10.2.0.0/16 1")), "\n")
				if accepted := !strings.Contains(got, "bad"); accepted != want {
					t.Errorf("%v: minute %d, key %d: accepted %v, expected %v: %s", kind, step.minute, k.ID, accepted, want, got)
				}
				if !want && !strings.Contains(got, "rip_auth_expired") {
					t.Errorf("%v: minute %d, key %d: %s, expected that it has expired", kind, step.minute, k.ID, got)
				}
			}
			if k, has := c.sendKey(s.now); has == step.lineWithoutKey || k.ID != step.sends {
				t.Errorf("%v: minute %d: sends with key %d", kind, step.minute, k.ID)
			}
		}
		if got := strings.Join(s.after(40*time.Second), "\n"); !strings.Contains(got, "bad rip_auth_no_key") || strings.Contains(got, "core: ") {
			t.Errorf("%v: without a key to send it happened:\n%s", kind, got)
		}
	}
}

// TestOurSequenceNeverDecreases restarts the router without a word, then with its clock set back.
func TestOurSequenceNeverDecreases(t *testing.T) {
	c := withAuth(chainOf(AuthMD5))
	last, saved := uint32(0), State{}
	for life, clock := range []time.Time{start, start.Add(time.Second), start.AddDate(-10, 0, 0), start.AddDate(-20, 0, 0)} {
		c.InitialState = saved
		s := &station{t: t, m: newMachine(c), now: clock}
		for i := range 20 {
			s.step(PortDown{core})
			s.now = s.now.Add(100 * time.Millisecond)
			s.step(PortUp{Port: core, Addresses: []netip.Prefix{pfx("10.0.0.1/24")}})
			for _, a := range s.last {
				switch a := a.(type) {
				case SaveState:
					saved = a.State
				case Send:
					m, _ := Decode(a.Payload, nil)
					n := uint32(m.Entries[0].Mask)
					if n < last || i == 0 && n == last && life > 0 {
						t.Fatalf("life %d: sequence %d after %d", life, n, last)
					}
					if n >= saved.Sequence {
						t.Fatalf("sequence %d was used before it was safe: %d is saved", n, saved.Sequence)
					}
					last = n
				}
			}
		}
	}
}

// TestReplaysAreRefusedAcrossARestart gives a machine what an earlier one saved.
func TestReplaysAreRefusedAcrossARestart(t *testing.T) {
	chain := chainOf(AuthHMACSHA256)
	cfg := withAuth(chain)
	s := newStation(t, cfg)
	s.hears(core, "10.0.0.2", signed(chain, chain.Keys[0], 500, "10.2.0.0/16 1"))
	var saved *State
	for range 10 {
		s.now = s.now.Add(30 * time.Second)
		s.step(Tick{})
		for _, a := range s.last {
			if a, is := a.(SaveState); is {
				saved = &a.State
			}
		}
	}
	if saved == nil || len(saved.Neighbors) != 1 || saved.Neighbors[0].Sequence != 500 {
		t.Fatalf("saved %+v", saved)
	}
	cfg.InitialState = *saved
	s = newStation(t, cfg)
	s.expect(s.hears(core, "10.0.0.2", signed(chain, chain.Keys[0], 499, "10.2.0.0/16 1")), "bad rip_auth_sequence from 10.0.0.2")
	s.expect(s.hears(core, "10.0.0.2", signed(chain, chain.Keys[0], 0, "10.2.0.0/16 1")), "bad rip_auth_sequence from 10.0.0.2")
	if s.hears(core, "10.0.0.2", signed(chain, chain.Keys[0], 500, "10.2.0.0/16 1")); s.row("10.2.0.0/16") == "none" {
		t.Fatal("the neighbour's next packet was refused")
	}
}

// TestASilentNeighborMayBeginAnew lets a neighbour lose its memory.
func TestASilentNeighborMayBeginAnew(t *testing.T) {
	chain := chainOf(AuthMD5)
	for _, forgets := range []bool{false, true} {
		chain.ForgetSequence = forgets
		s := newStation(t, withAuth(chain))
		say := func(n uint32) bool {
			return !strings.Contains(strings.Join(s.hears(core, "10.0.0.2", signed(chain, chain.Keys[0], n, "10.2.0.0/16 1")), ""), "bad")
		}
		if !say(500) || say(0) || say(3) {
			t.Fatal("sequence numbers are not checked")
		}
		s.after(181 * time.Second)
		if got := say(3); got != forgets {
			t.Fatalf("after the silence 3 was accepted: %v, expected %v", got, forgets)
		}
		if !forgets && !(say(0) && say(1)) {
			t.Fatal("after the silence zero was refused (RFC 4822 section 3.2.2)")
		}
	}
}

// TestPacketsLeaveRoomForAuthentication counts the routes in full packets of each kind, none
// longer than the 512 octets that peers take.
func TestPacketsLeaveRoomForAuthentication(t *testing.T) {
	want := map[AuthType]int{AuthNone: 25, AuthSimple: 24, AuthMD5: 23, AuthHMACSHA1: 23, AuthHMACSHA256: 22, AuthHMACSHA384: 21, AuthHMACSHA512: 21}
	for kind, routes := range want {
		var c *KeyChain
		if kind != AuthNone {
			c = chainOf(kind)
		}
		if got := c.room(1472); got != routes {
			t.Errorf("%v: %d routes a packet, expected %d", kind, got, routes)
		}
	}
	if got := chainOf(AuthMD5).room(100 - 28); got != 1 {
		t.Errorf("with an MTU of 100: %d routes", got)
	}
}

// TestRememberedSequencesAreBounded rotates keys for ever: those that no chain has any longer make room.
func TestRememberedSequencesAreBounded(t *testing.T) {
	cfg := withAuth(nil)
	cfg.MaxNeighbors = 2
	s := newStation(t, cfg)
	for id := range uint8(200) {
		chain := &KeyChain{Type: AuthMD5, Keys: []Key{{ID: id, Secret: "s"}}}
		cfg.Ports = map[PortID]PortConfig{core: {Auth: chain}, lan: {}}
		s.step(Configure{cfg})
		if got := strings.Join(s.hears(core, "10.0.0.2", signed(chain, chain.Keys[0], 5, "10.2.0.0/16 1")), "\n"); strings.Contains(got, "bad") {
			t.Fatalf("key %d: %s", id, got)
		}
	}
	if n := len(s.m.sequences); n > 8 {
		t.Fatalf("%d sequence numbers are remembered", n)
	}
	many := &KeyChain{Type: AuthMD5}
	for id := range uint8(10) {
		many.Keys = append(many.Keys, Key{ID: id, Secret: "s"})
	}
	cfg.Ports = map[PortID]PortConfig{core: {Auth: many}}
	s = newStation(t, cfg)
	for i, k := range many.Keys {
		got := strings.Join(s.hears(core, "10.0.0.2", signed(many, k, 5, "10.2.0.0/16 1")), "\n")
		if refused := strings.Contains(got, "bad rip_neighbor_limit"); refused != (i >= 8) {
			t.Fatalf("key %d of ten: %s", i, got)
		}
	}
}
