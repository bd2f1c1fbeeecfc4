package port

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
)

// BenchmarkOpenClose is the part of the start-up and the stop that a port costs.
func BenchmarkOpenClose(b *testing.B) {
	if os.Geteuid() != 0 {
		b.Fatal("this benchmark makes a network namespace and devices: run it as root")
	}
	name := fmt.Sprintf("vrp%08x", rand.Uint32())
	if out, err := exec.Command("ip", "netns", "add", name).CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	defer exec.Command("ip", "netns", "del", name).Run()
	l := lab{name: name}
	spec := l.spec()
	spec.Offload, spec.Host = true, l.host()
	for b.Loop() {
		d, err := Open(spec)
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		d.Close()
		b.StartTimer()
	}
}
