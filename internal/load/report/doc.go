// Package report shows the result of a load test: as a table on a terminal, as the change from an earlier
// result, and as an HTML page.
//
// The page contains its plots and styles. It loads nothing and runs no script, so it can be mailed, printed and
// kept. It escapes every text of a result.
package report
