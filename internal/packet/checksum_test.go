package packet

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip/checksum"
)

// slowSum adds 16-bit words one by one with end-around carry (RFC 1071 section 1): the slow twin of Sum and Fold.
func slowSum(b []byte, initial uint16) uint16 {
	sum := uint32(initial)
	for i, x := range b {
		if i%2 == 0 {
			sum += uint32(x) << 8
		} else {
			sum += uint32(x)
		}
		if sum > 0xffff {
			sum -= 0xffff
		}
	}
	return uint16(sum)
}

// sameSum compares one's-complement numbers, of which 0 and 0xffff are the same.
func sameSum(a, b uint16) bool { return a%0xffff == b%0xffff }

func TestSumOfEveryLengthAtEveryAlignment(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	backing := make([]byte, 256)
	for fill := range 4 {
		for i := range backing {
			switch fill {
			case 0:
				backing[i] = byte(r.Uint32())
			case 1:
				backing[i] = 0xff
			case 2:
				backing[i] = 0
			case 3:
				backing[i] = byte(0xff * r.IntN(2))
			}
		}
		for offset := range 9 {
			for n := range 200 {
				b := backing[offset : offset+n]
				want := slowSum(b, 0)
				if got := Fold(Sum(b, 0)); !sameSum(got, want) {
					t.Fatalf("fill %d: %d octets at %d: %04x, want %04x", fill, n, offset, got, want)
				}
				if got := Fold(Sum(b, 0)); !sameSum(got, checksum.Checksum(b, 0)) {
					t.Fatalf("%d octets at %d: %04x, gVisor has %04x", n, offset, got, checksum.Checksum(b, 0))
				}
				if got := Checksum(b); got != ^Fold(Sum(b, 0)) {
					t.Fatalf("Checksum %04x", got)
				}
			}
		}
	}
}

func TestSumOfNothingButZerosIsZero(t *testing.T) {
	for n := range 100 {
		if got := Fold(Sum(make([]byte, n), 0)); got != 0 {
			t.Errorf("%d zeros sum up to %04x", n, got)
		}
	}
}

func TestSumsMayBeChainedAndCarry(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 20000 {
		b := make([]byte, r.IntN(120))
		for i := range b {
			b[i] = byte(r.Uint32()) | byte(0xff*r.IntN(2))
		}
		initial := r.Uint64() | -uint64(r.IntN(2)) // often all ones, the worst for carries
		want := slowSum(binary.BigEndian.AppendUint64(nil, initial), 0)
		want = slowSum(b, want)
		if got := Fold(Sum(b, initial)); !sameSum(got, want) {
			t.Fatalf("%x after %x: %04x, want %04x", b, initial, got, want)
		}
		cut := r.IntN(len(b)+1) &^ 1
		if got := Fold(Sum(b[cut:], Sum(b[:cut], initial))); !sameSum(got, want) {
			t.Fatalf("%x cut at %d: %04x, want %04x", b, cut, got, want)
		}
	}
}

func TestFoldAtTheEdges(t *testing.T) {
	for sum, want := range map[uint64]uint16{
		0: 0, 1: 1, 0xffff: 0xffff, 0x10000: 1, 0x1fffe: 0xffff, 0xffffffff: 0xffff,
		0x100000000: 1, ^uint64(0): 0xffff, ^uint64(0) - 1: 0xfffe, 0xffff0000ffff0001: 0x0001,
	} {
		if got := Fold(sum); got != want {
			t.Errorf("Fold(%x) = %04x, want %04x", sum, got, want)
		}
	}
}

func TestPseudoHeaderSumIsThatOfItsOctets(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 1000 {
		src, dst, proto, n := Addr(r.Uint32()), Addr(r.Uint32()), uint8(r.Uint32()), r.IntN(65536)
		var b []byte
		b = binary.BigEndian.AppendUint32(b, uint32(src))
		b = binary.BigEndian.AppendUint32(b, uint32(dst))
		b = append(b, 0, proto)
		b = binary.BigEndian.AppendUint16(b, uint16(n))
		if got := Fold(PseudoHeaderSum(src, dst, proto, n)); !sameSum(got, slowSum(b, 0)) {
			t.Fatalf("%04x, want %04x", got, slowSum(b, 0))
		}
	}
}

// TestIncrementalUpdateIsThatOfRFC1624 goes through every new value of a word, for
// samples of the rest with the corners among them, and wants the octets that a
// computation from scratch gives: no 0x0000 where it gives 0xffff, nor the reverse.
func TestIncrementalUpdateIsThatOfRFC1624(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	corners := []uint16{0, 1, 0x7fff, 0x8000, 0xfffe, 0xffff, 0x5555, 0x3285}
	for i := range 48 {
		old, rest := corners[i%8], corners[i/8%8]
		if i >= 24 {
			old, rest = uint16(r.Uint32()), uint16(r.Uint32())
		}
		header := []byte{0, 0, 0, 0, 0x45, 0} // a header is never all zeros
		binary.BigEndian.PutUint16(header, old)
		binary.BigEndian.PutUint16(header[2:], rest)
		sum := Checksum(header)
		for v := range 0x10000 {
			binary.BigEndian.PutUint16(header, uint16(v))
			if got, want := UpdateChecksum16(sum, old, uint16(v)), Checksum(header); got != want {
				t.Fatalf("%04x -> %04x beside %04x: %04x, want %04x", old, v, rest, got, want)
			}
		}
	}
	// The example of RFC 1624 section 4.
	if got := UpdateChecksum16(0xdd2f, 0x5555, 0x3285); got != 0 {
		t.Errorf("the example gives %04x", got)
	}
}

func TestIncrementalUpdateOfAnAddress(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	for range 20000 {
		h := make([]byte, 12)
		for i := range h {
			h[i] = byte(r.Uint32()) & -byte(r.IntN(2))
		}
		h[8] = 0x45
		old, sum := binary.BigEndian.Uint32(h[4:]), Checksum(h)
		v := r.Uint32() & -uint32(r.IntN(2))
		binary.BigEndian.PutUint32(h[4:], v)
		if got := UpdateChecksum32(sum, old, v); got != Checksum(h) {
			t.Fatalf("%08x -> %08x: %04x, want %04x", old, v, got, Checksum(h))
		}
	}
}
