package programtest_test

import (
	"net/http"
	"os"
	"testing"

	"roomlink/internal/programtest"
	"roomlink/internal/simulator"
)

func TestMain(m *testing.M) { os.Exit(programtest.Main(m)) }

// TestProgram starts, uses and stops the program.
func TestProgram(t *testing.T) {
	auvious := programtest.StartAuvious(t, simulator.Config{})
	p := programtest.Start(t, programtest.Command{
		Args: []string{"serve"}, Env: programtest.ServeEnv(t, auvious.URL),
	})
	base := p.Address("public")
	if got := programtest.Post(t, base, "call-1"); got.Status != http.StatusAccepted {
		t.Errorf("posting: got %d %v, want 202", got.Status, got.Fields)
	}
	programtest.Ready(t, base, "call-1")
	if code := p.Stop(); code != 0 {
		t.Errorf("exit code: got %d, want 0\n%s", code, p.Log())
	}
	p.Kill()
	if got := programtest.Post(t, base, "call-2"); got.Status != 0 {
		t.Errorf("posting to a program that has ended: got %d, want no answer", got.Status)
	}
}
