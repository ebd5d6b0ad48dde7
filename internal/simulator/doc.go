// Package simulator is a simulated auvious: its token endpoint and its room
// facade, as strict as the real ones are documented to be, with faults on
// demand and exact counts of what was asked and made.
//
// # Use
//
// A [Simulator] is an [http.Handler]. A test gives it to httptest.NewServer, a
// program to an [http.Server]:
//
//	POST /security/oauth/token          client credentials, in the form body only
//	POST /security/facades/room         makes a room, each time another one
//	GET  /agent/{room}                  stands for the agent's page
//	     /t/{ticket}                    stands for the customer's page; counted
//	GET  /simulator/stats               [Stats]
//	GET  /simulator/rooms/{interactionId}  how many rooms one interaction has
//	GET  /simulator/faults              the [Faults] and the [Latency] in force
//	PUT  /simulator/faults              sets them
//
// Everything below /simulator/ is for another process that cannot call the
// methods. It asks for no credentials: serve it on loopback.
//
// # What a room call goes through
//
// The body is read, counted and kept; then the script may answer
// ([Simulator.Script]); then [Faults.RoomStatus] and [Faults.Rate]; then the
// checks: token, content type, schema, application; then the room is made; then
// the latency passes; then the answer goes out, or is lost by [Faults.Drop] or
// [Faults.Hang]. The room is made before the latency passes: a client that gives
// up while it waits leaves a room behind, as it must expect of the real facade.
//
// # Guarantees
//
// All methods may be called at any time from any goroutine. What a call changed
// in the counts is there before its answer is sent. The counts of rooms are
// exact, and cost memory for each interaction id ever seen; issued tokens and
// kept requests are bounded. No ticket, token or secret is logged, counted by
// name or put into an error. A waiting call ends with its request's context, so
// a server that shuts down while [Faults.Hang] is set has to cancel its base
// context or be closed. The simulator starts no goroutine.
package simulator
