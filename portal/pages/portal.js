// What makes the pages easier where scripts run. Nothing needs it.
"use strict";

// Commands and keys can be copied by a button.
for (const text of document.querySelectorAll("code.command, code.key")) {
  if (!navigator.clipboard) break; // there is none without TLS, but on localhost
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy";
  button.setAttribute("aria-label", "Copy: " + text.textContent);
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text.textContent);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Select it by hand";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  text.after(" ", button);
}

// Times are those of who reads them; what stood there is the tooltip.
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
for (const time of document.querySelectorAll("time[datetime]")) {
  const at = new Date(time.dateTime);
  if (isNaN(at)) continue;
  time.title = time.textContent + " at the proxy";
  const two = (n) => String(n).padStart(2, "0");
  const clock = two(at.getHours()) + ":" + two(at.getMinutes()) + ":" + two(at.getSeconds());
  const day = at.getFullYear() + "-" + two(at.getMonth() + 1) + "-" + two(at.getDate());
  time.textContent = time.hasAttribute("data-clock") ? clock : day + " " + clock;
}
for (const place of document.querySelectorAll("[data-zone]")) {
  place.textContent = zone;
}
