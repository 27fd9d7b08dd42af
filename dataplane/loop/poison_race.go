//go:build race

package loop

// raceBuild turns poisoning on.
const raceBuild = true
