package crashtest_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"roomlink/internal/broker"
	"roomlink/internal/programtest"
	"roomlink/internal/roomlinktest"
	"roomlink/messages"
)

// natsServer is a process of a NATS server with the configuration that "roomlink nats config"
// prints. It keeps its addresses and its store over a restart.
type natsServer struct {
	*programtest.Program

	name, address, route string
	command              programtest.Command
	// networks connect it with the others of its cluster, one for each direction.
	networks []*roomlinktest.Network
}

// startServers runs NATS servers, as a cluster if there are several.
func startServers(tb testing.TB, count int) []*natsServer {
	tb.Helper()
	text, block, found := strings.Cut(roomlinktest.DeployedConfig(tb), "\n# cluster {")
	if !found {
		tb.Fatal("the configuration has no block for a cluster")
	}
	servers := make([]*natsServer, count)
	for i := range servers {
		servers[i] = &natsServer{
			name: fmt.Sprintf("nats-%d", i+1), address: programtest.FreeAddress(tb), route: programtest.FreeAddress(tb),
		}
	}
	if count > 1 {
		text += "\ncluster {" + strings.ReplaceAll(block, "\n#", "\n")
	}
	for _, s := range servers {
		s.prepare(tb, text, s.routes(tb, servers))
		s.start(tb)
	}
	for _, s := range servers {
		s.AwaitLog("Server is ready")
	}
	return servers
}

// routes returns the changes to the configuration of one server of a cluster. The server reaches
// every other one through a separate network. Servers also announce their addresses to each other,
// which would bypass the networks. So they advertise an unusable address.
func (s *natsServer) routes(tb testing.TB, servers []*natsServer) map[string]string {
	tb.Helper()
	if len(servers) == 1 {
		return nil
	}
	changes := map[string]string{`"0.0.0.0:6222"`: fmt.Sprintf("%q\nadvertise: %q", s.route, "127.0.0.1:1")}
	for _, other := range servers {
		to := s.route
		if other != s {
			network := roomlinktest.NewNetwork(tb, other.route)
			s.networks, other.networks = append(s.networks, network), append(other.networks, network)
			to = network.Address()
		}
		changes[other.name+":6222"] = to
	}
	return changes
}

// isolate partitions the server from the rest of its cluster. Its clients stay connected.
func (s *natsServer) isolate() {
	for _, network := range s.networks {
		network.AddToxics(roomlinktest.BlackHole()...)
	}
}

// rejoin ends the partition.
func (s *natsServer) rejoin() {
	for _, network := range s.networks {
		network.RemoveToxics()
	}
}

// prepare writes the configuration of the server with its own addresses and directory.
func (s *natsServer) prepare(tb testing.TB, text string, routes map[string]string) {
	tb.Helper()
	dir := tb.TempDir()
	changes := map[string]string{
		"server_name: nats-1":      "server_name: " + s.name,
		`listen: "127.0.0.1:4222"`: fmt.Sprintf("listen: %q", s.address),
		`http: "127.0.0.1:8222"`:   "",
		`store_dir: "/data"`:       fmt.Sprintf("store_dir: %q", filepath.Join(dir, "data")),
	}
	maps.Copy(changes, routes)
	for from, to := range changes {
		if !strings.Contains(text, from) {
			tb.Fatalf("the configuration has no %q", from)
		}
		text = strings.ReplaceAll(text, from, to)
	}
	file := filepath.Join(dir, "nats.conf")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		tb.Fatalf("writing the configuration: %v", err)
	}
	s.command = programtest.Command{
		Path: programtest.Build(tb, programtest.NATSServer),
		Args: []string{"-c", file},
	}
}

// start starts or restarts the server.
func (s *natsServer) start(tb testing.TB) {
	tb.Helper()
	s.Program = programtest.Start(tb, s.command)
}

// addressOf returns the ROOMLINK_NATS_URL of servers.
func addressOf(servers ...*natsServer) string {
	var urls []string
	for _, s := range servers {
		urls = append(urls, "nats://"+s.address)
	}
	return strings.Join(urls, ",")
}

// useServers configures the parts to use the servers.
func useServers(env map[string]string, servers ...*natsServer) {
	env["ROOMLINK_NATS_URL"] = addressOf(servers...)
	env["ROOMLINK_REPLICAS"] = strconv.Itoa(len(servers))
}

// part returns the command of one part, with its user at the servers.
func part(env map[string]string, role broker.Role) programtest.Command {
	env = maps.Clone(env)
	logins := map[string]broker.Role{"ROOMLINK_NATS_": role}
	if role == broker.RoleWorker {
		logins["ROOMLINK_NATS_PROVISION_"] = broker.RoleProvisioner
	}
	for prefix, role := range logins {
		login := roomlinktest.DeployedLogin(role)
		env[prefix+"USER"], env[prefix+"PASSWORD"] = login.User, login.Password.Reveal()
	}
	return programtest.Command{Args: []string{string(role)}, Env: env}
}

// dialOperator connects to servers like the operator.
func dialOperator(tb testing.TB, servers ...*natsServer) jetstream.JetStream {
	tb.Helper()
	b, err := broker.Dial(roomlinktest.Context(tb), broker.RemoteConfig{
		URL: addressOf(servers...), Role: broker.RoleOperator,
		Login:  roomlinktest.DeployedLogin(broker.RoleOperator),
		Logger: zerolog.Nop(),
	})
	if err != nil {
		tb.Fatalf("dialling: %v", err)
	}
	tb.Cleanup(b.Close)
	js, err := b.Connect(broker.RoleOperator, "test")
	if err != nil {
		tb.Fatalf("connecting: %v", err)
	}
	return js
}

// awaitEmpty waits until the queue is empty.
func awaitEmpty(tb testing.TB, js jetstream.JetStream) {
	tb.Helper()
	roomlinktest.Await(tb, "an empty queue", func() bool {
		info, err := streamInfo(tb, js, messages.ConversationsStream)
		return err == nil && info.State.Msgs == 0
	})
}

// streamInfo requests the state of a stream once. A stream without a leader does not answer.
func streamInfo(tb testing.TB, js jetstream.JetStream, name string) (*jetstream.StreamInfo, error) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 3*time.Second)
	defer cancel()
	stream, err := js.Stream(ctx, name)
	if err != nil {
		return nil, err
	}
	return stream.CachedInfo(), nil
}
