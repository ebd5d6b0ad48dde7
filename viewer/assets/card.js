import { follow, reload } from "./live.js";

// The server renders the card with the words for its state. This script updates the card,
// counts the time and handles clicks. It also shows the buttons that need it.
const main = document.querySelector("main");
const texts = JSON.parse(document.getElementById("texts").textContent);
const part = Object.fromEntries(Array.from(main.querySelectorAll("[id]"), (element) => [element.id, element]));
const { token } = main.dataset; // the addresses of the card begin with it

const slowAfter = 30_000; // the wait after which the card says that it takes long
const soon = 5 * 60_000; // the time left from which a link expires soon
const tabDelay = 500; // the time that the browser takes to open a tab
const renewTimeout = 60_000; // the wait for a renewal before the agent can try again

let state = {
  status: main.dataset.status,
  version: main.dataset.version,
  generation: main.dataset.generation,
  since: main.dataset.since,
  expiresAt: main.dataset.expires,
};
let clockOffset = Date.parse(main.dataset.now) - Date.now(); // the server's clock minus the browser's
const opened = now();
let refreshed = 0; // the time of the last refresh
let copiedTimer; // removes the words after a copy
let foundTimer; // removes the words after a lost connection is back
let renewal; // the generation and version at the time of a click on renew

function now() {
  return Date.now() + clockOffset;
}

function setText(element, text) {
  if (element.textContent !== text) {
    element.textContent = text; // a live region announces every assignment
  }
}

// setLink sets a link, and hides it if its URL is not http or https.
function setLink(element, url, shown) {
  const good = /^https?:\/\//i.test(url);
  if (good && element.href !== url) {
    element.href = url;
  }
  element.hidden = !good || !shown;
}

function update(next) {
  clockOffset = Date.parse(next.now) - Date.now();
  const fresh = next.version !== state.version;
  state = next;
  part.link.value = next.customerUrl;
  if (fresh) {
    render();
    settleRenewal();
  }
  tick();
  return state.status === "pending";
}

// render shows the state. If it hides the focused element, the card gets the focus: a
// keyboard user then does not lose their place.
function render() {
  const { status } = state;
  const focused = document.activeElement;
  main.dataset.status = status;
  setText(part.heading, state.heading);
  setText(part.text, state.text);
  setLink(part.join, state.agentUrl, status !== "pending");
  setLink(part.recording, state.recordingUrl, true);
  part.share.hidden = !customerCanJoin();
  part.renew.hidden = !renewable();
  part.reference.hidden = status !== "failed" && status !== "unknown";
  setText(part.reason, state.reason);
  setText(part.note, "");
  if (part.renew.hidden) {
    setQuestion(false);
  }
  if (focused !== document.body && !focused.checkVisibility()) {
    main.tabIndex = -1;
    main.focus();
  }
}

function renewable() {
  return state.generation !== "" && state.status !== "pending";
}

// customerCanJoin reports whether the customer's link leads to a room.
function customerCanJoin() {
  return state.status === "ready" || (state.status === "failed" && state.generation !== "" && !expired());
}

// refresh asks the server for the state and its words.
function refresh() {
  const time = now();
  if (time > refreshed + 2_000) {
    refreshed = time;
    live.refresh();
  }
}

function expired() {
  return state.expiresAt !== "" && now() >= Date.parse(state.expiresAt);
}

// settleRenewal ends the wait for a renewal once its outcome is known.
function settleRenewal() {
  if (!renewal) {
    return;
  }
  if (state.generation !== renewal.generation) {
    endRenewal(texts.renewed);
  } else if (state.status === "failed" && state.version !== renewal.version) {
    endRenewal("");
  } else if (state.status !== "pending") {
    setText(part.note, texts.renewing);
  }
}

function endRenewal(text) {
  clearTimeout(renewal.timer);
  renewal = undefined;
  part.renew.removeAttribute("aria-disabled");
  setText(part.note, text);
}

// Time

const language = document.documentElement.lang;
const units = Object.fromEntries(
  ["day", "hour", "minute", "second"].map((unit) => [
    unit,
    new Intl.NumberFormat(language, { style: "unit", unit, unitDisplay: "narrow" }),
  ]),
);

// duration formats a time in its two largest units.
function duration(milliseconds) {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  const parts = [
    ["day", Math.floor(seconds / 86_400)],
    ["hour", Math.floor(seconds / 3_600) % 24],
    ["minute", Math.floor(seconds / 60) % 60],
    ["second", seconds % 60],
  ];
  const first = Math.max(0, parts.findIndex(([, count]) => count > 0));
  const from = seconds === 0 ? 3 : first;
  return parts.slice(from, from + 2).map(([unit, count]) => units[unit].format(count)).join(" ");
}

// clockTime formats a time in the zone and format of the browser.
function clockTime(time) {
  const sameDay = time.toDateString() === new Date().toDateString();
  return time.toLocaleString([], { hour: "numeric", minute: "2-digit", ...(sameDay ? {} : { month: "short", day: "numeric" }) });
}

function tick() {
  const { status, expiresAt } = state;
  if (status === "ready" && expired()) {
    refresh();
  }
  const waits = status === "pending";
  part.waited.hidden = !waits;
  if (waits) {
    const waited = now() - (state.since ? Date.parse(state.since) : opened);
    setText(part.waited.querySelector("b"), duration(waited));
    if (waited > slowAfter) {
      setText(part.note, texts.slow);
    }
  }
  part.left.hidden = expiresAt === "" || !customerCanJoin();
  if (!part.left.hidden) {
    const ends = new Date(expiresAt);
    const left = ends - now();
    const time = part.left.querySelector("time");
    time.dateTime = expiresAt;
    time.title = ends.toLocaleString();
    setText(time, duration(left));
    setText(part.until, `${texts.at} ${clockTime(ends)}`);
    part.left.classList.toggle("soon", left < soon);
  }
}

// showLost says that the connection is lost, or for some time that it is back.
function showLost(lost) {
  clearTimeout(foundTimer);
  part.lost.classList.toggle("found", !lost);
  setText(part.lost, lost ? texts.lost : texts.found);
  if (!lost) {
    foundTimer = setTimeout(() => setText(part.lost, ""), 4_000);
  }
}

// Clicks

// checkTab says how to open a link if the click on it has opened no tab: a sandboxed frame
// without allow-popups does nothing for a link. A new tab takes the focus, and uses up the
// right to open one that a click gives.
function checkTab({ currentTarget: { href } }) {
  setTimeout(() => {
    const blocked = document.hasFocus() && (navigator.userActivation?.isActive ?? true);
    part.address.hidden = !blocked;
    setText(part.blocked, blocked ? texts.blocked : "");
    if (blocked) {
      part.address.value = href;
      part.address.select();
    }
  }, tabDelay);
}

async function copy() {
  part.link.hidden = true;
  if (!(await writeClipboard(part.link.value))) {
    part.link.hidden = false;
    part.link.select();
    part.copied.className = "";
    setText(part.copied, texts.copyHere);
    return;
  }
  part.copy.classList.add("did");
  part.copied.className = "heard";
  setText(part.copied, texts.copied);
  clearTimeout(copiedTimer);
  copiedTimer = setTimeout(() => {
    part.copy.classList.remove("did");
    setText(part.copied, "");
  }, 4_000);
}

// writeClipboard reports whether it put a text on the clipboard. In a frame, the page around
// it must allow the clipboard API; execCommand works without that.
async function writeClipboard(text) {
  const policy = document.permissionsPolicy ?? document.featurePolicy;
  if (policy?.allowsFeature("clipboard-write") ?? true) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      // The browser refused, or has no clipboard API without TLS.
    }
  }
  const focused = document.activeElement;
  part.link.hidden = false;
  part.link.select();
  const done = document.execCommand("copy");
  part.link.hidden = true;
  focused.focus();
  return done;
}

// setQuestion shows or hides the question whether to renew.
function setQuestion(open) {
  part.sure.hidden = !open;
  part.renew.setAttribute("aria-expanded", String(open));
}

function cancel() {
  setQuestion(false);
  part.renew.focus();
}

async function renew() {
  cancel();
  part.renew.setAttribute("aria-disabled", "true"); // "disabled" would lose the focus
  renewal = { generation: state.generation, version: state.version };
  setText(part.note, texts.renewing);
  let text = texts.tryAgain;
  try {
    const answer = await fetch(`${token}/renew`, { method: "POST", signal: AbortSignal.timeout(10_000) });
    if (answer.ok) {
      if (renewal) {
        renewal.timer = setTimeout(() => renewal && endRenewal(""), renewTimeout);
        live.refresh();
      }
      return;
    }
    if (answer.status === 410) {
      reload();
      return;
    }
    text = answer.status === 404 ? texts.notMade : texts.tryAgain;
  } catch {
    // No answer, or not in time.
  }
  if (renewal) {
    endRenewal(text);
  }
}

part.copy.hidden = false;
part.copy.addEventListener("click", copy);
part.renew.hidden = !renewable();
part.renew.addEventListener("click", () => {
  setQuestion(part.sure.hidden && !renewal);
  if (!part.sure.hidden) {
    part.confirm.focus();
  }
});
part.confirm.addEventListener("click", renew);
part.cancel.addEventListener("click", cancel);
part.sure.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    cancel();
  }
});

if (self !== top) {
  part.join.addEventListener("click", checkTab);
  part.recording.addEventListener("click", checkTab);
}

const live = follow(token, update, showLost);
tick();
setInterval(tick, 1_000);
