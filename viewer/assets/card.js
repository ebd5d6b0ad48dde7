import { follow, look } from "./live.js";

// The server renders the card and says every word of its states; this keeps it up
// to date, counts the time and carries out clicks.
const main = document.querySelector("main");
const texts = JSON.parse(document.getElementById("texts").textContent);
const part = Object.fromEntries(Array.from(main.querySelectorAll("[id]"), (element) => [element.id, element]));
const here = main.dataset.token;

const slowAfter = 30_000; // a wait that is worth a word
const soon = 5 * 60_000; // a ticket that ends soon
const asked = 60_000; // how long a renewal is waited for before it can be asked for again

let state = {
  status: main.dataset.status,
  version: main.dataset.version,
  generation: main.dataset.generation,
  since: main.dataset.since,
  expiresAt: main.dataset.expires,
  agentUrl: part.join.getAttribute("href"),
};
let clock = Date.parse(main.dataset.now) - Date.now(); // how far the server's is ahead
const opened = now();
let looked = 0; // when the server was last asked to look again
let thanked; // the timer that takes back the word of a copy
let renewal; // what there was when a renewal was asked for

function now() {
  return Date.now() + clock;
}

function setText(element, text) {
  if (element.textContent !== text) {
    element.textContent = text; // a live region speaks of changes only
  }
}

// setLink shows a link if it leads to a page, which javascript: does not.
function setLink(element, url, shown) {
  const good = /^https?:\/\//i.test(url);
  if (good && element.href !== url) {
    element.href = url;
  }
  element.hidden = !good || !shown;
}

function told(next) {
  clock = Date.parse(next.now) - Date.now();
  const fresh = next.version !== state.version || main.dataset.status !== next.status;
  state = next;
  part.link.value = next.customerUrl;
  if (fresh) {
    show();
    settle();
  }
  tick();
}

// show brings the card to its state. What is focused and about to go hands the
// focus on to the heading's place, so that the keyboard is not lost.
function show() {
  const { status } = state;
  const focused = document.activeElement;
  main.dataset.status = status;
  setText(part.heading, state.heading);
  setText(part.text, state.text);
  setLink(part.join, state.agentUrl, status !== "pending");
  setLink(part.recording, state.recordingUrl, true);
  part.share.hidden = !lets();
  part.renew.hidden = !state.generation || status === "pending";
  part.reference.hidden = status !== "failed" && status !== "unknown";
  setText(part.reason, state.reason);
  setText(part.note, "");
  if (part.renew.hidden) {
    ask(false);
  }
  if (focused !== document.body && !focused.checkVisibility()) {
    main.tabIndex = -1;
    main.focus();
  }
}

// lets reports whether the customer's link lets the customer in.
function lets() {
  return state.status === "ready" || (state.status === "failed" && state.generation !== "" && !over());
}

// lookAgain has the server say what there is now, which has the words for it.
function lookAgain() {
  const time = now();
  if (time > looked + 2_000) {
    looked = time;
    stream.again();
  }
}

function over() {
  return state.expiresAt !== "" && now() >= Date.parse(state.expiresAt);
}

// settle ends a renewal that was asked for once its outcome is there.
function settle() {
  if (!renewal) {
    return;
  }
  if (state.generation !== renewal.generation) {
    renewed(texts.renewed);
  } else if (state.status === "failed" && state.version !== renewal.version) {
    renewed("");
  } else if (state.status !== "pending") {
    setText(part.note, texts.renewing);
  }
}

function renewed(text) {
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

// duration says a time in its two greatest units.
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

// atClock says a time in the zone and the manner of the browser.
function atClock(time) {
  const sameDay = time.toDateString() === new Date().toDateString();
  return time.toLocaleString([], { hour: "numeric", minute: "2-digit", ...(sameDay ? {} : { month: "short", day: "numeric" }) });
}

function tick() {
  const { status, expiresAt } = state;
  if (status === "ready" && over()) {
    lookAgain();
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
  part.left.hidden = expiresAt === "" || !lets();
  if (!part.left.hidden) {
    const ends = new Date(expiresAt);
    const left = ends - now();
    const time = part.left.querySelector("time");
    time.dateTime = expiresAt;
    time.title = ends.toLocaleString();
    setText(time, duration(left));
    setText(part.until, `${texts.at} ${atClock(ends)}`);
    part.left.classList.toggle("soon", left < soon);
  }
}

// Clicks

async function copy() {
  part.link.hidden = true;
  if (!(await copied(part.link.value))) {
    part.link.hidden = false;
    part.link.select();
    part.copied.className = "";
    setText(part.copied, texts.copyHere);
    return;
  }
  part.copy.classList.add("did");
  part.copied.className = "heard";
  setText(part.copied, texts.copied);
  clearTimeout(thanked);
  thanked = setTimeout(() => {
    part.copy.classList.remove("did");
    setText(part.copied, "");
  }, 4_000);
}

// copied puts a text on the clipboard. In a frame the clipboard is barred unless
// the page around allows it; the old way works there all the same.
async function copied(text) {
  const policy = document.permissionsPolicy ?? document.featurePolicy;
  if (policy?.allowsFeature("clipboard-write") ?? true) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      // Barred all the same, or not there without TLS.
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

// ask shows or hides the question whether to renew.
function ask(open) {
  part.sure.hidden = !open;
  part.renew.setAttribute("aria-expanded", String(open));
}

function leave() {
  ask(false);
  part.renew.focus();
}

async function renew() {
  leave();
  part.renew.setAttribute("aria-disabled", "true"); // disabled would lose the focus
  renewal = { generation: state.generation, version: state.version };
  setText(part.note, texts.renewing);
  let text = texts.tryAgain;
  try {
    const answer = await fetch(`${here}/renew`, { method: "POST", signal: AbortSignal.timeout(10_000) });
    if (answer.ok) {
      if (renewal) {
        renewal.timer = setTimeout(() => renewal && renewed(""), asked);
        stream.again();
      }
      return;
    }
    if (answer.status === 410) {
      look();
      return;
    }
    text = answer.status === 404 ? texts.notMade : texts.tryAgain;
  } catch {
    // Not reached, or not in time.
  }
  if (renewal) {
    renewed(text);
  }
}

part.copy.addEventListener("click", copy);
part.renew.addEventListener("click", () => {
  ask(part.sure.hidden && !renewal);
  if (!part.sure.hidden) {
    part.confirm.focus();
  }
});
part.confirm.addEventListener("click", renew);
part.leave.addEventListener("click", leave);
part.sure.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    leave();
  }
});

const stream = follow(`${here}/events`, told, (lost) => setText(part.lost, lost ? texts.lost : ""));
tick();
setInterval(tick, 1_000);
