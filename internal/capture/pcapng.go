package capture

import (
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"time"
)

// Interface describes a port in the file.
type Interface struct {
	Name     string
	Ethernet bool // frames begin with an Ethernet header; else with the IP header
	MTU      int  // octets, for the reader of the structure: pcapng has no field for it
}

// Section describes where a file was made. Empty fields are left out.
type Section struct {
	Hardware, OS, App string
}

// Direction of a packet as seen from its port.
type Direction uint8

// The directions, with the values of the packet flags' lowest two bits.
const (
	DirectionUnknown Direction = 0
	Inbound          Direction = 1 // received on the port
	Outbound         Direction = 2 // about to be sent on the port
)

// Packet is one captured packet.
type Packet struct {
	Interface int // index in the order of NewWriter and AddInterface
	Time      time.Time
	Data      []byte // as much as is kept. borrowed: not kept past the call
	Length    int    // of the original in octets; below len(Data) it counts as len(Data)
	Comment   string // "" for none
	Direction Direction
}

// Block types, option codes and link types of pcapng.
const (
	blockSection   = 0x0a0d0d0a
	blockInterface = 1
	blockPacket    = 6

	byteOrderMagic = 0x1a2b3c4d

	optComment       = 1
	optHardware      = 2 // of a section
	optOS            = 3
	optApplication   = 4
	optName          = 2 // of an interface
	optTimestampUnit = 9
	optFlags         = 2 // of a packet

	linkEthernet = 1
	linkRaw      = 101

	nanoseconds = 9 // 10^-9 s
)

// MaxPacket is the most octets of a packet that are written: readers refuse more (a
// segment train of 64 KiB with its headers fits).
const MaxPacket = 262144

// maxOption is the longest option value; longer texts are cut.
const maxOption = 65535

// Writer writes one pcapng section. It is not safe for concurrent use.
type Writer struct {
	w          io.Writer
	block      []byte
	interfaces int
}

// NewWriter writes the section header and the interfaces. It fails only if w does.
func NewWriter(w io.Writer, section Section, interfaces []Interface) (*Writer, error) {
	p := &Writer{w: w}
	p.begin(blockSection)
	p.u32(byteOrderMagic)
	p.u16(1) // version 1.0
	p.u16(0)
	p.u32(0xffffffff) // length of the section: not known
	p.u32(0xffffffff)
	options := false
	for _, o := range []struct {
		code  uint16
		value string
	}{{optHardware, section.Hardware}, {optOS, section.OS}, {optApplication, section.App}} {
		if o.value != "" {
			p.text(o.code, o.value)
			options = true
		}
	}
	p.endOptions(options)
	if err := p.finish(); err != nil {
		return nil, fmt.Errorf("write the section header of a capture: %w", err)
	}
	for _, i := range interfaces {
		if _, err := p.AddInterface(i); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// AddInterface writes a further interface, at any time, and returns its index for [Packet].
func (p *Writer) AddInterface(i Interface) (int, error) {
	p.begin(blockInterface)
	if i.Ethernet {
		p.u16(linkEthernet)
	} else {
		p.u16(linkRaw)
	}
	p.u16(0)
	p.u32(MaxPacket)
	p.text(optName, i.Name)
	p.option(optTimestampUnit, 1)
	p.block = append(p.block, nanoseconds, 0, 0, 0)
	p.endOptions(true)
	if err := p.finish(); err != nil {
		return 0, fmt.Errorf("write interface %q of a capture: %w", i.Name, err)
	}
	p.interfaces++
	return p.interfaces - 1, nil
}

// Interfaces is how many interfaces the file has so far.
func (p *Writer) Interfaces() int { return p.interfaces }

// Packet writes one packet. Its error is w's, or tells of an interface that does not exist; after
// the latter the Writer is as it was.
func (p *Writer) Packet(k Packet) error {
	if k.Interface < 0 || k.Interface >= p.interfaces {
		return fmt.Errorf("write a packet of a capture: interface %d does not exist, there are %d; add it first", k.Interface, p.interfaces)
	}
	length := max(k.Length, len(k.Data))
	data := k.Data[:min(len(k.Data), MaxPacket)]
	stamp := uint64(k.Time.UnixNano())

	p.begin(blockPacket)
	p.u32(uint32(k.Interface))
	p.u32(uint32(stamp >> 32))
	p.u32(uint32(stamp))
	p.u32(uint32(len(data)))
	p.u32(uint32(length))
	p.block = append(p.block, data...)
	p.pad()
	if k.Comment != "" {
		p.text(optComment, k.Comment)
	}
	if k.Direction == Inbound || k.Direction == Outbound {
		p.option(optFlags, 4)
		p.u32(uint32(k.Direction))
	}
	p.endOptions(k.Comment != "" || k.Direction == Inbound || k.Direction == Outbound)
	if err := p.finish(); err != nil {
		return fmt.Errorf("write a packet of a capture: %w", err)
	}
	return nil
}

// begin starts a block; its length is filled in by finish.
func (p *Writer) begin(kind uint32) {
	p.block = p.block[:0]
	p.u32(kind)
	p.u32(0)
}

// finish completes the block and writes it at once.
func (p *Writer) finish() error {
	total := uint32(len(p.block) + 4)
	binary.LittleEndian.PutUint32(p.block[4:], total)
	p.u32(total)
	_, err := p.w.Write(p.block)
	return err
}

func (p *Writer) u16(v uint16) { p.block = binary.LittleEndian.AppendUint16(p.block, v) }
func (p *Writer) u32(v uint32) { p.block = binary.LittleEndian.AppendUint32(p.block, v) }

func (p *Writer) pad() {
	for len(p.block)%4 != 0 {
		p.block = append(p.block, 0)
	}
}

func (p *Writer) option(code uint16, length int) {
	p.u16(code)
	p.u16(uint16(length))
}

func (p *Writer) text(code uint16, value string) {
	value = strings.ToValidUTF8(value[:min(len(value), maxOption)], "?") // a cut may split a character
	value = value[:min(len(value), maxOption)]
	p.option(code, len(value))
	p.block = append(p.block, value...)
	p.pad()
}

func (p *Writer) endOptions(any bool) {
	if any {
		p.option(0, 0)
	}
}
