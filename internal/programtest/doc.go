// Package programtest runs the real program as a separate process. Tests start it, call it
// over HTTP, kill it and stop it. The package also provides the simulated auvious and an HTTP
// client in the role of Talkdesk. Only tests import it.
//
// A package that uses it calls [Main] in its TestMain:
//
//	func TestMain(m *testing.M) { os.Exit(programtest.Main(m)) }
//
// A test then starts a conversation like this:
//
//	auvious := programtest.StartAuvious(t, simulator.Config{})
//	program := programtest.Start(t, programtest.Command{
//		Args: []string{"serve"}, Env: programtest.ServeEnv(t, auvious.URL),
//	})
//	base := program.Address("public")
//	programtest.Post(t, base, "call-1")
//	programtest.Ready(t, base, "call-1")
//
// The program is built once for a test binary, with the race detector if the tests use it. A
// reported race fails the test that started the program. Every process ends with its test. Every
// wait fails its test after [roomlinktest.Timeout].
package programtest
