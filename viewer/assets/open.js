import { follow, reload } from "./live.js";

// The server renders the page. This script loads the next page when there is one.
const { token, version, waiting } = document.querySelector("main").dataset;

follow(token, (state) => {
  if (state.version !== version) {
    reload();
  }
  return waiting !== undefined;
});
