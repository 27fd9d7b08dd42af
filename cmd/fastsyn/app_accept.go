package main

import "github.com/fastsyn/fastsyn"

// acceptApp keeps flows until their peers close. What they send is acknowledged and not looked at.
type acceptApp struct{}

func openAccept(*serveFlags, string, appEnv) (app, error) { return acceptApp{}, nil }

func (acceptApp) callbacks() fastsyn.Callbacks { return fastsyn.Callbacks{AutoClose: true} }
func (acceptApp) counts(int) map[string]uint64 { return nil }
func (acceptApp) close()                       {}
