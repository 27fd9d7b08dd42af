// Package compare tells the difference between runs from their noise.
//
// A side is one report or several of the same thing. With several, the noise is what the runs differ by among themselves: Welch's
// interval (1947) of the difference of two means, on a logarithmic scale where all values are above zero. With one, only
// the noise within the run is known: of a rate that of its seconds, by the variance of circular blocks of them, since
// neighbours are alike (Politis and Romano 1992); of a percentile by Woodruff's interval (1952), the order statistics whose
// ranks are as uncertain as the share of each second below the percentile says; of a share of the attempts by Wilson's
// (1927), with as many attempts as they are worth. Two such intervals make one of the difference by the square-and-add
// rule of Zou and Donner (2008). All are closed forms: no random numbers, so the same files give the same answer.
//
// Two runs of the same program differ by more than their seconds do (placement of memory, neighbours on the machine),
// and one report per side cannot know it. docs/compare.md says what that means for thresholds.
package compare
