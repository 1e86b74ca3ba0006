"use strict";
// Everything that comes from a message becomes text, never markup.

const most = 200; // messages shown
const $ = (id) => document.getElementById(id);
const topics = new Map(); // name → whether the server has acknowledged it
let ws, token, greeted, attaching, fresh, waiting = [], count = 0, asked = 0, pause = 500;

function element(tag, props, ...children) {
  const e = document.createElement(tag);
  Object.assign(e, props);
  e.append(...children);
  return e;
}

function status(text, on) {
  $("status").textContent = text;
  $("status").dataset.state = on ? "on" : "off";
}

function show(item) {
  $("messages").prepend(item);
  while ($("messages").children.length > most) $("messages").lastChild.remove();
  $("nothing").hidden = true;
}

function showMessage(m) {
  const [mega, s, micro] = m.timestamp;
  const at = new Date((mega * 1e6 + s) * 1e3 + micro / 1e3);
  const text = (v) => typeof v === "string" ? v : JSON.stringify(v ?? "");
  show(element("li", { className: "message" },
    element("div", { className: "head" },
      element("span", { className: "topic", textContent: text(m.topic) }),
      element("span", { className: "event", textContent: text(m.event) }),
      element("time", { dateTime: at.toISOString(), textContent: at.toLocaleTimeString() })),
    element("pre", { textContent: text(m.data) })));
  $("count").textContent = ++count;
}

function note(text) {
  show(element("li", { className: "note", textContent: text }));
}

function showTopics() {
  $("topics").replaceChildren(...[...topics].map(([name, acknowledged]) => element("li", {},
    element("button", { type: "button", textContent: name, title: "Unsubscribe", className: acknowledged ? "" : "pending", onclick: () => unsubscribe(name) }))));
}

function send(request) {
  if (ws?.readyState !== WebSocket.OPEN) return false;
  ws.send(JSON.stringify(request));
  return true;
}

function subscribe(name, last) {
  topics.set(name, false);
  showTopics();
  if (fresh !== undefined && send({ action: "subscribe", data: name, last: last && !/(^|\.)(\*|>)(\.|$)/.test(name) })) waiting.push(name);
}

function unsubscribe(name) {
  topics.delete(name);
  showTopics();
  send({ action: "unsubscribe", data: name });
}

// ready has the session subscribed to what the page shows.
function ready(resumed) {
  fresh = !resumed;
  pause = 500;
  status("connected", true);
  for (const [name, acknowledged] of [...topics]) if (fresh || !acknowledged) subscribe(name, false);
}

function receive(m) {
  if (greeted && m.timestamp) return showMessage(m);
  if (m.ack) {
    if (attaching) { attaching = false; return ready(true); }
    const name = waiting.shift();
    if (topics.has(name)) { topics.set(name, true); showTopics(); }
  } else if (m.timestamp) {
    greeted = true; // what is published cannot come first, whatever it looks like
    if (token) { attaching = true; send({ action: "attach", data: token }); }
    else { token = m.token; ready(false); }
  } else if (m.published !== undefined) {
    $("published").textContent = `${m.published} subscriber${m.published === 1 ? "" : "s"}`;
  } else if (m.error) {
    if (attaching) { token = undefined; attaching = false; return; } // the session is over
    note(m.error);
    if (waiting.length) { topics.delete(waiting.shift()); showTopics(); }
    if (/attached to another/.test(m.error)) token = undefined;
  } else if (m.dropped) note(`${m.dropped} messages were dropped`);
  else if (m.lost_bytes) note(`${m.lost_bytes} bytes of messages were lost`);
}

function connect() {
  const url = new URL("ws", location.href);
  url.protocol = url.protocol.replace("http", "ws");
  url.hash = "";
  url.search = "";
  status("connecting", false);
  ws = new WebSocket(url);
  ws.onmessage = (e) => receive(JSON.parse(e.data));
  ws.onclose = (e) => {
    fresh = undefined;
    greeted = false;
    attaching = false;
    waiting = [];
    status(e.reason ? `not connected: ${e.reason}` : "not connected", false);
    setTimeout(connect, pause * (0.5 + Math.random() / 2));
    pause = Math.min(pause * 2, 10000);
  };
}

$("subscribe").onsubmit = (e) => {
  e.preventDefault();
  const f = e.target.elements;
  subscribe(f.topic.value.trim(), f.last.checked);
  f.topic.value = "";
};

$("publish").onsubmit = (e) => {
  e.preventDefault();
  const f = e.target.elements;
  let data = f.data.value;
  try { data = JSON.parse(data); } catch { /* text */ }
  const sent = send({ action: "publish", id: ++asked, data: { topic: f.topic.value.trim(), event: f.event.value, message_id: "", data } });
  $("published").textContent = sent ? "…" : "not connected";
};

// #topic=a&topic=b.* subscribes at once.
for (const name of new URLSearchParams(location.hash.slice(1)).getAll("topic")) if (name) topics.set(name, false);
showTopics();
connect();
