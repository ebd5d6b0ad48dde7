package viewer

import (
	"net/http"

	"roomlink/messages"
)

// texts are all words of the pages and of the card in one language.
type texts struct {
	// Lang is the language tag of HTML.
	Lang string
	Card cardTexts
	// Script are the words that the card's script shows.
	Script scriptTexts
	Join   string
}

// words are a heading and the text below it.
type words struct{ Title, Text string }

// cardTexts are the words of the canvas card.
type cardTexts struct {
	// Title is the title of the document. Screen readers read it for the frame.
	Title                            string
	Unknown, Waiting, Ready          words
	Renewing, Expired, Revoked       words
	Failed, RenewalFailed            words
	Reasons                          map[string]string
	Join, Copy                       string
	CustomerLink, RoomLink           string
	QR, QRImage                      string
	Renew, Question, Confirm, Cancel string
	Recording                        string
	Waited, ExpiresIn, Conversation  string
}

// scriptTexts are the words after a click or after some time.
type scriptTexts struct {
	Copied   string `json:"copied"`
	CopyHere string `json:"copyHere"`
	Renewing string `json:"renewing"`
	Renewed  string `json:"renewed"`
	NotMade  string `json:"notMade"`
	TryAgain string `json:"tryAgain"`
	Slow     string `json:"slow"`
	Lost     string `json:"lost"`
	Found    string `json:"found"`
	Blocked  string `json:"blocked"`
	At       string `json:"at"`
}

// english are the English texts.
var english = texts{
	Lang: "en",
	Join: "Join",
	Card: cardTexts{
		Title:         "Video room",
		Unknown:       words{"No video room yet", "It appears here when the conversation starts."},
		Waiting:       words{"Video room on its way", "It will be ready in a moment."},
		Ready:         words{"Video room ready", "Join, and send the customer their link."},
		Renewing:      words{"New room on its way", "The customer’s link stays the same."},
		Expired:       words{"The link has expired", "A new room lets the customer in again."},
		Revoked:       words{"The links were revoked", "A new room lets you and the customer in again."},
		Failed:        words{"The video room failed", ""},
		RenewalFailed: words{"The new room failed", "The previous links are still here."},
		Reasons: map[string]string{
			messages.ReasonRejected:       "auvious refused to make it. Please tell your administrator.",
			messages.ReasonBadAnswer:      "auvious answered without usable links. Please tell your administrator.",
			messages.ReasonUnknownOutcome: "auvious did not answer in time, several times. Please tell your administrator.",
			messages.ReasonExpired:        "auvious could not be reached for too long. Please tell your administrator.",
			messages.ReasonBadEvent:       "What Talkdesk sent could not be used. Please tell your administrator.",
			messages.ReasonUnreadable:     "roomlink’s store was damaged. Please make a new room, or tell your administrator.",
			"":                            "Please tell your administrator.",
		},
		Join: "Join video", Copy: "Copy customer link",
		CustomerLink: "Customer link", RoomLink: "Link to open in a new tab",
		QR: "QR code", QRImage: "QR code of the customer’s link",
		Renew:    "New room",
		Question: "Make a new video room? The customer’s link stays the same and leads to the new room.",
		Confirm:  "Make room", Cancel: "Cancel",
		Recording: "Recording",
		Waited:    "Waiting for", ExpiresIn: "Link expires in", Conversation: "Conversation",
	},
	Script: scriptTexts{
		Copied:   "Customer link copied",
		CopyHere: "The browser does not let this card copy. The link is selected: press Ctrl+C or ⌘C.",
		Renewing: "A new room is on its way …",
		Renewed:  "The new room is ready. The customer’s link is the same as before.",
		NotMade:  "A new room could not be made.",
		TryAgain: "That did not work. Please try again.",
		Slow:     "This takes longer than usual, but it is still in progress.",
		Lost:     "Connection lost. Reconnecting …",
		Found:    "Connected again",
		Blocked: "The page around this card does not let it open a tab. " +
			"The link is selected: press Ctrl+C or ⌘C, and paste it into a new tab.",
		At: "at",
	},
}

// The pages that the links of the agent and of the customer lead to.
var (
	pageWaiting = page{Name: "waiting", Waiting: true, words: words{
		"Your video room is on its way", "This page continues by itself as soon as the room is ready.",
	}}
	pageUnknown = page{Name: "unknown", Waiting: true, words: words{
		"There is no video room yet", "This page continues by itself as soon as there is one.",
	}}
	pageFailed = page{Name: "failed", words: words{
		"There is no video room", "It could not be made. Please tell the person who gave you this link.",
	}}
	pageExpired = page{Name: "expired", words: words{"This link has expired", "Please ask for a new one."}}
	pageRevoked = page{Name: "revoked", Status: http.StatusGone, words: words{
		"This link was revoked", "Please ask the person who gave you this link.",
	}}
	pageInvalid  = page{Name: "invalid", words: words{"This link does not work", "It is incomplete or no longer valid."}}
	pageUnusable = page{Name: "invalid", words: words{
		"This room cannot be opened", "Its address is not usable. Please tell the person who gave you this link.",
	}}
	pageOutage = page{Name: "outage", Waiting: true, words: words{
		"One moment, please", "The room cannot be looked up right now. This page tries again by itself.",
	}}
	pageJoin = page{Name: "join", Join: true, words: words{
		"Your video room is ready", "Your camera and microphone stay off until you allow them.",
	}}
)
