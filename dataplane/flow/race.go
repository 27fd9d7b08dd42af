//go:build race

package flow

// raceBuild has returned blocks overwritten, so that a use after Put shows.
const raceBuild = true
