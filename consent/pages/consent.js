// What makes the administrator's pages easier where scripts run. Nothing needs it.
"use strict";

// Lines can be copied by a button, in the words of the page.
function offerCopies(within) {
  if (!navigator.clipboard) return; // there is none without TLS, but on localhost
  for (const text of within.querySelectorAll("code[data-copy]")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = text.dataset.copy;
    button.setAttribute("aria-label", text.dataset.copy + ": " + text.textContent);
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(text.textContent);
        button.textContent = text.dataset.copied;
        setTimeout(() => { button.textContent = text.dataset.copy; }, 2000);
      } catch {
        getSelection().selectAllChildren(text);
      }
    });
    text.after(" ", button);
  }
}
// A page that waits looks by itself, and changes only when there is news: what
// somebody reads or types into meanwhile stays.
const said = document.getElementById("said");
async function look() {
  let ended = false;
  try {
    const answer = await fetch(location.href, { cache: "no-store", credentials: "same-origin" });
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    const now = document.getElementById("main"), next = fresh.getElementById("main");
    if (next && (answer.ok || answer.status === 400)) {
      if (next.innerHTML !== shown) {
        shown = next.innerHTML;
        now.replaceWith(document.adoptNode(next));
        document.title = fresh.title;
        said.textContent = next.querySelector("h1").textContent;
        offerCopies(next);
      }
      ended = fresh.getElementById("said") === null;
    }
  } catch { /* not reached: it is asked again */ }
  if (!ended) setTimeout(look, 3000);
}
let shown = "";
if (said) {
  shown = document.getElementById("main").innerHTML;
  setTimeout(look, 3000);
}
offerCopies(document);
