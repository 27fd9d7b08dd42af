// Package hugepages reserves large blocks of memory outside the Go heap on the
// largest pages to be had, carves typed tables from them, and reports the huge
// page set-up of the machine.
//
// A table of millions of flow records wants two things of its memory: few TLB
// entries, so that a random lookup does not also walk page tables, and no
// visit by the garbage collector. An Arena gives both, with the price that its
// owner frees it by hand.
//
// Inspect tells what the machine has and what is wrong with it, with the fix. A
// Keeper adds pages to the pools of the machine and gives back exactly those,
// also when the process that added them has died.
package hugepages
