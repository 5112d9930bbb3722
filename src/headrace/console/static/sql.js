// The page for SQL: a question is sent without leaving the page, so that it can be cancelled, and names are proposed.
"use strict";

const SHOWN = 12; // names that are proposed at once
const find = (id) => document.getElementById(id);
const names = { tables: null }; // table → its columns

function isRunning(running) {
  find("run").disabled = running;
  find("cancel").hidden = !running;
  find("state").textContent = running ? "It runs." : "";
}

async function ask(form) {
  const body = new URLSearchParams(new FormData(form));
  isRunning(true);
  try {
    const answer = await fetch(form.action, { method: "POST", body });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const content = page.getElementById("content");
    document.title = page.title;
    find("content").replaceChildren(...content.childNodes);
    const told = document.querySelector("main .problem, main h2");
    if (told) told.scrollIntoView({ block: "nearest" });
    find("run")?.focus();
  } catch {
    isRunning(false);
    find("state").textContent = "The console does not answer. What was written is still here.";
  }
}

document.addEventListener("submit", (event) => {
  if (event.target.id !== "sql" || (event.submitter && event.submitter.id !== "run")) return;
  event.preventDefault();
  ask(event.target);
});

document.addEventListener("click", (event) => {
  if (event.target.id !== "cancel") return;
  const form = find("sql");
  find("state").textContent = "It is being cancelled.";
  fetch(form.dataset.cancel, { method: "POST", body: new URLSearchParams(new FormData(form)) }).catch(() => {});
});

// ---------------------------------------------------------------------------- names of tables and columns

async function load() {
  if (names.tables) return;
  names.tables = new Map();
  const answer = await fetch(find("sql").dataset.names).catch(() => null);
  if (answer?.ok && !answer.redirected) names.tables = new Map(Object.entries(await answer.json()));
}

function word(field) {
  return /[\w.]*$/.exec(field.value.slice(0, field.selectionStart))[0];
}

// What a text calls the tables that it names, with their columns.
function named(text) {
  const found = new Map();
  for (const [, table, alias] of text.toLowerCase().matchAll(/\b(\w+\.\w+)(?:\s+(?:as\s+)?(\w+))?/g)) {
    const columns = names.tables.get(table);
    if (columns) [table, table.split(".")[1], alias].forEach((name) => found.set(name, columns));
  }
  return found;
}

function ranked(several, begun) {
  const at = (name) => name.toLowerCase().indexOf(begun);
  return several.filter((name) => at(name) >= 0 && name.length > begun.length).sort((a, b) => Math.min(at(a), 1) - Math.min(at(b), 1));
}

// The names that fit, and how much of what is written they replace.
function fitting(field) {
  const begun = word(field).toLowerCase(), before = field.value.slice(0, field.selectionStart - begun.length);
  const tables = [...names.tables.keys()], all = [...tables, ...[...names.tables.values()].flat()];
  if (/\b(?:from|join)\s+(?:[\w.]+(?:\s+(?:as\s+)?\w+)?\s*,\s*)*$/i.test(before)) return [ranked(tables, begun), begun.length];
  const known = named(field.value), dot = begun.lastIndexOf("."), rest = begun.slice(dot + 1);
  const columns = dot > 0 && known.get(begun.slice(0, dot));
  if (columns) return [ranked(columns, rest), rest.length];
  return [[...new Set([...ranked([...known.values()].flat(), begun), ...ranked(all, begun)])], begun.length];
}

function close() {
  find("names")?.remove();
  find("text")?.removeAttribute("aria-activedescendant");
}

function propose(field) {
  close();
  const [found, written] = names.tables && word(field).length > 1 ? fitting(field) : [[], 0];
  if (!found.length) return;
  const list = document.createElement("ul");
  list.id = "names";
  list.dataset.written = written;
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", "Tables and columns");
  found.slice(0, SHOWN).forEach((name, place) => {
    const item = list.appendChild(document.createElement("li"));
    item.id = `name-${place}`;
    item.setAttribute("role", "option");
    item.textContent = name;
  });
  field.after(list);
}

function choose(field, list, place) {
  [...list.children].forEach((item, at) => item.setAttribute("aria-selected", String(at === place)));
  list.children[place].scrollIntoView({ block: "nearest" });
  field.setAttribute("aria-activedescendant", `name-${place}`);
}

function take(field, item) {
  const end = field.selectionStart;
  const text = /^[a-z_][a-z0-9_.]*$/i.test(item.textContent) ? item.textContent : `"${item.textContent.replaceAll('"', '""')}"`;
  field.setRangeText(text, end - Number(item.parentElement.dataset.written), end, "end");
  close();
}

document.addEventListener("focusin", (event) => { if (event.target.id === "text") load(); });
document.addEventListener("focusout", (event) => { if (event.target.id === "text") setTimeout(close, 150); });
document.addEventListener("input", (event) => { if (event.target.id === "text") propose(event.target); });
document.addEventListener("mousedown", (event) => {
  if (event.target.parentElement?.id === "names") { event.preventDefault(); take(find("text"), event.target); }
});
document.addEventListener("keydown", (event) => {
  if (event.target.id !== "text") return;
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); find("run").click(); return; }
  const list = find("names");
  if (!list) return;
  const at = [...list.children].findIndex((item) => item.getAttribute("aria-selected") === "true");
  const count = list.children.length;
  if (event.key === "ArrowDown") choose(event.target, list, (at + 1) % count);
  else if (event.key === "ArrowUp") choose(event.target, list, (Math.max(at, 0) + count - 1) % count);
  else if (event.key === "Tab" || (event.key === "Enter" && at >= 0)) take(event.target, list.children[Math.max(at, 0)]);
  else if (event.key === "Escape") close();
  else return;
  event.preventDefault();
});
