// Package programtest gives tests the program as production has it: a process of
// its own that is started, asked over HTTP, killed and stopped. Beside it are the
// simulated auvious that it calls, and the caller that Talkdesk would be. It is for
// tests alone.
//
// A package that uses it hands its TestMain on to [Main]:
//
//	func TestMain(m *testing.M) { os.Exit(programtest.Main(m)) }
//
// and then has all it needs for a conversation:
//
//	auvious := programtest.StartAuvious(t, simulator.Config{})
//	program := programtest.Start(t, programtest.Command{
//		Args: []string{"serve"}, Env: programtest.ServeEnv(t, auvious.URL),
//	})
//	base := program.Address("public")
//	programtest.Post(t, base, "call-1")
//	programtest.Ready(t, base, "call-1")
//
// A program is built once for a test binary, ours with the race detector if that one
// has it; a race that it reports fails the test which started it. Every process
// ends with its test at the latest. Every wait ends after [roomlinktest.Timeout], and the
// test with it.
package programtest
