package reassembly

import "time"

type Config struct{}
type Machine struct{}

func New(Config) *Machine                                  { return &Machine{} }
func (*Machine) Add(now time.Time, b []byte) ([]byte, int) { return nil, 0 }
func (*Machine) Next() time.Time                           { return time.Time{} }
func (*Machine) Expire(now time.Time) [][]byte             { return nil }
