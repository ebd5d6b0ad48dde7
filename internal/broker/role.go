package broker

import (
	"slices"
	"strings"

	"roomlink/messages"
)

// Role is what a connection may do. It is also the name of the NATS user, and it decides the
// prefix of the inboxes: NATS checks who may subscribe to them, so nobody overhears the replies
// to another role.
type Role string

// The roles.
const (
	// RoleWebhook stores events, reads the state of conversations and follows them.
	RoleWebhook Role = "webhook"
	// RoleWorker takes events from the queue, and stores links and dead letters.
	RoleWorker Role = "worker"
	// RoleViewer reads the state of conversations, follows them and stores renewals.
	RoleViewer Role = "viewer"
	// RoleServe is a process with all three parts.
	RoleServe Role = "serve"
	// RoleProvisioner makes and updates streams and consumers.
	RoleProvisioner Role = "provisioner"
	// RoleOperator is for our own commands.
	RoleOperator Role = "operator"
)

// externalRoles are the users of an external broker.
var externalRoles = []Role{RoleWebhook, RoleWorker, RoleViewer, RoleServe, RoleProvisioner, RoleOperator}

// embeddedRoles are the users of the embedded broker. All but the operator are parts of the
// process.
var embeddedRoles = []Role{RoleWebhook, RoleWorker, RoleViewer, RoleProvisioner, RoleOperator}

// inbox returns the prefix of the inboxes.
func (r Role) inbox() string { return "_INBOX_" + strings.ToUpper(string(r)) }

// about says what the role is, for the configuration of an external broker.
func (r Role) about() string {
	switch r {
	case RoleWebhook:
		return "roomlink webhook: stores events, reads the state of conversations and follows them."
	case RoleWorker:
		return "roomlink worker: takes events from the queue, stores links and dead letters."
	case RoleViewer:
		return "roomlink viewer: reads the state of conversations, follows them, stores renewals."
	case RoleServe:
		return "roomlink serve: all three parts in one process."
	case RoleProvisioner:
		return "Makes and updates streams and consumers, for worker and serve."
	}
	return "roomlink's own commands."
}

// permissions are the subjects that a user may publish to and subscribe to.
type permissions struct {
	Publish, Deny, Subscribe []string
}

// streams are the streams of roomlink.
var streams = []string{messages.ConversationsStream, messages.LinksStream, messages.DeadLettersStream}

// forEachStream returns the subjects of an API call, one for each stream.
func forEachStream(before, after string) []string {
	var subjects []string
	for _, stream := range streams {
		subjects = append(subjects, before+stream+after)
	}
	return subjects
}

// The subjects of the permissions.
var (
	// reading is what every part needs: the state of a conversation and the health of the
	// streams. A direct get is not among them. Its reply is empty if there is no message, and an
	// empty message is a valid request to purge or delete a stream. NATS does not check the reply
	// subject of a request, so a user with direct get could send the reply there. The replies of
	// these calls are JSON that no other call accepts.
	reading = slices.Concat(
		[]string{"$JS.API.INFO"},
		forEachStream("$JS.API.STREAM.INFO.", ""),
		forEachStream("$JS.API.STREAM.MSG.GET.", ""),
		[]string{"$JS.API.CONSUMER.INFO." + messages.ConversationsStream + ".*"},
	)
	directGet = []string{
		"$JS.API.DIRECT.GET." + messages.LinksStream, "$JS.API.DIRECT.GET." + messages.LinksStream + ".>",
		"$JS.API.DIRECT.GET." + messages.DeadLettersStream, "$JS.API.DIRECT.GET." + messages.DeadLettersStream + ".>",
	}
	storing = []string{messages.EventSubjects + "*.*"}
	working = []string{
		"$JS.API.CONSUMER.LIST." + messages.ConversationsStream,
		"$JS.API.CONSUMER.MSG.NEXT." + messages.ConversationsStream + ".*",
		"$JS.ACK." + messages.ConversationsStream + ".>",
		messages.LinksSubjects + "*.*", messages.DeadLetterSubjects + "*.*",
		// A dead letter goes when its conversation has links, and a stuck event goes alone.
		"$JS.API.STREAM.PURGE." + messages.DeadLettersStream,
		"$JS.API.STREAM.MSG.DELETE." + messages.ConversationsStream,
	}
	following    = []string{messages.LiveSubjects + "*.*", messages.FailedSubjects + "*.*"}
	provisioning = slices.Concat(
		[]string{"$JS.API.INFO"},
		forEachStream("$JS.API.STREAM.INFO.", ""),
		forEachStream("$JS.API.STREAM.CREATE.", ""),
		forEachStream("$JS.API.STREAM.UPDATE.", ""),
		forEachStream("$JS.API.CONSUMER.CREATE.", ".>"),
		forEachStream("$JS.API.CONSUMER.INFO.", ".*"),
		forEachStream("$JS.API.CONSUMER.LIST.", ""),
		forEachStream("$JS.API.CONSUMER.NAMES.", ""),
		forEachStream("$JS.API.CONSUMER.DELETE.", ".*"),
	)
	// neverOperator is what no command needs.
	neverOperator = []string{
		"$JS.API.STREAM.DELETE.>", "$JS.API.STREAM.SNAPSHOT.>", "$JS.API.STREAM.RESTORE.>", "$JS.API.ACCOUNT.>",
		"$JS.API.STREAM.PURGE." + messages.ConversationsStream, "$JS.API.STREAM.PURGE." + messages.LinksStream,
	}
)

// permissions returns what the role may do on an external broker, or on the embedded one.
func (r Role) permissions(embedded bool) permissions {
	p := permissions{Subscribe: []string{r.inbox() + ".>"}}
	switch r {
	case RoleWebhook, RoleViewer:
		p.Publish = slices.Concat(reading, storing)
		p.Subscribe = append(p.Subscribe, following...)
	case RoleWorker:
		p.Publish = slices.Concat(reading, directGet, working)
	case RoleServe:
		p.Publish = slices.Concat(reading, directGet, storing, working)
		p.Subscribe = append(p.Subscribe, following...)
	case RoleProvisioner:
		if embedded {
			// It also repairs the store at the start. It never leaves the process.
			return permissions{Publish: []string{">"}, Subscribe: []string{">"}}
		}
		p.Publish = provisioning
	case RoleOperator:
		p.Publish, p.Deny = []string{"$JS.API.>", "roomlink.>"}, neverOperator
		p.Subscribe = append(p.Subscribe, following...)
	}
	if embedded && (r == RoleWebhook || r == RoleViewer) {
		p.Publish = slices.Concat(p.Publish, directGet) // of one server, a direct get is the cheapest read
	}
	return p
}
