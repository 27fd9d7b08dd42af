// Package screen is the view of a run or of a server on a terminal: a block of lines, drawn over
// and over where the cursor is.
//
// Render is a pure function from a state to lines; Terminal writes them. It changes no mode of the
// terminal: the cursor stays visible, nothing is switched to another screen, and no line
// is wider than the window. So there is nothing to restore, however the process ends.
package screen
