package webhook

import (
	"net/http"
	"time"

	"roomlink/internal/access"
	"roomlink/internal/web"
)

// auditRecord describes a call for the log and the metrics.
type auditRecord struct {
	began         time.Time
	identity      access.Identity
	remote        string
	shape         string
	interactionID string
	outcome       string
}

// audited returns a handler that answers with the result of handle, and audits the call.
// The status and the answer of handle count if its error is nil.
func (h *Webhook) audited(
	handle func(http.ResponseWriter, *http.Request, *auditRecord) (status int, answer any, err error),
) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		record := auditRecord{began: time.Now(), remote: r.RemoteAddr, outcome: "refused"}
		status, answer, err := handle(w, r, &record)
		h.audit(record, err)
		if err != nil {
			web.Fail(w, answers.Answer(err))
			return
		}
		web.JSON(w, status, answer)
	}
}

// audit counts and logs a call. The log names credentials and never quotes them.
func (h *Webhook) audit(record auditRecord, err error) {
	took := time.Since(record.began)
	h.metrics.count(record.identity.Account, record.outcome, 1)
	h.metrics.duration.Observe(took.Seconds())
	entry := h.log.Info()
	if err != nil {
		answer := answers.Answer(err)
		entry = h.log.Warn().AnErr("error", answer)
		if answer.Status >= http.StatusInternalServerError {
			entry = entry.AnErr("cause", err)
		}
	}
	entry.Str("kind", "audit").Str("account", record.identity.Account).
		Str("credential", record.identity.Credential).Str("credential_kind", record.identity.Kind).
		Str("remote", record.remote).Str("shape", record.shape).Str("interaction_id", record.interactionID).
		Str("outcome", record.outcome).Int64("took_ms", took.Milliseconds()).Msg("call received")
}
