import { follow, look } from "./live.js";

// The page is rendered by the server; this only hears that there is another one.
const { events, version } = document.querySelector("main").dataset;

follow(events, (state) => {
  if (state.version !== version) {
    look();
  }
});
