// A page follows its conversation in one of three ways. Over HTTP/1.1 a browser has six
// connections to a server, for all its pages together, so streams are few:
// - The pages that see each other, because they have the same origin, share two streams.
//   A stream takes one of two locks of the browser (Web Locks).
// - Of the pages with the same address, one asks the server. It passes each answer to the
//   others (BroadcastChannel).
// - A page without a stream polls. So does every page with an opaque origin, as in a
//   sandboxed frame: it does not see the others.
// A hidden page asks for nothing. It catches up when it is shown.
const maxStreams = 2;
const canShare = self.origin !== "null" && "locks" in navigator;

const soon = 200; // the delay of the first poll: a stream makes it unnecessary
const waitingInterval = 2_000; // between two polls while a room is on its way
const settledInterval = 3_000;
const pollTimeout = 5_000;
const firstEventTimeout = 5_000; // a proxy that buffers the stream delivers nothing
const silenceTimeout = 15_000; // the server repeats a state at least every 10 seconds

// follow calls onState with every state of the page with this token. onState returns true
// if the state may change at any moment. onLost is called with true when the connection is
// lost, and with false when it is back. When the address is no longer valid, follow reloads
// the page. refresh asks for the state at once.
export function follow(token, onState, onLost = () => {}) {
  const channel = canShare ? channelOf(token) : undefined;
  let turn; // its signal ends when the page is hidden; undefined while it is hidden
  let asks = false; // this page asks the server, for all pages with this address
  let streams = false; // this page may have a stream
  let source; // the stream
  let delivers = false; // the stream has delivered a state
  let waits = true; // the last result of onState
  let received = 0; // the number of states
  let failures = 0; // since the last state; more than 0 means that the connection is lost
  let streamFailures = 0; // since the last event
  let pollTimer;
  let streamTimer; // ends a silent stream, or opens the next one

  function start() {
    turn = new AbortController();
    const { signal } = turn;
    plan(soon);
    if (channel) {
      hold(`roomlink ${token}`, signal, () => ask(signal));
    } else {
      asks = true;
    }
  }

  function stop() {
    turn.abort();
    turn = undefined;
    asks = false;
    streams = false;
    clearTimeout(pollTimer);
    closeStream();
  }

  // hold waits for a lock and calls use, which returns a promise if it needs the lock for
  // longer. Without locks, which some browsers deny to frames, the page polls.
  function hold(name, signal, use) {
    navigator.locks.request(name, { signal }, use).catch(() => {
      if (!signal.aborted) {
        asks = true;
        plan(soon);
      }
    });
  }

  // ask makes this page the one that asks the server, until the signal ends.
  function ask(signal) {
    if (signal.aborted) {
      return undefined;
    }
    asks = true;
    plan(soon);
    for (let i = 0; i < maxStreams; i++) {
      hold(`roomlink stream ${i}`, signal, () => {
        if (streams || signal.aborted) {
          return undefined; // this page has the other lock
        }
        streams = true;
        openStream();
        return end(signal);
      });
    }
    return end(signal);
  }

  // Polls

  // plan plans the next poll. A page that receives states in another way polls only after
  // a silence.
  function plan(delay) {
    clearTimeout(pollTimer);
    if (turn) {
      pollTimer = setTimeout(poll, delay);
    }
  }

  function nextPoll() {
    if (delivers || !asks) {
      return silenceTimeout;
    }
    return waits ? waitingInterval : settledInterval;
  }

  async function poll() {
    const { signal } = turn;
    const before = received;
    plan(pollTimeout + soon);
    try {
      const answer = await fetch(`${token}/state`, { cache: "no-store", signal: AbortSignal.timeout(pollTimeout) });
      const state = await answer.json(); // a proxy's error has no JSON
      if (signal.aborted) {
        return;
      }
      if (state.error && (answer.status === 404 || answer.status === 410)) {
        reload();
        return;
      }
      if (!answer.ok) {
        throw new Error(`status ${answer.status}`);
      }
      if (received === before) {
        share(state); // no newer state has overtaken this one
      }
    } catch {
      if (!signal.aborted) {
        lose();
      }
    }
  }

  // Streams

  function openStream() {
    const stream = new EventSource(`${token}/events`);
    source = stream;
    stream.addEventListener("state", (event) => {
      delivers = true;
      streamFailures = 0;
      expectEvent(silenceTimeout);
      share(JSON.parse(event.data));
    });
    stream.addEventListener("error", () => stream === source && loseStream());
    expectEvent(firstEventTimeout);
  }

  function expectEvent(timeout) {
    clearTimeout(streamTimer);
    streamTimer = setTimeout(loseStream, timeout);
  }

  // loseStream replaces a stream that ended, or is silent. An EventSource would connect
  // again by itself, but not after every error, and not to a silent server.
  function loseStream() {
    const delivered = delivers;
    closeStream();
    streamFailures++;
    streamTimer = setTimeout(openStream, backoff(streamFailures, 60_000));
    if (delivered) {
      lose();
      channel?.postMessage({ lost: true });
    }
  }

  function closeStream() {
    clearTimeout(streamTimer);
    source?.close();
    source = undefined;
    delivers = false;
  }

  // States

  // share takes a state of the server, for all pages with this address.
  function share(state) {
    channel?.postMessage({ state });
    take(state);
  }

  function take(state) {
    received++;
    const lost = failures > 0;
    failures = 0;
    waits = onState(state);
    plan(nextPoll());
    if (lost) {
      onLost(false);
    }
    if (lost && streams && !source) {
      openStream();
    }
  }

  function lose() {
    failures++;
    plan(backoff(failures, 10_000));
    onLost(true);
  }

  function sync() {
    if (!document.hidden && !turn) {
      start();
    } else if (document.hidden && turn) {
      stop();
    }
  }

  channel?.addEventListener("message", ({ data }) => (data.lost ? lose() : take(data.state)));
  document.addEventListener("visibilitychange", sync);
  addEventListener("pageshow", sync); // the page may come from the browser's cache
  addEventListener("offline", lose);
  addEventListener("online", () => plan(0)); // do not wait for the timer
  sync();
  return { refresh: () => plan(0) };
}

// channelOf returns the channel between the pages with this token; undefined if the browser
// denies it to the page.
function channelOf(token) {
  try {
    return new BroadcastChannel(`roomlink ${token}`);
  } catch {
    return undefined;
  }
}

// backoff returns a random delay that grows with the number of failures. The browsers of a
// lost server must not all come back at the same time.
function backoff(failures, longest) {
  return Math.min(500 * 2 ** failures, longest) * (0.5 + Math.random() / 2);
}

// end returns a promise that resolves when the signal ends.
function end(signal) {
  return new Promise((resolve) => signal.addEventListener("abort", resolve));
}

// reload gets the page of this address, even if the page was the answer to a POST.
export function reload() {
  location.replace(location.href);
}
