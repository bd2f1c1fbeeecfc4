package igd

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Protocols of mappings, by their IP numbers.
const (
	TCP = 6
	UDP = 17
)

// Key names a mapping.
type Key struct {
	Protocol uint8      // TCP or UDP
	External uint16     // port outside, 1 to 65535
	Remote   netip.Addr // the only host that may use it; zero: any
}

// Mapping is a port outside that leads to a host inside.
type Mapping struct {
	Key
	Internal    netip.AddrPort
	Lease       time.Duration // at Add what it shall have, else what is left; at least 1 s
	Description string        // the client's words: at most 128 octets of UTF-8 without control characters
}

// Link is the way to the outside.
type Link struct {
	Up              bool
	Uptime          time.Duration // since it is up
	UpRate          uint64        // bit/s
	DownRate        uint64        // bit/s
	BytesSent       uint64
	BytesReceived   uint64
	PacketsSent     uint64
	PacketsReceived uint64
}

// Gateway is the NAT and its outside. Its methods are called from many goroutines, and should return when ctx ends.
// An error that wraps a [Code] is told to the client as such; every other as ActionFailed.
type Gateway interface {
	// External is the address outside that a client's mappings have; false: there is none now.
	External(ctx context.Context, client netip.Addr) (netip.Addr, bool)
	// Link tells how the outside does, as far as this client is concerned.
	Link(ctx context.Context, client netip.Addr) (Link, error)
	// Add makes a mapping, or renews it where the same host has it: with its new internal port, lease and description.
	// With elsewhere another external port is found where the wanted one is taken, or 0.
	// Errors: Conflict (another host, a forward or the router itself has it), NotAuthorized (policy, or more than
	// this host may have), NoPortMaps (elsewhere, and none is left), OnlyAnyRemote (Remote is given and cannot be held to).
	Add(ctx context.Context, m Mapping, elsewhere bool) (Mapping, error)
	// Delete ends a client's mapping. Errors: NoSuchEntry; NotAuthorized, when it is not the client's.
	Delete(ctx context.Context, k Key, client netip.Addr) error
	// Find returns one mapping, whoever has it. Error: NoSuchEntry.
	Find(ctx context.Context, k Key) (Mapping, error)
	// List returns all mappings of a client, in any order.
	List(ctx context.Context, client netip.Addr) ([]Mapping, error)
}

// Code is an error as UPnP counts them: UDA section 3.1.3 (to 606), WANIPConnection section 2.4 (from 700).
type Code uint16

// The codes in use.
const (
	InvalidAction       Code = 401
	InvalidArgs         Code = 402
	ActionFailed        Code = 501
	NotAuthorized       Code = 606
	ConnectionFailed    Code = 704
	BadIndex            Code = 713
	NoSuchEntry         Code = 714
	NoWildcardExternal  Code = 716
	Conflict            Code = 718
	SamePortsRequired   Code = 724
	OnlyPermanentLeases Code = 725
	OnlyAnyRemote       Code = 726
	NoPortMaps          Code = 728
	ConflictElsewhere   Code = 729
	RangeNotFound       Code = 730
	ReadOnly            Code = 731
	NoWildcardInternal  Code = 732
	Inconsistent        Code = 733
)

// Name is what the standards call it.
func (c Code) Name() string {
	switch c {
	case InvalidAction:
		return "Invalid Action"
	case InvalidArgs:
		return "Invalid Args"
	case ActionFailed:
		return "Action Failed"
	case NotAuthorized:
		return "Action not authorized"
	case ConnectionFailed:
		return "ConnectionSetupFailed"
	case BadIndex:
		return "SpecifiedArrayIndexInvalid"
	case NoSuchEntry:
		return "NoSuchEntryInArray"
	case NoWildcardExternal:
		return "WildCardNotPermittedInExtPort"
	case Conflict:
		return "ConflictInMappingEntry"
	case SamePortsRequired:
		return "SamePortValuesRequired"
	case OnlyPermanentLeases:
		return "OnlyPermanentLeasesSupported"
	case OnlyAnyRemote:
		return "RemoteHostOnlySupportsWildcard"
	case NoPortMaps:
		return "NoPortMapsAvailable"
	case ConflictElsewhere:
		return "ConflictWithOtherMechanisms"
	case RangeNotFound:
		return "PortMappingNotFound"
	case ReadOnly:
		return "ReadOnly"
	case NoWildcardInternal:
		return "WildCardNotPermittedInIntPort"
	case Inconsistent:
		return "InconsistentParameters"
	}
	return "Error"
}

func (c Code) Error() string { return fmt.Sprintf("upnp error %d: %s", uint16(c), c.Name()) }

// codeOf is what a client is told of an error.
func codeOf(err error) Code {
	var c Code
	if errors.As(err, &c) {
		return c
	}
	return ActionFailed
}
