// What htmx does not: a page that somebody writes in is not replaced, and one that lost its console says so.
"use strict";

const lost = document.getElementById("lost");

function isWritten() {
  const fields = [...document.querySelectorAll("main textarea, main input:not([type=hidden]), main select")];
  return fields.some((field) => field === document.activeElement || (field.options ? isChosen(field) : field.defaultValue !== field.value));
}

function isChosen(select) {
  const options = [...select.options];
  const first = select.multiple || options.some((option) => option.defaultSelected) ? undefined : options[0];
  return options.some((option) => option.selected !== (option.defaultSelected || option === first));
}

document.addEventListener("htmx:beforeRequest", (event) => {
  if (event.target.id === "content" && isWritten()) event.preventDefault();
});
document.addEventListener("htmx:sseError", () => { lost.hidden = false; });
document.addEventListener("htmx:sendError", () => { lost.hidden = false; });
document.addEventListener("htmx:sseOpen", () => { lost.hidden = true; });
