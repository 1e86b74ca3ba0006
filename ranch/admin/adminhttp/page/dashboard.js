// The dashboard: it connects the parts, and runs the commands of operators.

import * as api from "./api.js";
import { ask, notice, shortcuts } from "./dialog.js";
import { $, bytes, count, duration, el, value } from "./dom.js";
import * as listeners from "./listeners.js";
import * as tables from "./tables.js";

const refreshInterval = 2000; // of the table and the summary, in milliseconds
let commands = new Map(); // allowed ones by name
let lastRefresh = 0;

const can = (name) => commands.has(name);
const hasFlag = (command, flag) => commands.get(command).flags.some((f) => f.name === flag);
const given = (flags) => Object.fromEntries(Object.entries(flags).filter(([, text]) => text)); // those with a value

// act runs a command and reports its result. A command that asks for a confirmation by its flag yes runs
// again if the user confirms it.
async function act(command, args, flags = {}) {
  try {
    const { result, fields = [] } = await api.run(command, args, flags);
    const shown = fields.map((f) => `${f.title || f.key}: ${value(result[f.key], f.kind)}`).join(", ");
    notice(`${command} ${args.join(" ")}${shown ? " – " + shown : " – done"}`, true);
  } catch (err) {
    if (/; add --yes\b/.test(err.message) && !flags.yes && hasFlag(command, "yes")) {
      await confirm("Really?", err.message.replace(/; add --yes.*/, "."), command[0].toUpperCase() + command.slice(1), command, args, { ...flags, yes: true });
      return;
    }
    notice(`${command} ${args.join(" ")}: ${err.message}`);
  }
  tables.load();
}

async function confirm(title, text, action, command, args, flags) {
  if (await ask({ title, text, action, danger: true })) await act(command, args, flags);
}

// listenerActions returns the buttons of a listener.
function listenerActions(name, last) {
  const buttons = [];
  const add = (command, label, onclick, className = "") => { if (can(command)) buttons.push(el("button", { onclick, className, "data-action": command }, label)); };
  add("cap", "Cap", async () => {
    const cap = last()?.cap;
    const v = await ask({ title: "Cap of " + name, text: `Active connections: ${last()?.active}. 0 admits none; lowering the cap ends connections only if the limit evict says so.`,
      fields: [{ name: "cap", label: "Maximum number of connections, or unlimited", value: cap == null ? "unlimited" : String(cap), required: true }], action: "Set cap" });
    if (v) act("cap", [name, v.cap]);
  });
  add("suspend", "Suspend", () => confirm("Suspend " + name, "It stops accepting connections. Live connections are not affected.", "Suspend", "suspend", [name]));
  add("resume", "Resume", () => act("resume", [name]));
  add("drain", "Drain", async () => {
    const fields = [{ name: "timeout", label: "Timeout", value: "30s", required: true }];
    for (const [flag, label] of [["delay", "Delay, while connections are still accepted"], ["spread", "Period over which connections are asked to stop"]]) {
      if (hasFlag("drain", flag)) fields.push({ name: flag, label, placeholder: "default of the listener" });
    }
    const v = await ask({ title: "Drain " + name, text: `Its ${last()?.all} connections are asked to stop, and closed at the timeout. Only the program can start the listener again.`, fields, action: "Drain", danger: true });
    if (v) act("drain", [name], given(v));
  }, "danger");
  return buttons;
}

const peerHost = (peer) => (peer || "").replace(/:\d+$/, "").replace(/^\[|\]$/g, "");

function end(row) { return confirm("End connection " + row.id, `${row.peer} on ${row.listener} is asked to stop, and closed after the shutdown timeout.`, "End", "end", [row.id]); }
function kill(row) { return confirm("Kill connection " + row.id, `${row.peer} on ${row.listener} is closed at once.`, "Kill", "kill", [row.id]); }

async function ban(row) {
  const fields = [{ name: "network", label: "Network or address", value: peerHost(row.peer), required: true }];
  if (hasFlag("ban", "for")) fields.push({ name: "for", label: "For", value: "1h" });
  if (hasFlag("ban", "reason")) fields.push({ name: "reason", label: "Reason" });
  const v = await ask({ title: "Ban", text: "Connections from it are refused.", fields, action: "Ban", danger: true });
  if (!v) return;
  const { network, ...flags } = v;
  act("ban", [network], given(flags));
}

async function drainNode(row) {
  const v = await ask({ title: "Drain node " + row.node, text: `Its listeners stop accepting, and its ${count(row.connections)} connections are asked to stop at random times. Only a restart of the node makes it accept again.`,
    fields: [{ name: "spread", label: "Period over which connections are asked to stop", value: "30s", required: true }, { name: "timeout", label: "Timeout after that", value: "30s", required: true }],
    action: "Drain", danger: true });
  if (v) await act("drain", ["all"], { ...v, node: row.node });
}

// rowActions returns the buttons of a connection or of a node.
function rowActions(row) {
  const buttons = [];
  if (row.node != null) {
    if (can("drain") && hasFlag("drain", "node")) {
      buttons.push(el("button", { className: "danger", "aria-label": "Drain node " + row.node, onclick: () => drainNode(row), "data-action": "drain-node" }, "Drain"));
    }
    return buttons;
  }
  const add = (command, label, run, className = "") => {
    if (can(command)) buttons.push(el("button", { className, "aria-label": `${label} connection ${row.id}`, onclick: () => run(row), "data-action": command }, label));
  };
  add("end", "End", end);
  add("kill", "Kill", kill, "danger");
  add("ban", "Ban", ban, "danger");
  return buttons;
}

// bulkActions shows the buttons for all connections that match the filter.
function bulkActions() {
  const buttons = [];
  for (const command of ["end", "kill"]) {
    if (!can(command) || !tables.state.filter || tables.state.table?.name !== "connections") continue;
    const verb = command === "end" ? "End" : "Kill";
    buttons.push(el("button", { type: "button", className: "danger", "data-bulk": command, onclick: () => confirm(
      `${verb} all that match`, `${count(tables.state.total)} connections match\n${tables.state.filter}`, `${verb} all`, command, words(tables.state.filter), { yes: true }) }, `${verb} all that match`));
  }
  $("bulk").replaceChildren(...buttons);
}

// words splits a filter at blanks outside quotes.
function words(filter) {
  return [...filter.matchAll(/(?:[^\s"]|"[^"]*")+/g)].map((m) => m[0].replaceAll('"', ""));
}

async function details(row) {
  if (row?.id == null || tables.state.table?.name !== "connections") return;
  try {
    const { result, fields } = await api.get("/connection", { arg: row.id });
    const list = el("dl");
    for (const f of fields) list.append(el("dt", {}, f.title || f.key), el("dd", {}, value(result[f.key], f.kind)));
    await ask({ title: "Connection " + row.id, content: [list] });
  } catch (err) {
    notice(err.message);
  }
}

async function showSummary() {
  const { result: s } = await api.get("/status");
  const items = { Status: s.status, Version: s.version, Uptime: duration(s.uptime), Connections: count(s.connections), Sessions: s.sessions, Memory: bytes(s.memory),
    Descriptors: s.descriptors != null ? `${count(s.descriptors)} / ${count(s.descriptor_limit)}` : null };
  $("summary").replaceChildren(...Object.entries(items).filter(([, v]) => v != null).map(([name, v]) => el("div", {}, el("dt", {}, name), el("dd", {}, String(v)))));
}

// refresh updates the table and the summary while the page is visible.
function refresh() {
  if (document.hidden || performance.now() - lastRefresh < refreshInterval - 100) return;
  lastRefresh = performance.now();
  tables.load().then(bulkActions);
  if (can("status")) showSummary().catch(() => {});
}

// setUp reads what the user may do and shows it.
async function setUp() {
  const [session, list] = await Promise.all([api.get("/session"), api.get("/commands")]);
  commands = new Map(list.commands.filter((c) => c.allowed).map((c) => [c.name, c]));
  $("user").textContent = `${session.user} (${session.role})`;
  $("sign-in").hidden = session.role === "operator";
  $("sign-out").hidden = !api.hasToken();
  tables.setUp(list.commands, rowActions);
  listeners.setActions(listenerActions);
  bulkActions();
}

function onEvent(name, data) {
  switch (name) {
    case "stats":
      listeners.update(data, listenerActions);
      refresh();
      break;
    case "listener":
      tables.addEvent(data);
      break;
    case "lost":
      tables.addEvent({ time: new Date().toISOString(), listener: "", kind: "lost", lost: data.lost });
  }
}

function setConnection(on, text) {
  $("connection").dataset.state = on ? "on" : "off";
  $("connection").textContent = text;
}

let retryNow = () => {};

// connect keeps a stream of events open. Between two attempts it waits longer each time.
async function connect() {
  for (let wait = 500; ;) {
    try {
      await setUp();
      await api.events("stats,listeners", () => { wait = 500; setConnection(true, "live"); }, onEvent);
      setConnection(false, "disconnected");
    } catch (err) {
      setConnection(false, err.status === 401 ? "not signed in" : "disconnected");
      if (err.status === 401) {
        api.setToken("");
        $("sign-in").hidden = false;
        notice(err.message);
      }
    }
    await new Promise((resolve) => {
      retryNow = resolve;
      setTimeout(resolve, wait);
    });
    wait = Math.min(wait * 2, 15000);
  }
}

async function signIn() {
  const v = await ask({ title: "Sign in", text: "A token of the token file, or a ticket, which \"ranchctl dashboard\" shows.", fields: [{ name: "token", label: "Token or ticket", type: "password", required: true }], action: "Sign in" });
  if (!v) return;
  try {
    if (v.token.startsWith("ticket_")) await api.logIn(v.token);
    else api.setToken(v.token);
    await setUp();
    retryNow();
  } catch (err) {
    api.setToken("");
    notice(err.message);
  }
}

async function signOut() {
  await api.logOut().catch(() => {});
  location.reload();
}

const themes = ["", "light", "dark"];

function setTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  localStorage.setItem("goranch-theme", theme);
  listeners.recolor();
}

function nextTheme() { setTheme(themes[(themes.indexOf(localStorage.getItem("goranch-theme") || "") + 1) % themes.length]); }

function onKey(e) {
  if ($("dialog").open || e.ctrlKey || e.altKey || e.metaKey) return;
  if (e.target.matches("input, select")) {
    if (e.key === "Escape") e.target.blur();
    return;
  }
  const row = tables.state.table?.name === "connections" ? tables.selected() : null;
  const keys = {
    "/": () => $("filter").focus(), "?": shortcuts, t: nextTheme, n: () => tables.page(1), p: () => tables.page(-1),
    ArrowDown: () => tables.move(1), ArrowUp: () => tables.move(-1),
    Enter: e.target.tagName === "TR" ? () => details(row) : null,
    e: row?.id != null && can("end") ? () => end(row) : null,
    k: row?.id != null && can("kill") ? () => kill(row) : null,
    b: row?.id != null && can("ban") ? () => ban(row) : null,
  };
  const run = e.key >= "1" && e.key <= "9" ? () => tables.select(e.key - 1) : keys[e.key];
  if (!run || (e.key.startsWith("Arrow") && e.target.matches("[role=tab]"))) return;
  e.preventDefault();
  run();
}

let filterTimer;
$("filter").addEventListener("input", () => {
  clearTimeout(filterTimer);
  filterTimer = setTimeout(() => { tables.setFilter($("filter").value); bulkActions(); }, 300);
});
$("filter-form").addEventListener("submit", (e) => {
  e.preventDefault();
  clearTimeout(filterTimer);
  tables.setFilter($("filter").value);
  bulkActions();
});
$("table").addEventListener("dblclick", () => details(tables.selected()));
$("previous").addEventListener("click", () => tables.page(-1));
$("next").addEventListener("click", () => tables.page(1));
$("sign-in").addEventListener("click", signIn);
$("sign-out").addEventListener("click", signOut);
$("theme").addEventListener("click", nextTheme);
$("help").addEventListener("click", shortcuts);
document.addEventListener("keydown", onKey);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", listeners.recolor);
setTheme(localStorage.getItem("goranch-theme") || "");

// A link with a ticket logs in once. The ticket leaves the address bar before anything else.
const ticket = new URLSearchParams(location.hash.slice(1)).get("ticket");
if (location.hash) history.replaceState(null, "", location.pathname);
if (ticket) await api.logIn(ticket).catch((err) => notice("sign in: " + err.message));
connect();
