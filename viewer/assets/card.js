"use strict";

// The card is rendered by the server; this only hears when there is something
// new to render. The browser reconnects by itself.
const card = document.querySelector("main");
let shown = card.dataset.version;
const events = new EventSource(card.dataset.events);

events.addEventListener("state", (event) => {
  const state = JSON.parse(event.data);
  if (state.version !== shown) {
    shown = state.version;
    location.reload();
  }
});

for (const time of document.querySelectorAll("time")) {
  time.textContent = new Date(time.dateTime).toLocaleString();
}
