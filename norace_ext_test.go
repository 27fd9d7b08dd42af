//go:build !race

package fastsyn_test

const raceEnabled = false
