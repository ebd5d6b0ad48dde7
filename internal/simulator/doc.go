// Package simulator simulates auvious: its token endpoint and its room facade. The
// simulator is as strict as the documentation of the real ones. It injects faults on
// demand, and counts calls and rooms exactly.
//
// # Use
//
// A [Simulator] is an [http.Handler]. Tests pass it to httptest.NewServer, programs to an
// [http.Server]:
//
//	POST /security/oauth/token             client credentials, in the form body only
//	POST /security/facades/room            makes a new room on every call
//	GET  /agent/{room}                     the agent's page of a room
//	     /t/{ticket}                       the customer's page of a room; counted
//	GET  /simulator/stats                  [Stats]
//	GET  /simulator/rooms/{interactionId}  the number of rooms of an interaction
//	GET  /simulator/faults                 the current [Faults] and [Latency]
//	PUT  /simulator/faults                 sets them
//
// Another process uses the endpoints below /simulator/ in place of the methods. They
// require no credentials, so serve the simulator on loopback.
//
// # The stages of a room call
//
//  1. The body is read, counted and kept.
//  2. The script may answer ([Simulator.Script]).
//  3. [Faults.Named] may answer without a room, then [Faults.RoomStatus] and [Faults.Rate].
//  4. The token, the content type, the schema and the application are checked.
//  5. The room is made.
//  6. The latency passes.
//  7. The answer is sent, changed or replaced by [Faults.Named], or lost by [Faults.Drop] or
//     [Faults.Hang].
//
// The room is made before the latency passes. So a client that gives up leaves a room
// behind, which it must also expect of the real facade.
//
// # Guarantees
//
// All methods may be called by many goroutines at once. The counts include a call before
// its answer is sent. The counts of rooms are exact and use memory for each interaction id.
// The numbers of tokens and kept requests are bounded. The simulator never logs a ticket,
// token or secret and never puts one into an error. A waiting call ends with its request's
// context, so a server with [Faults.Hang] stops only when its base context is cancelled or
// it is closed. The simulator starts no goroutine.
package simulator
