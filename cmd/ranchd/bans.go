package main

import (
	"slices"
	"strings"

	"goranch/conns"
	"goranch/conns/netrules"
)

// configOrigin is the origin of the rules in the tables [[network]].
const configOrigin = "configuration"

// banFile is the file of --ban-file.
type banFile struct {
	*netrules.File
	path     string
	networks *conns.Networks // that the file's rules are in
}

// bans opens the ban file. Its rules are in a table of their own until the configuration is in
// force.
func (c *config) bans(all *faults) {
	f := &c.process.flags
	if f.BanFile == "" {
		return
	}
	b, err := c.openBans(new(conns.Networks))
	if err != nil {
		for line := range strings.Lines(err.Error()) {
			all.add("--ban-file %s", strings.TrimPrefix(strings.TrimSuffix(line, "\n"), "rules "))
		}
		return
	}
	c.files.bans = b
}

func (c *config) openBans(networks *conns.Networks) (*banFile, error) {
	f := &c.process.flags
	interval, _ := positive(f.ReloadInterval) // readProcess reports its faults
	file, err := netrules.Open(netrules.Options{
		File: f.BanFile, Networks: networks, Interval: orNoTimeout(interval), Notify: func(err error) { c.OnBanReload(err) }})
	return &banFile{file, f.BanFile, networks}, err
}

// useNetworks puts the rules of a configuration into the table of the daemon, and closes the
// connections of clients that are banned now.
func (d *daemon) useNetworks(c *config) {
	old := d.config().files.bans
	switch b := c.files.bans; {
	case b == nil && old != nil:
		d.networks.Replace("file", nil)
	case b != nil && b.networks != d.networks:
		live, err := c.openBans(d.networks)
		if err != nil { // the file has changed since the check
			d.logBanReload(err)
		}
		c.files.bans = live
	}
	if err := d.networks.Replace(configOrigin, c.networkRules()); err != nil { // the rules were checked
		d.log.Error("rules for networks cannot be used", "err", err)
	}
	for _, l := range d.server.Listeners() {
		l.CloseBanned()
	}
}

// networkRules returns the rules in the tables [[network]].
func (c *config) networkRules() (rules []conns.NetworkRule) {
	for _, r := range c.Networks {
		rules = append(rules, conns.NetworkRule{
			Prefix: r.Prefix, Deny: r.Deny, Reset: r.Reset, Exempt: r.Exempt, PerAddress: r.PerAddress, AddressRate: r.AddressRate,
			Bits4: r.Bits4, Bits6: r.Bits6, Reason: r.Reason, Origin: configOrigin,
		})
	}
	return slices.Clip(rules)
}

// useShared creates the groups of shared limits that do not exist. Those that do are changed only
// if change is true.
func (d *daemon) useShared(c *config, change bool) error {
	for _, l := range c.Limits {
		limits := conns.SharedLimits{MaxConnections: l.MaxConnections, PerAddress: l.PerAddress, AddressRate: l.AddressRate, AcceptRate: l.AcceptRate,
			MaxUnestablished: l.MaxUnestablished}
		var err error
		if s := d.shared[l.Name]; s == nil {
			d.shared[l.Name], err = conns.NewShared(limits)
		} else if change {
			err = s.Set(limits)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// logBanReload logs the result of reading a changed ban file, and closes the connections of clients
// that are banned now.
func (d *daemon) logBanReload(err error) {
	if err != nil {
		d.log.Error("ban file is invalid; the previous bans stay in use", "err", err)
		return
	}
	closed := 0
	for _, l := range d.server.Listeners() {
		closed += l.CloseBanned()
	}
	d.log.Info("ban file reloaded", "networks", d.networks.Len(), "closed", closed)
}

// reloadBans reads the ban file at a signal.
func (d *daemon) reloadBans(b *banFile) {
	switch changed, err := b.Reload(); {
	case changed || err != nil:
		d.logBanReload(err)
	default:
		d.log.Info("ban file has not changed")
	}
}
