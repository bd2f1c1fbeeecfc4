package capture

import (
	"io"
	"time"
)

type Direction int

const (
	Inbound  Direction = 1
	Outbound Direction = 2
)

type Interface struct {
	Name     string
	Ethernet bool
	MTU      int
}
type Section struct{ Hardware, OS, App string }
type Packet struct {
	Interface int
	Time      time.Time
	Data      []byte
	Length    int
	Comment   string
	Direction Direction
}
type Writer struct{}
type Filter struct{}

func NewWriter(w io.Writer, s Section, ifs []Interface) (*Writer, error) { return &Writer{}, nil }
func (*Writer) AddInterface(Interface) (int, error)                      { return 0, nil }
func (*Writer) Packet(Packet) error                                      { return nil }
func CompileFilter(string, bool) (*Filter, error)                        { return &Filter{}, nil }
func (*Filter) Match([]byte) bool                                        { return true }
