// The tables. The server sorts, filters and cuts them.

import * as api from "./api.js";
import { $, el, setText, value } from "./dom.js";

const pageSize = 50;

// known are the tables, as far as the server has their commands. Sorting is by the keys that the flag
// sort of the command allows.
const known = [
  { name: "connections", title: "Connections", filter: true },
  { name: "closed", title: "Recently closed", filter: true },
  { name: "sources", title: "Sources", filter: true },
  { name: "nodes", title: "Nodes" },
  { name: "sessions", title: "Sessions" },
  { name: "session list", title: "Session list", command: "sessions", flags: { list: "true" }, needs: "list" },
  { name: "topics", title: "Topics" },
  { name: "bans", title: "Bans" },
  { name: "limits", title: "Limits" },
  { name: "alarms", title: "Alarms" },
  { name: "events", title: "Events", local: true },
];

// state is what the current table shows.
export const state = { table: null, sort: "", reverse: false, offset: 0, total: 0, filter: "", rows: [] };

let tables = [];
let commands = new Map();
let rowActions = () => [];
let generation = 0; // of the newest request: the answers of older ones are dropped
const events = []; // of listeners, the latest first

// setUp shows the tabs of the commands that exist.
export function setUp(all, actions) {
  commands = new Map(all.map((c) => [c.name, c]));
  rowActions = actions;
  tables = known.filter((t) => {
    const c = commands.get(t.command || t.name);
    return t.local || (c?.allowed && (!t.needs || c.flags.some((f) => f.name === t.needs)));
  });
  $("tabs").replaceChildren(...tables.map((t, i) => el("button", {
    role: "tab", id: "tab-" + i, "aria-controls": "panel", onclick: () => select(i), onkeydown: (e) => arrows(e, i),
  }, t.title)));
  select(Math.max(tables.findIndex((t) => t.name === state.table?.name), 0));
}

function arrows(e, i) {
  const to = { ArrowLeft: i - 1, ArrowRight: i + 1, Home: 0, End: tables.length - 1 }[e.key];
  if (to == null || !tables[to]) return;
  e.preventDefault();
  select(to);
  $("tab-" + to).focus();
}

// select shows a table by its number.
export function select(i) {
  const t = tables[i];
  if (!t) return;
  Object.assign(state, { table: t, sort: "", reverse: false, offset: 0, total: 0, rows: [] });
  [...$("tabs").children].forEach((tab, n) => {
    tab.setAttribute("aria-selected", n === i);
    tab.tabIndex = n === i ? 0 : -1;
  });
  $("panel").setAttribute("aria-labelledby", "tab-" + i);
  $("filter-form").hidden = !t.filter;
  if (t.filter) { $("filter").placeholder = t.name === "closed" ? "reason=killed ended<5m" : "listener=echo peer=10.0.0.0/8 idle>30s"; }
  $("table").tHead.replaceChildren();
  $("table").tBodies[0].replaceChildren();
  load();
}

// load requests the current page of the table and shows it.
export async function load() {
  const t = state.table;
  if (!t) return;
  if (t.local) {
    show({ columns: [{ key: "time", title: "TIME", kind: "time" }, { key: "listener", title: "LISTENER" }, { key: "kind", title: "EVENT" }, { key: "detail", title: "DETAIL" }], result: events });
    return;
  }
  const mine = ++generation;
  const c = commands.get(t.command || t.name);
  const parameters = { ...t.flags };
  const has = (flag) => c.flags.some((f) => f.name === flag);
  if (t.filter) parameters.filter = state.filter;
  if (has("sort")) parameters.sort = state.sort;
  if (has("reverse") && state.reverse) parameters.reverse = "true";
  if (has("limit")) parameters.limit = pageSize;
  if (has("offset")) parameters.offset = state.offset || "";
  try {
    const answer = await api.get("/" + c.name, parameters);
    if (mine !== generation) return;
    $("filter-error").textContent = "";
    show(answer);
  } catch (err) {
    if (mine !== generation) return;
    $("filter-error").textContent = err.message;
  }
}

function show(answer) {
  const rows = Array.isArray(answer.result) ? answer.result : [];
  const columns = answer.columns || [];
  state.rows = rows;
  state.total = answer.total || rows.length;
  if (state.offset && !rows.length && state.total) { // the last page is gone
    state.offset = Math.max(Math.floor((state.total - 1) / pageSize) * pageSize, 0);
    load();
    return;
  }
  showHead(columns);
  showRows(columns, rows);
  const paged = commands.get(state.table.command || state.table.name)?.flags.some((f) => f.name === "offset");
  $("previous").hidden = $("next").hidden = !paged;
  $("previous").disabled = state.offset === 0;
  $("next").disabled = state.offset + rows.length >= state.total;
  setText($("range"), rows.length ? `${state.offset + 1} to ${state.offset + rows.length} of ${state.total.toLocaleString("en")}` : "");
}

function showHead(columns) {
  const sortable = commands.get(state.table.name)?.flags.find((f) => f.name === "sort")?.choices || [];
  const head = el("tr");
  for (const c of columns) {
    const sorted = state.sort === c.key;
    const th = el("th", { scope: "col", className: classes(c), "aria-sort": sorted ? (state.reverse ? "ascending" : "descending") : null });
    const title = (c.title || c.key).toLowerCase();
    th.append(sortable.includes(c.key) ? el("button", { onclick: () => sortBy(c.key) }, title + (sorted ? (state.reverse ? " ▴" : " ▾") : "")) : title);
    head.append(th);
  }
  if (hasActions()) head.append(el("th", {}, ""));
  const old = $("table").tHead;
  if (old.textContent !== head.textContent || old.rows[0]?.cells.length !== head.cells.length) old.replaceChildren(head);
}

function classes(c) {
  return [c.right ? "right" : "", c.wide ? "wide" : ""].join(" ").trim();
}

// keys are the columns that identify the rows of tables with buttons.
const keys = { connections: "id", nodes: "node" };

// hasActions reports whether rows have buttons: rowActions returns them for a row with its key.
function hasActions() {
  const key = keys[state.table.name];
  return key != null && rowActions({ [key]: 0 }).length > 0;
}

// showRows updates the rows in place, so that the focus and the selected text stay.
function showRows(columns, rows) {
  const body = $("table").tBodies[0];
  if (!rows.length) {
    body.replaceChildren(el("tr", {}, el("td", { className: "empty", colSpan: columns.length + 1 }, state.filter ? "nothing matches the filter" : "nothing")));
    return;
  }
  const old = new Map([...body.rows].map((tr) => [tr.dataset.key, tr]));
  const wanted = rows.map((row, i) => {
    const id = row[keys[state.table.name]];
    const key = id != null ? "id" + id : "row" + i;
    let tr = old.get(key);
    if (!tr || tr.cells.length !== columns.length + (hasActions() ? 1 : 0)) tr = newRow(columns, row, key);
    columns.forEach((c, n) => {
      const text = value(row[c.key], c.kind);
      setText(tr.cells[n], text);
      if (text.length > 30 && tr.cells[n].title !== text) tr.cells[n].title = text;
    });
    return tr;
  });
  if (wanted.length !== body.rows.length || wanted.some((tr, i) => body.rows[i] !== tr)) {
    const focused = document.activeElement;
    body.replaceChildren(...wanted);
    if (focused?.isConnected && body.contains(focused)) focused.focus();
  }
}

function newRow(columns, row, key) {
  const tr = el("tr", { tabIndex: 0 }, ...columns.map((c) => el("td", { className: classes(c) })));
  tr.dataset.key = key;
  if (hasActions()) tr.append(el("td", { className: "row-actions" }, ...rowActions(row)));
  return tr;
}

function sortBy(key) {
  if (state.sort === key) state.reverse = !state.reverse;
  else Object.assign(state, { sort: key, reverse: false });
  state.offset = 0;
  load();
}

// page moves by one page.
export function page(direction) {
  const offset = state.offset + direction * pageSize;
  if (offset < 0 || offset >= state.total) return;
  state.offset = offset;
  load();
}

// setFilter shows the rows that match a filter.
export function setFilter(text) {
  state.filter = text.trim();
  state.offset = 0;
  load();
}

// selected returns the row that has the focus.
export function selected() {
  const tr = document.activeElement?.closest?.("#table tbody tr");
  return tr ? state.rows[[...tr.parentElement.rows].indexOf(tr)] : null;
}

// move moves the focus to the next or previous row.
export function move(direction) {
  const rows = [...$("table").tBodies[0].rows].filter((tr) => tr.tabIndex === 0);
  const at = rows.indexOf(document.activeElement?.closest?.("tr"));
  rows[at < 0 ? 0 : Math.min(Math.max(at + direction, 0), rows.length - 1)]?.focus();
}

// addEvent records an event of a listener.
export function addEvent(e) {
  const detail = [e.addr, e.alarm && "alarm " + e.alarm, e.connections && e.connections + " connections", e.error, e.lost && e.lost + " events were lost"].filter(Boolean).join(", ");
  events.unshift({ time: e.time, listener: e.listener, kind: e.kind, detail });
  if (events.length > 200) events.pop();
  if (state.table?.local) load();
}
