package viewer

import "roomlink/messages"

// texts are all the words of the pages and of the card. They stand here and
// nowhere else, so that another language is another one of these.
type texts struct {
	// Lang is the language as HTML names it.
	Lang string
	Card cardTexts
	// Script are the words that only the card's script says.
	Script scriptTexts
	Join   string
}

// words head a page or the card, and go on below.
type words struct{ Title, Text string }

// cardTexts are the words of the canvas card.
type cardTexts struct {
	// Title is that of the frame, for who does not see it.
	Title                           string
	Unknown, Waiting, Ready         words
	Renewing, Expired               words
	Failed, RenewalFailed           words
	Reasons                         map[string]string
	Join, Copy, CustomerLink        string
	QR, QRImage                     string
	Renew, Question, Confirm, Leave string
	Recording                       string
	Waited, Left, Conversation      string
}

// scriptTexts are what the card says after a click or when time passes.
type scriptTexts struct {
	Copied   string `json:"copied"`
	CopyHere string `json:"copyHere"`
	Renewing string `json:"renewing"`
	Renewed  string `json:"renewed"`
	NotMade  string `json:"notMade"`
	TryAgain string `json:"tryAgain"`
	Slow     string `json:"slow"`
	Lost     string `json:"lost"`
	At       string `json:"at"`
}

// english are the texts as they are shown.
var english = texts{
	Lang: "en",
	Join: "Join",
	Card: cardTexts{
		Title:    "Video room",
		Unknown:  words{"No video room yet", "Nothing is known of this conversation so far. This card follows it by itself."},
		Waiting:  words{"Video room on its way", "It will be here in a moment."},
		Ready:    words{"Video room ready", "Join, and send the customer their link."},
		Renewing: words{"New room on its way", "The customer’s link stays the same."},
		Expired:  words{"The ticket has ended", "A new link lets the customer in again."},
		Failed:   words{"The video room failed", ""},
		RenewalFailed: words{
			"The new room failed", "The links from before are still here.",
		},
		Reasons: map[string]string{
			messages.ReasonRejected:       "auvious refused to make it. Please tell your administrator.",
			messages.ReasonBadAnswer:      "auvious answered without usable links. Please tell your administrator.",
			messages.ReasonUnknownOutcome: "auvious did not answer in time, more than once. Please tell your administrator.",
			messages.ReasonExpired:        "auvious could not be reached for too long. Please tell your administrator.",
			messages.ReasonBadEvent:       "What Talkdesk sent could not be used. Please tell your administrator.",
			"":                            "Please tell your administrator.",
		},
		Join: "Join video", Copy: "Copy customer link", CustomerLink: "Customer link",
		QR: "QR code", QRImage: "QR code of the customer’s link",
		Renew:    "New link",
		Question: "Make a new video room? The customer’s link stays the same and leads to the new room.",
		Confirm:  "New room", Leave: "Cancel",
		Recording: "Recording",
		Waited:    "Waiting for", Left: "Ticket ends in", Conversation: "Conversation",
	},
	Script: scriptTexts{
		Copied:   "Customer link copied",
		CopyHere: "The browser does not let this card copy. The link is selected: press Ctrl+C or ⌘C.",
		Renewing: "A new link is on its way …",
		Renewed:  "The new link is ready. The customer’s link is the same as before.",
		NotMade:  "The new link could not be made.",
		TryAgain: "That did not work just now. Please try again.",
		Slow:     "This takes longer than usual. It is still being tried.",
		Lost:     "Connection lost. Trying again …",
		At:       "at",
	},
}

// The pages that the agent's context link and the customer's link show.
var (
	pageWaiting = page{Name: "waiting", Waiting: true, words: words{
		"Your video room is on its way", "This page goes on by itself as soon as the room is there.",
	}}
	pageUnknown = page{Name: "unknown", Waiting: true, words: words{
		"There is no video room yet", "This page goes on by itself as soon as there is one.",
	}}
	pageFailed = page{Name: "failed", words: words{
		"There is no video room", "It could not be made. Please tell whoever gave you this link.",
	}}
	pageExpired = page{Name: "expired", words: words{
		"This link has ended", "Please ask for a new one.",
	}}
	pageInvalid = page{Name: "invalid", words: words{
		"This link does not work", "It is incomplete, or it was made for something else.",
	}}
	pageOutage = page{Name: "outage", Waiting: true, words: words{
		"One moment, please", "The room cannot be looked up right now. This page tries again by itself.",
	}}
	pageJoin = page{Name: "join", Join: true, words: words{
		"Your video room is ready", "Your camera and microphone stay off until you allow them.",
	}}
)
