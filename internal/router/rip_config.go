package router

import (
	"net/netip"

	"vrouterd/internal/config"
	"vrouterd/pkg/rip"
)

// ripConfig turns the section `rip:` into what the machine takes: ports by number
// instead of by name.
func (r *Router) ripConfig(c *config.RIP) rip.Config {
	out := rip.Config{
		Send: ripSends[c.Send], Receive: ripReceives[c.Receive], Timers: ripTimers(c.Timers),
		TriggerHoldMin: c.Timers.TriggeredMin, TriggerHoldMax: c.Timers.TriggeredMax,
		Ports:        map[rip.PortID]rip.PortConfig{},
		Redistribute: map[rip.Protocol]rip.RedistributeRule{},
		Default: rip.DefaultRoute{
			Originate: c.DefaultRoute.Originate, Metric: uint8(c.DefaultRoute.Metric), Tag: uint16(c.DefaultRoute.Tag),
		},
		TriggerBurst: 5, Distance: uint8(c.Distance), MaxPaths: c.MaxPaths, MaxRoutes: c.MaxRoutes,
	}
	for i := range c.Ports {
		if p := r.ports[c.Ports[i].Name]; p != nil {
			out.Ports[rip.PortID(p.id)] = ripPort(&c.Ports[i])
		}
	}
	for protocol, rule := range map[rip.Protocol]*config.RIPRedistribute{
		rip.ProtocolConnected: c.Connected, rip.ProtocolStatic: c.Static,
	} {
		if rule != nil {
			out.Redistribute[protocol] = rip.RedistributeRule{
				Metric: uint8(rule.Metric), Tag: uint16(rule.Tag), Filter: prefixList(rule.Filter),
			}
		}
	}
	return out
}

var (
	ripSends = map[config.RIPSend]rip.SendVersion{
		config.RIPSendV2: rip.SendV2, config.RIPSendV1: rip.SendV1, config.RIPSendV2Broadcast: rip.SendV2Broadcast,
	}
	ripReceives = map[config.RIPReceive]rip.ReceiveVersion{
		config.RIPReceiveV2: rip.ReceiveV2, config.RIPReceiveV1: rip.ReceiveV1, config.RIPReceiveBoth: rip.ReceiveBoth,
	}
	ripSplits = map[config.SplitHorizon]rip.SplitHorizon{
		config.SplitHorizonPoisoned: rip.SplitPoisoned, config.SplitHorizonSimple: rip.SplitSimple, config.SplitHorizonNone: rip.SplitNone,
	}
)

func ripTimers(t config.RIPTimers) rip.Timers {
	return rip.Timers{Update: t.Update, Timeout: t.Timeout, Garbage: t.Garbage}
}

func ripPort(c *config.RIPPort) rip.PortConfig {
	return rip.PortConfig{
		Passive: c.Passive, Send: ripSends[c.Send], Receive: ripReceives[c.Receive],
		Cost: uint8(c.Cost), SplitHorizon: ripSplits[c.SplitHorizon], Timers: ripTimers(c.Timers),
		Auth: keyChain(c.Auth), Neighbors: append([]netip.Addr(nil), c.Neighbors...),
		TTLSecurity: c.TTLSecurity, LinkCheck: c.LinkCheck,
		FilterIn: prefixList(c.FilterIn), FilterOut: prefixList(c.FilterOut),
		OffsetIn: offsets(c.OffsetIn), OffsetOut: offsets(c.OffsetOut),
	}
}

func keyChain(c *config.RIPKeyChain) *rip.KeyChain {
	if c == nil {
		return nil
	}
	kind, _ := rip.ParseAuthType(string(c.Type)) // the two lists of names are held together by a test
	chain := &rip.KeyChain{Name: c.Name, Type: kind, ForgetSequence: c.ForgetSequence}
	for _, k := range c.Keys {
		chain.Keys = append(chain.Keys, rip.Key{
			ID: uint8(k.ID), Secret: string(k.Secret), Send: rip.Lifetime(k.Send), Accept: rip.Lifetime(k.Accept),
		})
	}
	return chain
}

func prefixList(c *config.PrefixList) *rip.PrefixList {
	if c == nil {
		return nil
	}
	list := &rip.PrefixList{Name: c.Name}
	for _, rule := range c.Rules {
		list.Rules = append(list.Rules, rip.PrefixRule{
			Prefix: rule.Prefix, Min: uint8(rule.Min), Max: uint8(rule.Max), Deny: rule.Deny,
		})
	}
	return list
}

func offsets(list []config.RIPOffset) (out []rip.Offset) {
	for _, o := range list {
		out = append(out, rip.Offset{Filter: prefixList(o.Filter), Metric: uint8(o.Metric)})
	}
	return out
}
