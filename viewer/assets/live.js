// The server repeats a state at least every 15 seconds.
const silenceTimeout = 45_000;
// A shorter interruption, such as a restart of the server, is not reported.
const lostDelay = 3_000;

// follow calls onState with every state of an event stream, and onLost with true when the
// connection is lost and with false when it is back. An EventSource alone gives up after an
// answer that is no stream, such as an error of a proxy, and does not notice a dead
// connection. follow reconnects after both. When the address of the page has expired, it
// reloads the page. reconnect asks for the state at once.
export function follow(url, onState, onLost = () => {}) {
  let source;
  let retryTimer;
  let lostTimer;
  let attempts = 0;

  function connect() {
    source?.close();
    source = new EventSource(url);
    source.addEventListener("state", receive);
    source.addEventListener("error", fail);
    expectState();
  }

  function expectState() {
    clearTimeout(retryTimer);
    retryTimer = setTimeout(connect, silenceTimeout);
  }

  function receive(event) {
    attempts = 0;
    expectState();
    clearTimeout(lostTimer);
    lostTimer = undefined;
    onLost(false);
    onState(JSON.parse(event.data));
  }

  function fail() {
    lostTimer ??= setTimeout(() => onLost(true), lostDelay);
    if (source.readyState === EventSource.CLOSED) {
      clearTimeout(retryTimer);
      attempts++;
      retryTimer = setTimeout(retry, Math.min(1_000 * 2 ** attempts, 30_000) * (0.5 + Math.random() / 2));
    }
  }

  async function retry() {
    try {
      const page = await fetch(location.href, { method: "HEAD", redirect: "manual", cache: "no-store" });
      if (page.type === "opaqueredirect" || page.status === 404 || page.status === 410) {
        reload();
        return;
      }
    } catch {
      // The server is not reachable yet. The next attempt will tell.
    }
    connect();
  }

  // After a sleep or a loss of the network, do not wait for the timer.
  addEventListener("online", connect);
  connect();
  return { reconnect: connect };
}

// reload gets the page of this address, even if the page was the answer to a POST.
export function reload() {
  location.replace(location.href);
}
