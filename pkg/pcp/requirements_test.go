package pcp

import (
	"bytes"
	"testing"
)

func TestRFC6886Section35_AnUnknownOperationGetsItsRequestBack(t *testing.T) {
	for _, request := range [][]byte{{0, 77}, {0, 3, 9, 9, 1, 2, 3}, {0, 3, 9, 9, 1, 2, 3, 4}, natPMPRequest(50, 80, 8080, 3600), append([]byte{0, 3}, make([]byte, 2000)...)} {
		got := both(&fakeNAT{}).Receive(start, client, request)
		if want := []byte{0, request[1] | 0x80, 0, natPMPUnsupportedOpcode}; len(got) < 8 || !bytes.Equal(got[:4], want) {
			t.Fatalf("% x is answered with % x", request[:2], got)
		}
		if len(request) >= 8 && !bytes.Equal(got[4:], request[4:min(len(request), maxMessage)]) {
			t.Errorf("of %d octets came back % x", len(request), got)
		}
	}
}

func TestRFC6886Section34_WhatCannotBeDeletedIsSaidAndTheRestIsDeleted(t *testing.T) {
	f := &fakeNAT{}
	s := both(f)
	s.Receive(start, client, natPMPRequest(2, 80, 80, 3600))
	s.Receive(start, client, natPMPRequest(2, 81, 81, 3600))
	s.Receive(start, client, pcpMapRequest(1, 6, 82, 82, 3600)) // guarded by its nonce
	if got := s.Receive(start, client, natPMPRequest(2, 0, 0, 0)); got[3] != natPMPNotAuthorized || len(f.unmap) != 2 {
		t.Errorf("answer % x, ended %v", got, f.unmap)
	}
	if got := s.Receive(start, client, natPMPRequest(1, 0, 0, 0)); got[3] != natPMPSuccess { // of UDP there is nothing
		t.Errorf("answer % x", got)
	}
}

func TestRFC6886Section34_WhatTheConfigurationHasMadeIsNotDeleted(t *testing.T) {
	f := &fakeNAT{static: 80}
	s := both(f)
	if got := s.Receive(start, client, natPMPRequest(2, 80, 0, 0)); got[3] != natPMPNotAuthorized {
		t.Errorf("by NAT-PMP: % x", got)
	}
	if got := s.Receive(start, client, pcpMapRequest(1, 6, 80, 0, 0)); got[3] != pcpNotAuthorized {
		t.Errorf("by PCP: % x", got)
	}
	if got := s.Receive(start, client, natPMPRequest(2, 81, 0, 0)); got[3] != natPMPSuccess {
		t.Errorf("where nothing is: % x", got)
	}
	// Of all, what is the client's own ends, and it is told that something stays.
	s.Receive(start, client, natPMPRequest(2, 81, 81, 3600))
	if got := s.Receive(start, client, natPMPRequest(2, 0, 0, 0)); got[3] != natPMPNotAuthorized || len(f.unmap) != 1 {
		t.Errorf("all by NAT-PMP: % x, ended %v", got, f.unmap)
	}
	if got := s.Receive(start, client, pcpMapRequest(1, 6, 0, 0, 0)); got[3] != pcpNotAuthorized {
		t.Errorf("all by PCP: % x", got)
	}
	// What the client has asked for beside it is its own.
	s.Receive(start, client, natPMPRequest(2, 80, 8080, 3600))
	if got := s.Receive(start, client, natPMPRequest(2, 80, 0, 0)); got[3] != natPMPSuccess || len(f.unmap) != 2 {
		t.Errorf("its own: % x, ended %v", got, f.unmap)
	}
}
