package main

import "goranch/protocol/shell"

// adminCommands are those of the operators' shell.
func (d *daemon) adminCommands() []shell.Command { return nil }

// lookAround are those of them that the shell for everybody has.
func (d *daemon) lookAround() []shell.Command { return nil }
