// A silent stream tells at least every 15 seconds that it is still there.
const patience = 45_000;
// A short break, as while the server restarts, is nobody's concern.
const grace = 3_000;

// follow calls told with every state of an event stream, and lost with whether the
// connection is lost. A browser's EventSource comes again after a break, but gives
// up on an answer that is no stream, such as a proxy's while the server restarts,
// and takes a connection that has died silently for a quiet one: here neither ends
// it. Once the address of the page itself has ended, the page says so. again asks for
// the state at once.
export function follow(url, told, lost = () => {}) {
  let source;
  let silence;
  let pause;
  let attempts = 0;

  function open() {
    source?.close();
    source = new EventSource(url);
    source.addEventListener("state", heard);
    source.addEventListener("error", broken);
    listen();
  }

  function listen() {
    clearTimeout(silence);
    silence = setTimeout(open, patience);
  }

  function heard(event) {
    attempts = 0;
    listen();
    clearTimeout(pause);
    pause = undefined;
    lost(false);
    told(JSON.parse(event.data));
  }

  function broken() {
    pause ??= setTimeout(() => lost(true), grace);
    if (source.readyState === EventSource.CLOSED) {
      clearTimeout(silence);
      attempts++;
      silence = setTimeout(again, Math.min(1_000 * 2 ** attempts, 30_000) * (0.5 + Math.random() / 2));
    }
  }

  async function again() {
    try {
      const page = await fetch(location.href, { method: "HEAD", redirect: "manual", cache: "no-store" });
      if (page.type === "opaqueredirect" || page.status === 404 || page.status === 410) {
        look();
        return;
      }
    } catch {
      // Not there yet; the next attempt will tell.
    }
    open();
  }

  // A laptop that wakes up, or a network that is back, need not wait.
  addEventListener("online", open);
  open();
  return { again: open };
}

// look gets the page of this address anew, whatever method it came by.
export function look() {
  location.replace(location.href);
}
