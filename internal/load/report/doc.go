// Package report shows what a load test found: as a closing table on a terminal, as
// the change from a former one, and as one page to send to somebody.
//
// The page is whole in itself. It holds its plots and its styles, asks nothing of
// any address and runs no script, so it can be mailed, printed and kept. Whatever a
// result holds is text in it: a setting with markup in it is shown, not obeyed.
package report
