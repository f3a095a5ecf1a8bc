// Brings a page up to date in place: nothing moves where nothing changed, and a lost box is said, not hidden.
"use strict";
const stale = document.getElementById("stale");
const every = Number(document.querySelector("main").dataset.refresh || 0) * 1000;
let good = new Date();

async function refresh() {
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html" }, signal: AbortSignal.timeout(30000) });
    if (answer.redirected) return location.reload();
    if (!answer.ok) throw new Error(answer.status);
    const came = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of ["main", "nav"]) {
      const [shown, next] = [document.querySelector(part), came.querySelector(part)];
      // Who is about to press a button finds it where it was.
      if (shown.innerHTML !== next.innerHTML && !shown.matches(":has(:focus-visible)")) shown.replaceWith(next);
    }
    good = new Date();
    stale.hidden = true;
  } catch {
    stale.querySelector("time").textContent = good.toISOString().slice(0, 19).replace("T", " ");
    stale.hidden = false;
  }
}

if (every) setInterval(() => document.hidden || refresh(), every);
