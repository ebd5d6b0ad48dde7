// Package subscribertest contains the tests of the programs in docs/subscribe.md. In them,
// unmodified NATS clients read the links of a running "roomlink serve" as subscribers, while
// the server and the clients are killed. The package has no code of its own.
//
//	go test ./internal/subscribertest/                             # the short form, as in CI
//	go test -tags soak -v -timeout 30m ./internal/subscribertest/  # adds minutes of load and kills
//
// The tests need Node with NATS' packages and the nats CLI: "ROOMLINK_NATS_JS" names the
// directory with node_modules, "ROOMLINK_NATS_CLI" the program. A test is skipped without
// them, but with CI=true in the environment it fails. ".ci/run" installs them.
package subscribertest
