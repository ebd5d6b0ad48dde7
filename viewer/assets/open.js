import { follow, reload } from "./live.js";

// The server renders the page. This script loads the next page when there is one.
const { events, version } = document.querySelector("main").dataset;

follow(events, (state) => {
  if (state.version !== version) {
    reload();
  }
});
