// Keeps a page up to date: fetches the parts that the server says have changed and puts them in place.
// Without this script the pages show the same; only reloading is then done by hand.
"use strict";

(() => {
  const FOCUSABLE = "a, button, summary, [tabindex]";
  const status = document.getElementById("live");
  const shown = new Map(); // part -> the HTML that it shows
  const stale = new Set(); // parts that have changed and are not fetched yet
  let version = document.body.dataset.version ?? "";
  let source = null;
  let busy = false;

  const say = (text) => {
    if (status && status.textContent !== text) status.textContent = text;
  };

  const isNear = (part) => !("later" in part.dataset) || part.dataset.near === "yes";

  // Someone who marks text in a part would lose it.
  const isHeld = (part) => {
    const selection = document.getSelection();
    return selection !== null && !selection.isCollapsed && part.contains(selection.anchorNode);
  };

  // The parts that the page should have: a sweep that has only just begun gets figures.
  const names = () => document.querySelector("[data-parts]")?.dataset.parts;
  const first = names();

  const put = (part, html) => {
    const open = new Map([...part.querySelectorAll("details[id]")].map((each) => [each.id, each.open]));
    const moved = [...part.querySelectorAll("[id]")].map((each) => [each.id, each.scrollTop, each.scrollLeft]);
    const across = part.querySelector(".drawn")?.scrollLeft ?? 0;
    const focused = part.contains(document.activeElement) ? document.activeElement : null;
    const place = focused ? [...part.querySelectorAll(FOCUSABLE)].indexOf(focused) : -1;
    const before = part.getBoundingClientRect();
    part.innerHTML = html;
    part.removeAttribute("aria-busy");
    addCopyButtons(part);
    for (const each of part.querySelectorAll("details[id]")) each.open = open.get(each.id) ?? each.open;
    for (const [id, top, left] of moved) document.getElementById(id)?.scrollTo(left, top);
    part.querySelector(".drawn")?.scrollTo(across, 0);
    if (focused) {
      const again = (focused.id && document.getElementById(focused.id)) ||
        (focused.href && [...part.querySelectorAll("a")].find((each) => each.href === focused.href)) ||
        part.querySelectorAll(FOCUSABLE)[place];
      again?.focus({ preventScroll: true });
    }
    // What stands above the window may have grown: what is read stays where it is.
    if (before.bottom < 0) window.scrollBy(0, part.getBoundingClientRect().height - before.height);
  };

  const load = async (address) => {
    const answer = await fetch(address);
    if (!answer.ok) throw new Error(String(answer.status));
    return answer.text();
  };

  const next = () => [...document.querySelectorAll("[data-part]")]
    .find((part) => stale.has(part) && isNear(part) && !isHeld(part));

  const refresh = async () => {
    if (busy) return;
    busy = true;
    let part;
    while (!document.hidden && (part = next())) { // one after the other: the server has other things to do
      stale.delete(part);
      try {
        const html = await load(part.dataset.source);
        if (shown.get(part) !== html) put(part, html);
        shown.set(part, html);
        if (names() !== first) location.reload();
        if (source?.readyState === EventSource.OPEN) say("Live");
      } catch {
        stale.add(part);
        say("Not live: trying again");
        setTimeout(refresh, 3000);
        break;
      }
    }
    busy = false;
  };

  const mark = (changed) => {
    for (const part of document.querySelectorAll("[data-part]")) {
      if (changed.includes(part.dataset.part)) stale.add(part);
    }
    refresh();
  };

  const connect = () => {
    const address = document.body.dataset.events;
    if (!address || source || document.hidden) return;
    source = new EventSource(`${address}?known=${encodeURIComponent(version)}`);
    source.addEventListener("open", () => say("Live"));
    source.addEventListener("error", () => {
      say("Not live: trying again");
      if (source?.readyState === EventSource.CLOSED) {
        source = null;
        setTimeout(connect, 3000);
      }
    });
    source.addEventListener("changed", (event) => {
      const told = JSON.parse(event.data);
      version = told.version;
      mark(told.parts);
    });
  };

  const pause = () => {
    source?.close();
    source = null;
  };
  const resume = () => {
    connect();
    refresh();
  };
  document.addEventListener("visibilitychange", () => (document.hidden ? pause() : resume()));
  window.addEventListener("pagehide", pause);
  window.addEventListener("pageshow", resume);
  // What was held back, because someone marked text in it, comes when that is over.
  document.addEventListener("selectionchange", () => stale.size && setTimeout(refresh, 200));
  const near = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) target.dataset.near = "yes";
      else if (shown.has(target)) target.dataset.near = "no"; // who has scrolled past will come back
    }
    refresh();
  }, { rootMargin: "50%" });
  for (const part of document.querySelectorAll("[data-later]")) {
    stale.add(part);
    near.observe(part);
  }

  function addCopyButtons(root) {
    if (!navigator.clipboard) return;
    for (const code of root.querySelectorAll("code.command")) {
      const button = Object.assign(document.createElement("button"), { type: "button", textContent: "Copy" });
      button.addEventListener("click", async () => {
        await navigator.clipboard.writeText(code.textContent);
        button.textContent = "Copied";
        setTimeout(() => { button.textContent = "Copy"; }, 1500);
      });
      code.after(" ", button);
    }
  }

  addCopyButtons(document);
})();
